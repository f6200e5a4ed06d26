import { unreachable } from '../base/unreachable.ts';
import { type ExitStatus, exitStatus } from './cli-error.ts';
import { type BuildView, type Client, repositoryPath } from './client.ts';
import { follow } from './follow.ts';
import { formatBytes, formatSpan } from './format.ts';
import { harmless } from './harmless-text.ts';
import { Interrupts } from './interrupts.ts';
import { LogPrinter } from './log-printer.ts';
import { Printing, type Show } from './printing.ts';
import { paint, printLine, type Terminal, writeAll } from './terminal.ts';

/** The exit status a build's end stands for. */
export function statusOfPhase(phase: string): ExitStatus {
  switch (phase) {
    case 'complete':
      return exitStatus.ok;
    case 'internalerror':
    case 'expired':
      return exitStatus.internal;
    default:
      return exitStatus.userError;
  }
}

/**
 * Follows a build to its end on the terminal. Ctrl-C asks whether to cancel it; a second Ctrl-C stops following and
 * leaves the build running. Into a pipe nobody can be asked, so Ctrl-C leaves it running and says how to go on.
 */
export async function watchBuild(
  terminal: Terminal,
  client: Client,
  build: BuildView,
  { json }: { readonly json: boolean },
): Promise<ExitStatus> {
  const started = performance.now();
  const show = json ? jsonLines(terminal) : forPeople(terminal);
  const interrupts = new Interrupts(terminal, client, build);
  const printing = new Printing(show, interrupts);
  try {
    const events = follow(client, build, interrupts.stop);
    for (;;) {
      const { value, done } = await events.next();
      if (done) {
        await interrupts.end();
        await printing.over();
        if (json) printLine(terminal.stdout, JSON.stringify({ build: value }));
        else await conclude(terminal, client, value, performance.now() - started);
        const byUs = interrupts.cancelled && value.phase === 'cancelled';
        return byUs ? exitStatus.interrupted : statusOfPhase(value.phase);
      }
      await printing.add(value);
    }
  } catch (error) {
    if (!interrupts.stop.aborted) throw error;
    const state = interrupts.cancelled ? 'The build is being cancelled.' : 'The build goes on.';
    const cancel = interrupts.cancelled ? '' : `   Cancel it with: slipway cancel ${build.id}`;
    printLine(terminal.stderr, `\n${state} Follow it with: slipway logs -f ${build.id}${cancel}`);
    return exitStatus.interrupted;
  } finally {
    await interrupts.end();
  }
}

function jsonLines(terminal: Terminal): Show {
  return async (event) => {
    switch (event.kind) {
      case 'log':
        return await writeAll(
          terminal.stdout,
          event.entries.map((entry) => `${JSON.stringify({ log: entry })}\n`).join(''),
        );
      case 'build':
        return await writeAll(terminal.stdout, `${JSON.stringify({ build: event.build })}\n`);
      default:
        return unreachable(event);
    }
  };
}

function forPeople(terminal: Terminal): Show {
  const printer = new LogPrinter(terminal);
  let ahead = 0;
  return async (event) => {
    if (event.kind === 'log') return await printer.print(event.entries);
    const now = event.build.queue_position ?? 0;
    if (now > 0 && now !== ahead)
      printLine(
        terminal.stderr,
        paint(terminal, 'dim', `${now === 1 ? '1 build waits' : `${now} builds wait`} before it`),
      );
    ahead = now;
  };
}

async function conclude(terminal: Terminal, client: Client, build: BuildView, took: number): Promise<void> {
  if (build.phase !== 'complete') {
    // The log ends with all of it.
    const [reason] = (build.error ?? '').split('\n');
    const why = reason ? `: ${harmless(reason, false)}` : '';
    const code = build.error_code ? ` [${build.error_code}]` : '';
    const what = `Build ${build.id} ended in ${build.phase}${code}${why}`;
    printLine(terminal.stderr, paint(terminal, build.phase === 'cancelled' ? 'yellow' : 'red', what));
    return;
  }
  const { namespace, name } = build.repository;
  const size = build.image_size ? `, ${formatBytes(build.image_size)}` : '';
  const built = `Built ${namespace}/${name} in ${formatSpan(took)}${size}`;
  printLine(terminal.stdout, paint(terminal, 'green', built));
  if (!build.digest) return;
  const image = await imageOf(client, build);
  for (const tag of build.tags) printLine(terminal.stdout, `  image   ${image}:${tag}`);
  printLine(terminal.stdout, `  digest  ${build.digest}`);
}

/** What to give to `docker pull`. The build is over and well even when the server cannot be asked any more. */
async function imageOf(client: Client, { repository }: BuildView): Promise<string> {
  const name = `${repository.namespace}/${repository.name}`;
  try {
    const { image } = await client.get<{ image?: unknown }>(repositoryPath(repository));
    return typeof image === 'string' ? harmless(image, false) : name;
  } catch {
    return name;
  }
}
