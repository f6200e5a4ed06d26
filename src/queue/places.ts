import { sql } from 'kysely';
import type { Step } from './step.ts';

/**
 * Which builds may run, and in which order.
 *
 * A repository has a number of *places* (its concurrency, 1 unless set); a build holds one from being admitted to
 * being final, retries and publishing included, so that builds of one repository never overtake each other. A
 * namespace may have a limit of its own. Only attempts of admitted builds are in the fair queue, so that claiming
 * never looks at a build that could not start: it takes the first row of an index, however many wait.
 *
 * The fair queue is start-time fair queueing, one for each priority. Every attempt has a *turn*, a virtual time: the
 * later of the clock (the turn of the attempt claimed last) and one step after its namespace's previous attempt. A
 * step is 1/weight. So a namespace that queues thousands spreads them over the future, and the only build of another
 * comes right after the clock. Weights count when a build is admitted.
 *
 * The caller holds the namespace's lock.
 */
export async function admitNext(step: Step, namespace: string, repository?: string): Promise<void> {
  const limits = await limitsOf(step, namespace);
  if (limits.maxRunning === undefined && repository !== undefined) {
    const { concurrency, admitted } = await laneOf(step, namespace, repository);
    if (admitted >= concurrency) return;
    const next = await step.sql
      .selectFrom('builds')
      .select('id')
      .where('namespace', '=', namespace)
      .where('repository', '=', repository)
      .where('admitted', '=', sql.lit(0))
      .where('finished_at', 'is', null)
      .orderBy('priority', 'desc')
      .orderBy('number')
      .limit(concurrency - admitted)
      .execute();
    for (const { id } of next) await admit(step, id, namespace, limits.weight);
    return;
  }
  await admitInNamespace(step, namespace, limits);
}

/** Gives a place that is free now, or held by a lower priority that has not started, to a build of this priority. */
export async function seekPlace(
  step: Step,
  namespace: string,
  repository: string,
  priority: number,
): Promise<void> {
  await yieldPlace(step, namespace, repository, priority);
  await admitNext(step, namespace, repository);
}

export type Place =
  /** The build may be admitted at once: its first attempt has this turn, each further one comes a step later. */
  | { readonly kind: 'open'; readonly turn: number; readonly step: number }
  /** No place. `yields`: one may be had from a build of lower priority. */
  | { readonly kind: 'none'; readonly yields: boolean };

/** The turn of a namespace's next attempt. */
export function turnFrom(
  { clock, own, last }: { clock: number | null; own: number | null; last: number | null },
  one: number,
): number {
  return Math.max(clock ?? 0, own ?? 0, last === null ? 0 : last + one);
}

/** For namespaces with a limit, where a place that gets free may serve any of the repositories. */
async function admitInNamespace(
  step: Step,
  namespace: string,
  { weight, maxRunning = Number.MAX_SAFE_INTEGER }: { weight: number; maxRunning?: number | undefined },
): Promise<void> {
  const used = await step.sql
    .selectFrom('builds')
    .leftJoin('repositories', (join) =>
      join
        .onRef('repositories.namespace', '=', 'builds.namespace')
        .onRef('repositories.name', '=', 'builds.repository'),
    )
    .select(['builds.repository', 'repositories.concurrency'])
    .select((select) => select.fn.countAll<number>().as('admitted'))
    .where('builds.namespace', '=', namespace)
    .where('builds.admitted', '=', 1)
    .groupBy(['builds.repository', 'repositories.concurrency'])
    .execute();
  let room = maxRunning - used.reduce((sum, { admitted }) => sum + admitted, 0);
  const full = new Set(
    used.filter(({ admitted, concurrency }) => admitted >= (concurrency ?? 1)).map((lane) => lane.repository),
  );
  while (room > 0) {
    const next = await step.sql
      .selectFrom('builds')
      .select(['id', 'repository'])
      .where('namespace', '=', namespace)
      .where('admitted', '=', sql.lit(0))
      .where('finished_at', 'is', null)
      .$if(full.size > 0, (query) => query.where('repository', 'not in', [...full]))
      .orderBy('priority', 'desc')
      .orderBy('number')
      .limit(1)
      .executeTakeFirst();
    if (next === undefined) return;
    await admit(step, next.id, namespace, weight);
    room -= 1;
    const lane = await laneOf(step, namespace, next.repository);
    if (lane.admitted >= lane.concurrency) full.add(next.repository);
  }
}

/**
 * Before a build of this priority is admitted: takes the place back from a build of lower priority that holds one but
 * was never claimed, when there is no place left.
 */
async function yieldPlace(
  step: Step,
  namespace: string,
  repository: string,
  priority: number,
): Promise<void> {
  const { maxRunning } = await limitsOf(step, namespace);
  const lane = await laneOf(step, namespace, repository);
  const laneFull = lane.admitted >= lane.concurrency;
  if (!laneFull && maxRunning === undefined) return;
  if (!laneFull && (await admittedIn(step, namespace)) < (maxRunning ?? Number.MAX_SAFE_INTEGER)) return;
  const victim = await step.sql
    .selectFrom('builds')
    .select('id')
    .where('namespace', '=', namespace)
    .$if(laneFull, (query) => query.where('repository', '=', repository))
    .where('admitted', '=', sql.lit(1))
    .where('started_at', 'is', null)
    .where('priority', '<', priority)
    .orderBy('priority')
    .orderBy('number', 'desc')
    .limit(1)
    .executeTakeFirst();
  if (victim === undefined) return;
  // A manager may be claiming it right now: then it keeps its place.
  const held = await step.statements.lockFreeBuilds(step.sql, [victim.id]);
  if (!held.has(victim.id)) return;
  const { numUpdatedRows } = await step.sql
    .updateTable('builds')
    .set({ admitted: 0 })
    .where('id', '=', victim.id)
    .where('admitted', '=', sql.lit(1))
    .where('started_at', 'is', null)
    .executeTakeFirst();
  if (numUpdatedRows === 0n) return;
  await step.sql
    .updateTable('attempts')
    .set({ ready: 0 })
    .where('build_id', '=', victim.id)
    .where('ready', '=', sql.lit(1))
    .execute();
}

async function admit(step: Step, buildId: string, namespace: string, weight: number): Promise<void> {
  await step.sql.updateTable('builds').set({ admitted: 1 }).where('id', '=', buildId).execute();
  const waiting = await step.sql
    .selectFrom('attempts')
    .select(['id', 'priority'])
    .where('build_id', '=', buildId)
    .where('state', '=', 'queued')
    .orderBy('id')
    .execute();
  let turn: number | undefined;
  for (const { id, priority } of waiting) {
    turn = turn === undefined ? await nextTurn(step, namespace, priority, weight) : turn + 1 / weight;
    await step.sql.updateTable('attempts').set({ ready: 1, turn }).where('id', '=', id).execute();
  }
  step.changes.push({ kind: 'queued', buildId: step.buildId(buildId) });
}

async function nextTurn(step: Step, namespace: string, priority: number, weight: number): Promise<number> {
  const { rows } = await sql<{ clock: number | null; own: number | null; last: number | null }>`
    select
      (select turn from queue_clocks where priority = ${priority}) as clock,
      (select next_turn from queue_turns where namespace = ${namespace} and priority = ${priority}) as own,
      (select max(turn) from attempts where namespace = ${namespace} and priority = ${priority} and ready = 1) as last
  `.execute(step.sql);
  return turnFrom(rows[0] ?? { clock: null, own: null, last: null }, 1 / weight);
}

/** The turn of a retry: now, before what else waits of its namespace. The first attempt was counted already. */
export async function retryTurn(step: Step, priority: number): Promise<number> {
  const row = await step.sql
    .selectFrom('queue_clocks')
    .select('turn')
    .where('priority', '=', priority)
    .executeTakeFirst();
  return row?.turn ?? 0;
}

export async function limitsOf(
  step: Step,
  namespace: string,
): Promise<{ weight: number; maxRunning: number | undefined }> {
  const row = await step.sql
    .selectFrom('namespaces')
    .select(['weight', 'max_running'])
    .where('name', '=', namespace)
    .executeTakeFirst();
  return { weight: row?.weight ?? 1, maxRunning: row?.max_running ?? undefined };
}

async function laneOf(
  step: Step,
  namespace: string,
  repository: string,
): Promise<{ concurrency: number; admitted: number }> {
  const { rows } = await sql<{ concurrency: number | null; admitted: number }>`
    select
      (select concurrency from repositories where namespace = ${namespace} and name = ${repository}) as concurrency,
      (select count(*) from builds
        where namespace = ${namespace} and repository = ${repository} and admitted = 1) as admitted
  `.execute(step.sql);
  return { concurrency: rows[0]?.concurrency ?? 1, admitted: rows[0]?.admitted ?? 0 };
}

async function admittedIn(step: Step, namespace: string): Promise<number> {
  const row = await step.sql
    .selectFrom('builds')
    .select((select) => select.fn.countAll<number>().as('admitted'))
    .where('namespace', '=', namespace)
    .where('admitted', '=', sql.lit(1))
    .executeTakeFirstOrThrow();
  return row.admitted;
}
