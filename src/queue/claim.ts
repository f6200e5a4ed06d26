import { sql as raw } from 'kysely';
import type { SqlTransaction } from '../db/database.ts';
import type { AttemptId, BuildId, JobId } from '../model/ids.ts';
import { phaseOfState } from '../model/phase.ts';
import type { ClaimRequest, RunningAttempt } from './build-queue.ts';

export interface ClaimedRow {
  readonly id: string;
  readonly job_id: string;
  readonly build_id: string;
  readonly epoch: number;
  readonly namespace: string;
  readonly repository: string;
  readonly platform: string;
  readonly tries_left: number;
}

/** What has just been claimed, as its manager gets it. */
export function claimedAttempt(
  row: ClaimedRow,
  { manager, now, lease }: { readonly manager: string; readonly now: number; readonly lease: number },
): RunningAttempt {
  return {
    id: row.id as AttemptId,
    jobId: row.job_id as JobId,
    buildId: row.build_id as BuildId,
    epoch: row.epoch,
    state: 'scheduled',
    platform: row.platform,
    repository: { namespace: row.namespace, name: row.repository },
    triesLeft: row.tries_left,
    desired: 'run',
    manager,
    scheduledAt: now,
    age: 0,
    leaseUntil: now + lease,
  };
}

/**
 * A claim: one at a time over all managers, so that the capacity is exact. It takes what comes first in the index of
 * ready attempts and whose build nobody else holds, uses up a try of each, counts the builds as started, and moves the
 * clocks of the fair queue on. Here it is for SQLite, where the transaction has the database for itself; PostgreSQL
 * does the same in a function (src/db/migrations/0008-waits.ts).
 */
export async function claim(
  sql: SqlTransaction,
  now: number,
  request: ClaimRequest,
): Promise<readonly RunningAttempt[]> {
  const { running } = await sql
    .selectFrom('attempts')
    .select((select) => select.fn.countAll<number>().as('running'))
    .where('lease_until', 'is not', null)
    .executeTakeFirstOrThrow();
  const room = Math.min(request.limit, request.capacity - running);
  if (room <= 0) return [];
  const { rows: next } = await raw<ClaimedRow & { readonly priority: number; readonly turn: number }>`
    select a.id, a.job_id, a.build_id, a.epoch, a.namespace, a.priority, a.turn,
        b.repository, j.platform, j.tries_left - 1 as tries_left
      from attempts a join jobs j on j.id = a.job_id join builds b on b.id = a.build_id
      where a.ready = 1 and (a.available_at <= ${now} or a.delayed_at > ${now})
      order by a.priority desc, a.turn, a.queued_at, a.id
      limit ${room}
  `.execute(sql);
  if (next.length === 0) return [];
  const list = (ids: readonly string[]) => raw`(select value from json_each(${JSON.stringify(ids)}))`;
  const attempts = list(next.map(({ id }) => id));
  const jobs = list(next.map(({ job_id }) => job_id));
  const builds = list([...new Set(next.map(({ build_id }) => build_id))]);
  await raw`update attempts set state = 'scheduled', ready = 0, manager = ${request.manager},
      lease_until = ${now + request.lease}, scheduled_at = ${now} where id in ${attempts}`.execute(sql);
  await raw`update jobs set tries_left = tries_left - 1 where id in ${jobs}`.execute(sql);
  // A build is as far as its job that is furthest behind.
  await raw`update builds set started_at = coalesce(started_at, ${now}),
      phase = case when exists (select 1 from attempts
          where build_id = builds.id and scheduled_at is null and done_at is null)
        then phase else ${phaseOfState('scheduled')} end
    where id in ${builds}`.execute(sql);
  await countTurns(sql, next);
  return next.map((row) => claimedAttempt(row, { manager: request.manager, now, lease: request.lease }));
}

async function countTurns(
  sql: SqlTransaction,
  claimed: readonly { readonly namespace: string; readonly priority: number; readonly turn: number }[],
): Promise<void> {
  const clocks = new Map<number, number>();
  const last = new Map<string, { namespace: string; priority: number; turn: number }>();
  for (const { namespace, priority, turn } of claimed) {
    clocks.set(priority, Math.max(clocks.get(priority) ?? 0, turn));
    const key = `${priority} ${namespace}`;
    last.set(key, { namespace, priority, turn: Math.max(last.get(key)?.turn ?? 0, turn) });
  }
  for (const [priority, turn] of clocks) {
    await raw`
      insert into queue_clocks (priority, turn) values (${priority}, ${turn})
      on conflict (priority) do update set turn = excluded.turn where queue_clocks.turn < excluded.turn
    `.execute(sql);
  }
  for (const { namespace, priority, turn } of last.values()) {
    await raw`
      insert into queue_turns (namespace, priority, next_turn) values (${namespace}, ${priority},
        ${turn} + 1.0 / coalesce((select weight from namespaces where name = ${namespace}), 1.0))
      on conflict (namespace, priority) do update
        set next_turn = excluded.next_turn where queue_turns.next_turn < excluded.next_turn
    `.execute(sql);
  }
}
