import { createInterface } from 'node:readline/promises';
import { messageOf } from '../base/coded-error.ts';
import { type ExitStatus, exitStatus } from './cli-error.ts';
import { type BuildView, buildPath, type Client } from './client.ts';
import { follow } from './follow.ts';
import { formatBytes, formatSpan } from './format.ts';
import { LogPrinter } from './log-printer.ts';
import { paint, printLine, type Terminal } from './terminal.ts';

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
  options: { readonly json: boolean },
): Promise<ExitStatus> {
  const printer = new LogPrinter(terminal);
  const stop = new AbortController();
  const started = performance.now();
  let asking = false;
  let cancelled = false;
  const endInterrupts = terminal.onInterrupt(() => {
    if (!terminal.interactive || asking) {
      stop.abort(new Error('interrupted'));
      return;
    }
    asking = true;
    void askToCancel(terminal).then(async (answer) => {
      asking = false;
      if (answer === 'interrupted') stop.abort(new Error('interrupted'));
      if (answer !== 'yes' || stop.signal.aborted) return;
      try {
        await client.delete(buildPath(build));
        cancelled = true;
      } catch (error) {
        printLine(terminal.stderr, messageOf(error));
      }
    });
  });
  try {
    const events = follow(client, build, stop.signal);
    for (;;) {
      const { value, done } = await events.next();
      if (done)
        return conclude(terminal, value, { ...options, cancelled, took: performance.now() - started });
      if (value.kind === 'log') {
        if (options.json)
          for (const entry of value.entries) printLine(terminal.stdout, JSON.stringify({ log: entry }));
        else await printer.print(value.entries);
      } else if (options.json) printLine(terminal.stdout, JSON.stringify({ build: value.build }));
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    printLine(
      terminal.stderr,
      `\nThe build goes on. Follow it with: slipway logs -f ${build.id}   Cancel it with: slipway cancel ${build.id}`,
    );
    return exitStatus.interrupted;
  } finally {
    endInterrupts();
  }
}

async function askToCancel(terminal: Terminal): Promise<'yes' | 'no' | 'interrupted'> {
  const ask = createInterface({ input: terminal.stdin, output: terminal.stderr });
  // While a question is open the terminal is read key by key, so Ctrl-C arrives here and not as a signal.
  const interrupted = new Promise<'interrupted'>((resolve) =>
    ask.once('SIGINT', () => resolve('interrupted')),
  );
  const answered = ask
    .question('\nCancel the build? [y/N] (Ctrl-C again stops following only) ')
    .then((answer) => (/^y(es)?$/i.test(answer.trim()) ? ('yes' as const) : ('no' as const)));
  const closed = new Promise<'no'>((resolve) => ask.once('close', () => resolve('no')));
  try {
    return await Promise.race([answered, interrupted, closed]);
  } finally {
    ask.close();
  }
}

function conclude(
  terminal: Terminal,
  build: BuildView,
  { json, cancelled, took }: { json: boolean; cancelled: boolean; took: number },
): ExitStatus {
  const status =
    cancelled && build.phase === 'cancelled' ? exitStatus.interrupted : statusOfPhase(build.phase);
  if (json) {
    printLine(terminal.stdout, JSON.stringify({ build }));
    return status;
  }
  if (build.phase === 'complete') {
    const size = build.image_size ? `, ${formatBytes(build.image_size)}` : '';
    printLine(
      terminal.stdout,
      paint(
        terminal,
        'green',
        `Built ${build.repository.namespace}/${build.repository.name} in ${formatSpan(took)}${size}`,
      ),
    );
    for (const tag of build.tags) printLine(terminal.stdout, `  tag     ${tag}`);
    if (build.digest) printLine(terminal.stdout, `  digest  ${build.digest}`);
  } else {
    const why = build.error ? `: ${build.error}` : '';
    const code = build.error_code ? ` [${build.error_code}]` : '';
    printLine(
      terminal.stderr,
      paint(terminal, 'red', `Build ${build.id} ended in ${build.phase}${code}${why}`),
    );
  }
  return status;
}
