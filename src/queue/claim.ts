import { sql as raw } from 'kysely';
import type { ClaimRequest, RunningAttempt } from './build-queue.ts';
import { countTurns } from './places.ts';
import { loadAttempts } from './read-builds.ts';
import { settle } from './settle.ts';
import type { Step } from './step.ts';

/** Looked at beyond what is wanted, for builds that another transaction holds right now. */
const spare = 8;

export async function claim(step: Step, request: ClaimRequest): Promise<readonly RunningAttempt[]> {
  const { sql, now } = step;
  await step.statements.lockClaims(sql);
  const { running } = await sql
    .selectFrom('attempts')
    .select((select) => select.fn.countAll<number>().as('running'))
    .where('lease_until', 'is not', null)
    .executeTakeFirstOrThrow();
  const room = Math.min(request.limit, request.capacity - running);
  if (room <= 0) return [];
  const seen = await sql
    .selectFrom('attempts')
    .select(['id', 'build_id'])
    .where('ready', '=', raw.lit(1))
    .where('available_at', '<=', now)
    .orderBy('priority', 'desc')
    .orderBy('turn')
    .orderBy('queued_at')
    .orderBy('id')
    .limit(room + spare)
    .execute();
  if (seen.length === 0) return [];
  const free = await step.statements.lockFreeBuilds(sql, [...new Set(seen.map((row) => row.build_id))]);
  const wanted = seen
    .filter(({ build_id }) => free.has(build_id))
    .slice(0, room)
    .map(({ id }) => id);
  if (wanted.length === 0) return [];
  // Now that the builds are held, only what still waits is taken.
  const taken = await sql
    .updateTable('attempts')
    .set({
      state: 'scheduled',
      ready: 0,
      manager: request.manager,
      lease_until: now + request.lease,
      scheduled_at: now,
    })
    .where('id', 'in', wanted)
    .where('ready', '=', raw.lit(1))
    .returning(['id', 'job_id', 'build_id', 'namespace', 'priority', 'turn'])
    .execute();
  if (taken.length === 0) return [];
  const builds = [...new Set(taken.map(({ build_id }) => build_id))];
  await sql
    .updateTable('jobs')
    .set((set) => ({ tries_left: set('tries_left', '-', 1) }))
    .where(
      'id',
      'in',
      taken.map(({ job_id }) => job_id),
    )
    .execute();
  await sql
    .updateTable('builds')
    .set({ started_at: now })
    .where('id', 'in', builds)
    .where('started_at', 'is', null)
    .execute();
  await countTurns(step, taken);
  await settle(step, builds);
  const ids = new Set(taken.map(({ id }) => id));
  return loadAttempts(
    sql,
    wanted.filter((id) => ids.has(id)),
  );
}
