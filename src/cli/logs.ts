import { type ExitStatus, exitStatus } from './cli-error.ts';
import { buildPath } from './client.ts';
import { connect, type ServerFlags } from './command.ts';
import { findBuild } from './find-build.ts';
import { finalPhases } from './follow.ts';
import { harmless } from './harmless-text.ts';
import { printLine, type Terminal } from './terminal.ts';
import { watchBuild } from './watch-build.ts';

export interface LogsFlags extends ServerFlags {
  readonly follow?: boolean;
  readonly raw?: boolean;
}

/** A build's log: as text, or followed to its end. */
export async function logs(terminal: Terminal, id: string, flags: LogsFlags): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const build = await findBuild(client, id);
  if (flags.follow || flags.json) {
    const status = await watchBuild(terminal, client, build, { json: flags.json === true });
    // A build that was over already is only looked at: reading its log worked.
    return finalPhases.has(build.phase) ? exitStatus.ok : status;
  }
  const body = await client.download(`${buildPath(build)}/logs/download`);
  const decoder = new TextDecoder();
  let held = '';
  for await (const chunk of body) {
    if (flags.raw) {
      terminal.stdout.write(chunk);
      continue;
    }
    // Whole lines only, so that no escape sequence is seen in halves.
    const text = held + decoder.decode(chunk, { stream: true });
    const end = text.lastIndexOf('\n') + 1;
    held = text.slice(end);
    if (end > 0) terminal.stdout.write(linesOf(text.slice(0, end), terminal.colour));
  }
  if (held !== '') printLine(terminal.stdout, harmless(held, terminal.colour));
  return exitStatus.ok;
}

function linesOf(text: string, colours: boolean): string {
  return text
    .split('\n')
    .map((line) => harmless(line, colours))
    .join('\n');
}
