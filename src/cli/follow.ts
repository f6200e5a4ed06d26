import { backOff } from '../base/back-off.ts';
import { type Clock, systemClock } from '../base/clock.ts';
import { CliError } from './cli-error.ts';
import { type BuildView, buildPath, type Client } from './client.ts';
import type { LogEntryView } from './log-printer.ts';

export type FollowEvent =
  | { readonly kind: 'log'; readonly entries: readonly LogEntryView[] }
  | { readonly kind: 'build'; readonly build: BuildView };

/** Milliseconds without any server before following is given up; the build goes on without us. */
const patience = 10 * 60_000;

/**
 * A build's log and phases from its first entry to its end. A lost connection is taken up again at the entry after the
 * last one seen, so that nothing is missing and nothing comes twice; the server may be restarted meanwhile. Throws
 * CliError: at once when the server refuses, after ten minutes when it stays away.
 */
export async function* follow(
  client: Client,
  build: Pick<BuildView, 'id' | 'repository'>,
  signal: AbortSignal,
  clock: Clock = systemClock,
): AsyncGenerator<FollowEvent, BuildView> {
  const path = `${buildPath(build)}/logs/stream`;
  let next = 0;
  let failures = 0;
  let lostAt: number | undefined;
  for (;;) {
    let failure: unknown;
    try {
      for await (const { event, data } of client.events(
        path,
        next === 0 ? undefined : String(next),
        signal,
      )) {
        failures = 0;
        lostAt = undefined;
        if (event === 'log') {
          const page = parse<{ start: number; logs: LogEntryView[] }>(data);
          const fresh = page.logs.slice(Math.max(0, next - page.start));
          next = Math.max(next, page.start + page.logs.length);
          if (fresh.length > 0) yield { kind: 'log', entries: fresh };
        } else if (event === 'phase') yield { kind: 'build', build: parse<BuildView>(data) };
        else if (event === 'end') return parse<BuildView>(data);
      }
    } catch (error) {
      if (!(error instanceof CliError) || (error.code !== 'unreachable' && error.code !== 'server-failed'))
        throw error;
      failure = error;
    }
    lostAt ??= clock.now();
    if (clock.now() - lostAt > patience)
      throw failure ?? new CliError('server-failed', `${client.server} keeps ending the log before its end`);
    await clock.sleep(backOff(failures, { first: 200, cap: 5_000 }), signal);
    failures += 1;
  }
}

function parse<T>(data: string): T {
  try {
    return JSON.parse(data) as T;
  } catch (cause) {
    throw new CliError('server-failed', 'The server sent an event that is not JSON', { cause });
  }
}
