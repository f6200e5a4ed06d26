import { type RawBuilder, sql as raw } from 'kysely';
import type { Sql } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import type { Build } from '../model/build.ts';
import type { RepositoryName } from '../model/repository-name.ts';
import type { RunningAttempt } from './build-queue.ts';
import { type AttemptRow, buildOf, runningAttemptOf } from './build-rows.ts';

/** Reading builds and attempts; within a transaction or without. */
export async function loadBuild(sql: Sql, id: string): Promise<Build | undefined> {
  return (await loadBuilds(sql, [id]))[0];
}

export async function loadBuilds(sql: Sql, ids: readonly string[]): Promise<readonly Build[]> {
  if (ids.length === 0) return [];
  const wanted = padded(ids);
  const builds = await sql
    .selectFrom('builds')
    .selectAll()
    .where('id', 'in', wanted)
    .orderBy('number', 'desc')
    .execute();
  const jobs = await sql.selectFrom('jobs').selectAll().where('build_id', 'in', wanted).execute();
  const attempts = await sql.selectFrom('attempts').selectAll().where('build_id', 'in', wanted).execute();
  return assemble(builds, jobs, attempts);
}

interface Together {
  readonly builds: readonly Row<'builds'>[] | null;
  readonly jobs: readonly Row<'jobs'>[] | null;
  readonly attempts: readonly Row<'attempts'>[] | null;
}

/** The same as one statement of PostgreSQL; its rows are for `assembled`. */
export function readTogether(ids: readonly string[]): RawBuilder<Together> {
  return raw<Together>`select
      (select json_agg(b) from builds b where b.id = any(${ids}::text[])) as builds,
      (select json_agg(j) from jobs j where j.build_id = any(${ids}::text[])) as jobs,
      (select json_agg(a) from attempts a where a.build_id = any(${ids}::text[])) as attempts
  `;
}

export function assembled([found]: readonly Together[]): readonly Build[] {
  return assemble(found?.builds ?? [], found?.jobs ?? [], found?.attempts ?? []);
}

function assemble(
  builds: readonly Row<'builds'>[],
  jobs: readonly Row<'jobs'>[],
  attempts: readonly Row<'attempts'>[],
): readonly Build[] {
  const jobsOf = Map.groupBy(jobs, (job) => job.build_id);
  const attemptsOf = Map.groupBy(attempts, (attempt) => attempt.build_id);
  return builds.map((build) => buildOf(build, jobsOf.get(build.id) ?? [], attemptsOf.get(build.id) ?? []));
}

export async function listBuilds(
  sql: Sql,
  query: {
    readonly repository?: RepositoryName;
    readonly namespaces?: readonly string[];
    readonly limit: number;
    readonly since?: number;
    readonly unfinishedOnly?: boolean;
    readonly byEnd?: boolean;
  },
): Promise<readonly Build[]> {
  const { repository, namespaces, since } = query;
  if (namespaces?.length === 0 || query.limit < 1) return [];
  let rows = sql.selectFrom('builds').select('id').limit(query.limit);
  rows =
    query.byEnd === true
      ? rows.where('finished_at', 'is not', null).orderBy('finished_at', 'desc')
      : rows.orderBy('number', 'desc');
  if (repository !== undefined) {
    rows = rows.where('namespace', '=', repository.namespace).where('repository', '=', repository.name);
  }
  if (namespaces !== undefined) rows = rows.where('namespace', 'in', namespaces);
  if (since !== undefined) rows = rows.where('created_at', '>=', since);
  if (query.unfinishedOnly === true) rows = rows.where('finished_at', 'is', null);
  const ids = (await rows.execute()).map(({ id }) => id);
  return loadBuilds(sql, ids);
}

export function selectAttempts(sql: Sql) {
  return sql
    .selectFrom('attempts')
    .innerJoin('jobs', 'jobs.id', 'attempts.job_id')
    .innerJoin('builds', 'builds.id', 'attempts.build_id')
    .selectAll('attempts')
    .select(['builds.repository', 'jobs.platform', 'jobs.tries_left']);
}

/** In the order of `ids`. */
export async function loadAttempts(sql: Sql, ids: readonly string[]): Promise<readonly RunningAttempt[]> {
  if (ids.length === 0) return [];
  const rows = await selectAttempts(sql).where('attempts.id', 'in', padded(ids)).execute();
  const byId = new Map(rows.map((row) => [row.id, row]));
  return runningAttempts(ids.map((id) => byId.get(id)).filter((row) => row !== undefined));
}

export function runningAttempts(rows: readonly AttemptRow[]): readonly RunningAttempt[] {
  return rows.map(runningAttemptOf).filter((attempt) => attempt !== undefined);
}

/** As many as the next power of two, the last one repeated: so that there are few different statements to prepare. */
function padded(ids: readonly string[]): readonly string[] {
  const last = ids.at(-1);
  if (last === undefined) return ids;
  const size = 2 ** Math.ceil(Math.log2(ids.length));
  return ids.length === size ? ids : [...ids, ...new Array<string>(size - ids.length).fill(last)];
}
