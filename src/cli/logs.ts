import { finalPhases } from '../model/phase.ts';
import { CliError, type ExitStatus, exitStatus } from './cli-error.ts';
import { type BuildView, buildPath, type Client } from './client.ts';
import { connect, type ServerFlags } from './command.ts';
import { findBuild } from './find-build.ts';
import { harmless } from './harmless-text.ts';
import type { LogEntryView } from './log-printer.ts';
import { type Terminal, writeAll } from './terminal.ts';
import { watchBuild } from './watch-build.ts';

export interface LogsFlags extends ServerFlags {
  readonly follow?: boolean;
  readonly raw?: boolean;
}

/** A build's log: what there is of it as text or as JSON lines, or followed to its end. */
export async function logs(terminal: Terminal, id: string, flags: LogsFlags): Promise<ExitStatus> {
  if (flags.raw && (flags.follow || flags.json))
    throw new CliError('usage', '--raw prints what there is as bytes. Give it without --follow and --json');
  const { client } = await connect(terminal, flags);
  const build = await findBuild(client, id);
  if (flags.follow) {
    const status = await watchBuild(terminal, client, build, { json: flags.json === true });
    // A build that was over already is only looked at: reading its log worked.
    const over = (finalPhases as ReadonlySet<string>).has(build.phase);
    return over && status !== exitStatus.interrupted ? exitStatus.ok : status;
  }
  if (flags.json) await printEntries(terminal, client, build);
  else await printText(terminal, client, build, flags.raw === true);
  return exitStatus.ok;
}

/** The text; `raw`: the bytes as the build wrote them, control sequences included. */
async function printText(terminal: Terminal, client: Client, build: BuildView, raw: boolean): Promise<void> {
  const decoder = new TextDecoder();
  let held = '';
  for await (const chunk of client.download(`${buildPath(build)}/logs/download`)) {
    if (raw) {
      await writeAll(terminal.stdout, chunk);
      continue;
    }
    // Whole lines only, so that no escape sequence is seen in halves.
    const text = decoder.decode(chunk, { stream: true });
    const end = text.lastIndexOf('\n') + 1;
    if (end === 0) held += text;
    else {
      await writeAll(terminal.stdout, harmlessLines(held + text.slice(0, end), terminal.colour));
      held = text.slice(end);
    }
  }
  if (held !== '') await writeAll(terminal.stdout, `${harmlessLines(held, terminal.colour)}\n`);
}

function harmlessLines(text: string, colours: boolean): string {
  return text
    .split('\n')
    .map((line) => harmless(line, colours))
    .join('\n');
}

async function printEntries(terminal: Terminal, client: Client, build: BuildView): Promise<void> {
  for (let start = 0; ; ) {
    const page = await client.get<{ start: number; total: number; logs: LogEntryView[] }>(
      `${buildPath(build)}/logs?start=${start}`,
    );
    await writeAll(terminal.stdout, page.logs.map((entry) => `${JSON.stringify({ log: entry })}\n`).join(''));
    start = page.start + page.logs.length;
    if (page.logs.length === 0 || start >= page.total) return;
  }
}
