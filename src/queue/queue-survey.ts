import type { Database } from '../db/database.ts';
import { phaseOfState } from '../model/phase.ts';
import { stateOf } from './build-rows.ts';

/** What waits and runs at one moment, over all managers. */
export interface QueueSurvey {
  /** Milliseconds since the request of the build that has waited longest; absent when none waits. */
  readonly oldestWaiting?: number;
  /** Attempts that wait or run, by the phase that users see. */
  readonly jobs: readonly { readonly phase: string; readonly count: number }[];
  /** Workers by executor. */
  readonly workers: readonly { readonly executor: string; readonly count: number }[];
}

/** Reads no more rows than attempts that run, however many wait. `now`: milliseconds since 1970. */
export async function surveyQueue({ sql }: Database, now: number): Promise<QueueSurvey> {
  const [running, { queued }, oldest] = await Promise.all([
    sql
      .selectFrom('attempts')
      .select((on) => ['state', 'executor', on.fn.countAll<number>().as('count')])
      .where('lease_until', 'is not', null)
      .groupBy(['state', 'executor'])
      .execute(),
    sql
      .selectFrom('attempts')
      .select((on) => on.fn.countAll<number>().as('queued'))
      .where('scheduled_at', 'is', null)
      .where('done_at', 'is', null)
      .executeTakeFirstOrThrow(),
    // The first that has not begun: those before it run, so there are few of them.
    sql
      .selectFrom('builds')
      .select('created_at')
      .where('finished_at', 'is', null)
      .where('started_at', 'is', null)
      .orderBy('number')
      .limit(1)
      .executeTakeFirst(),
  ]);
  const jobs = new Map<string, number>([[phaseOfState('queued'), queued]]);
  const workers = new Map<string, number>();
  const add = (to: Map<string, number>, key: string, count: number) =>
    to.set(key, (to.get(key) ?? 0) + count);
  for (const { state: text, executor, count } of running) {
    const state = stateOf(text);
    if (state !== 'done') add(jobs, phaseOfState(state), count);
    if (executor !== null) add(workers, executor, count);
  }
  return {
    ...(oldest === undefined ? {} : { oldestWaiting: Math.max(0, now - oldest.created_at) }),
    jobs: [...jobs].map(([phase, count]) => ({ phase, count })),
    workers: [...workers].map(([executor, count]) => ({ executor, count })),
  };
}
