import { backOff } from '../base/back-off.ts';
import { type Clock, systemClock } from '../base/clock.ts';
import { CliError } from './cli-error.ts';
import { type BuildView, buildPath, type Client } from './client.ts';
import type { LogEntryView } from './log-printer.ts';

export type FollowEvent =
  | { readonly kind: 'log'; readonly entries: readonly LogEntryView[] }
  | { readonly kind: 'build'; readonly build: BuildView };

export const finalPhases: ReadonlySet<string> = new Set([
  'complete',
  'error',
  'internalerror',
  'expired',
  'cancelled',
]);

/** Minutes without any server before following is given up; the build goes on without us. */
const patience = 10;

/**
 * A build's log and phases from its first entry to its end. A lost connection is taken up again at the entry after the
 * last one seen, so that nothing is missing and nothing comes twice; the server may be restarted meanwhile.
 */
export async function* follow(
  client: Client,
  build: Pick<BuildView, 'id' | 'repository'>,
  signal: AbortSignal,
  clock: Clock = systemClock,
): AsyncGenerator<FollowEvent, BuildView> {
  let next = 0;
  let failures = 0;
  let lostAt: number | undefined;
  for (;;) {
    try {
      for await (const event of client.events(
        `${buildPath(build)}/logs/stream`,
        next === 0 ? undefined : String(next),
        signal,
      )) {
        failures = 0;
        lostAt = undefined;
        if (event.event === 'log') {
          const page = JSON.parse(event.data) as { start: number; logs: LogEntryView[] };
          const fresh = page.logs.slice(Math.max(0, next - page.start));
          next = Math.max(next, page.start + page.logs.length);
          if (fresh.length > 0) yield { kind: 'log', entries: fresh };
        } else if (event.event === 'phase')
          yield { kind: 'build', build: JSON.parse(event.data) as BuildView };
        else if (event.event === 'end') return JSON.parse(event.data) as BuildView;
      }
    } catch (error) {
      if (!(error instanceof CliError) || (error.code !== 'unreachable' && error.code !== 'server-failed'))
        throw error;
      lostAt ??= clock.now();
      if (clock.now() - lostAt > patience * 60_000) throw error;
    }
    await clock.sleep(backOff(failures, { first: 200, cap: 5_000 }), signal);
    failures += 1;
  }
}
