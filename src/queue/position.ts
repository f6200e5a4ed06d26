import { sql as raw } from 'kysely';
import type { Sql } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import type { BuildId } from '../model/ids.ts';
import type { QueuePosition } from './build-queue.ts';
import { estimateStart } from './estimate.ts';
import { type SeenLease, sameLease } from './lease-watch.ts';
import { heldLeases } from './presence.ts';

/** Builds that ended lately, to learn from how long one takes. */
const lately = 50;
/** So many of the repository itself are enough to go by. */
const enough = 3;

/**
 * Where a build stands. With a place in its repository: the attempts whose turn is before its own. Without: the
 * builds of its repository that have to end first; others may come in between. `capacity`: attempts that may run at
 * once, when it is known.
 */
export async function positionOf(
  sql: Sql,
  buildId: BuildId,
  { now, capacity }: { readonly now: number; readonly capacity: number | undefined },
): Promise<QueuePosition | undefined> {
  const build = await sql
    .selectFrom('builds')
    .select(['id', 'number', 'namespace', 'repository', 'priority', 'phase', 'admitted'])
    .where('id', '=', buildId)
    .executeTakeFirst();
  if (build === undefined || build.phase !== 'waiting') return undefined;
  const running = await countRunning(sql);
  if (build.admitted === 0) {
    const ahead = await aheadInRepository(sql, build);
    const estimate = await estimateInRepository(sql, build, { now, ahead });
    return { ahead, running, ...(estimate === undefined ? {} : { estimatedStart: estimate }) };
  }
  const { ahead, availableAt } = await aheadInTurn(sql, buildId, now);
  const estimate = await estimateInTurn(sql, { now, ahead, places: capacity ?? running });
  // A retry waits for its time, whoever else waits; then at least that is known.
  const start = availableAt > now ? Math.max(availableAt, estimate ?? 0) : estimate;
  return { ahead, running, ...(start === undefined ? {} : { estimatedStart: start }) };
}

type Lane = Pick<Row<'builds'>, 'namespace' | 'repository' | 'priority' | 'number'>;

async function aheadInRepository(sql: Sql, build: Lane): Promise<number> {
  const { ahead } = await sql
    .selectFrom('builds')
    .select((select) => select.fn.countAll<number>().as('ahead'))
    .where('namespace', '=', build.namespace)
    .where('repository', '=', build.repository)
    .where('finished_at', 'is', null)
    .where((where) =>
      where.or([
        where('admitted', '=', raw.lit(1)),
        where('priority', '>', build.priority),
        where.and([where('priority', '=', build.priority), where('number', '<', build.number)]),
      ]),
    )
    .executeTakeFirstOrThrow();
  return ahead;
}

/** Who comes before, of those that are due by the time it is itself. */
async function aheadInTurn(
  sql: Sql,
  buildId: BuildId,
  now: number,
): Promise<{ readonly ahead: number; readonly availableAt: number }> {
  const first = await sql
    .selectFrom('attempts')
    .select(['priority', 'turn', 'queued_at', 'id', 'available_at', 'delayed_at'])
    .where('build_id', '=', buildId)
    .where('ready', '=', raw.lit(1))
    .orderBy('turn')
    .orderBy('queued_at')
    .orderBy('id')
    .limit(1)
    .executeTakeFirst();
  if (first === undefined) return { ahead: 0, availableAt: now };
  // As the claim has it: a wait that was told at a time that has not come is none.
  const availableAt = first.delayed_at > now ? now : first.available_at;
  const { ahead } = await sql
    .selectFrom('attempts')
    .select((select) => select.fn.countAll<number>().as('ahead'))
    .where('ready', '=', raw.lit(1))
    .where('build_id', '!=', buildId)
    .where((where) =>
      where.or([where('available_at', '<=', Math.max(now, availableAt)), where('delayed_at', '>', now)]),
    )
    .where((where) =>
      where.or([
        where('priority', '>', first.priority),
        where.and([
          where('priority', '=', first.priority),
          where.or([
            where('turn', '<', first.turn),
            where.and([
              where('turn', '=', first.turn),
              where.or([
                where('queued_at', '<', first.queued_at),
                where.and([where('queued_at', '=', first.queued_at), where('id', '<', first.id)]),
              ]),
            ]),
          ]),
        ]),
      ]),
    )
    .executeTakeFirstOrThrow();
  return { ahead, availableAt };
}

/** The line of a repository: one build after the other, in as many places as it has. */
async function estimateInRepository(
  sql: Sql,
  lane: Lane,
  { now, ahead }: { readonly now: number; readonly ahead: number },
): Promise<number | undefined> {
  const place = await sql
    .selectFrom('repositories')
    .select('concurrency')
    .where('namespace', '=', lane.namespace)
    .where('name', '=', lane.repository)
    .executeTakeFirst();
  const admitted = await sql
    .selectFrom('builds')
    .select('started_at')
    .where('namespace', '=', lane.namespace)
    .where('repository', '=', lane.repository)
    .where('admitted', '=', raw.lit(1))
    .execute();
  const places = Math.max(place?.concurrency ?? 1, admitted.length);
  // It is the namespace's limit that it waits for, and others may get the next place under that.
  if (ahead < places) return undefined;
  const ended = await endedLately(sql, lane.namespace);
  const own = ended.filter(({ repository }) => repository === lane.repository);
  return estimateStart({
    now,
    // Who has a place is ahead as well, and counted where it is.
    ahead: ahead - admitted.length,
    places,
    underWay: admitted.map(({ started_at }) => started_at ?? now),
    durations: (own.length >= enough ? own : ended).map(({ took }) => took),
  });
}

/** The line of all: whose turn it is gets the next place of any. */
async function estimateInTurn(
  sql: Sql,
  { now, ahead, places }: { readonly now: number; readonly ahead: number; readonly places: number },
): Promise<number | undefined> {
  const attempts = await sql
    .selectFrom('attempts')
    .select('scheduled_at')
    .where('lease_until', 'is not', null)
    .orderBy('scheduled_at')
    .execute();
  return estimateStart({
    now,
    ahead,
    places: Math.max(places, attempts.length),
    underWay: attempts.map(({ scheduled_at }) => scheduled_at ?? now),
    durations: (await endedLately(sql)).map(({ took }) => took),
  });
}

/** Builds that came to an end of their own, the last ones first; of all namespaces, or of one. */
async function endedLately(
  sql: Sql,
  namespace?: string,
): Promise<readonly { readonly repository: string; readonly took: number }[]> {
  const rows = await sql
    .selectFrom('builds')
    .select(['repository', 'phase', 'started_at', 'finished_at'])
    .where('finished_at', 'is not', null)
    .$if(namespace !== undefined, (query) => query.where('namespace', '=', namespace ?? ''))
    .orderBy('finished_at', 'desc')
    .limit(lately)
    .execute();
  return rows.flatMap(({ repository, phase, started_at, finished_at }) => {
    const ownEnd = phase === 'complete' || phase === 'error';
    if (!ownEnd || started_at === null || finished_at === null) return [];
    return [{ repository, took: finished_at - started_at }];
  });
}

async function countRunning(sql: Sql): Promise<number> {
  const { running } = await sql
    .selectFrom('attempts')
    .select((select) => select.fn.countAll<number>().as('running'))
    .where('lease_until', 'is not', null)
    .executeTakeFirstOrThrow();
  return running;
}

/** `still`: leases that stood still when they were looked at last; those that move again by now have an owner. */
export async function countQueue(
  sql: Sql,
  still: readonly SeenLease[],
): Promise<{ readonly queued: number; readonly running: number; readonly ownerless: number }> {
  const { queued } = await sql
    .selectFrom('attempts')
    .select((select) => select.fn.countAll<number>().as('queued'))
    .where('scheduled_at', 'is', null)
    .where('done_at', 'is', null)
    .executeTakeFirstOrThrow();
  const held = await heldLeases(sql);
  const managers = await sql.selectFrom('managers').select('name').execute();
  const present = new Set(managers.map(({ name }) => name));
  const ownerless = held.filter(
    (lease) => !present.has(lease.manager) || still.some((seen) => sameLease(seen, lease)),
  );
  return { queued, running: held.length, ownerless: ownerless.length };
}
