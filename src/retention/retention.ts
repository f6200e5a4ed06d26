import { type Expression, expressionBuilder, type RawBuilder, sql as raw, type SqlBool } from 'kysely';
import type { Clock } from '../base/clock.ts';
import type { Database, Sql, SqlTransaction } from '../db/database.ts';
import type { Schema } from '../db/schema.ts';
import { emptyLogs, removeLogs } from '../log/archive-rows.ts';
import type { RepositoryName } from '../model/repository-name.ts';
import type { StrayBlobs } from './stray-blobs.ts';

/** What would be removed, or was. Bytes of logs are those of their text. */
export interface PruneCounts {
  readonly builds: number;
  readonly jobs: number;
  readonly attempts: number;
  readonly logs: number;
  readonly logBytes: number;
  /** Of the logs, those in the blob store. */
  readonly archives: number;
  readonly uploads: number;
  readonly uploadBytes: number;
}

export const nothing: PruneCounts = {
  builds: 0,
  jobs: 0,
  attempts: 0,
  logs: 0,
  logBytes: 0,
  archives: 0,
  uploads: 0,
  uploadBytes: 0,
};

export function sumOf(a: PruneCounts, b: PruneCounts): PruneCounts {
  return {
    builds: a.builds + b.builds,
    jobs: a.jobs + b.jobs,
    attempts: a.attempts + b.attempts,
    logs: a.logs + b.logs,
    logBytes: a.logBytes + b.logBytes,
    archives: a.archives + b.archives,
    uploads: a.uploads + b.uploads,
    uploadBytes: a.uploadBytes + b.uploadBytes,
  };
}

export interface RetentionOptions {
  readonly database: Database;
  /** Removes what nothing refers to any more. */
  readonly strays: StrayBlobs;
  readonly clock: Clock;
}

/** Rows one transaction removes at most, and text of logs that are not archived. */
const buildsAtOnce = 50;
const uploadsAtOnce = 100;
const textAtOnce = 32 * 1024 * 1024;

/**
 * Milliseconds for which the end of a build may still be at work (its log is being closed), and for which an upload is
 * kept that a build was asked for with, because that build may not be in the queue yet.
 */
const settled = 3_600_000;

/**
 * Removes builds that ended before a time, with their jobs, attempts and logs, and the uploads that no other build uses.
 * Unfinished builds, and those whose worker may still run, are never touched. Images stay in the registry. Any number
 * of managers may do this at the same time.
 */
export class Retention {
  readonly #database: Database;
  readonly #strays: StrayBlobs;
  readonly #clock: Clock;

  constructor({ database, strays, clock }: RetentionOptions) {
    this.#database = database;
    this.#strays = strays;
    this.#clock = clock;
  }

  /** What `prune` would remove. `before`: milliseconds since 1970. */
  async count(before: number): Promise<PruneCounts> {
    const { sql } = this.#database;
    const builds = sql.selectFrom('builds').select('id').where(this.#prunable(before));
    const number = async (table: 'jobs' | 'attempts') =>
      await sql
        .selectFrom(table)
        .select((on) => on.fn.countAll<number>().as('count'))
        .where('build_id', 'in', builds)
        .executeTakeFirstOrThrow();
    const { count } = await sql
      .selectFrom('builds')
      .select((on) => on.fn.countAll<number>().as('count'))
      .where(this.#prunable(before))
      .executeTakeFirstOrThrow();
    const logs = await sql
      .selectFrom('log_heads')
      .select((on) => [on.fn.countAll<number>().as('count'), sumOfColumn(on.ref('bytes')).as('bytes')])
      .where('build_id', 'in', builds)
      .executeTakeFirstOrThrow();
    const archives = await sql
      .selectFrom('log_archives')
      .select((on) => on.fn.countAll<number>().as('count'))
      .where('build_id', 'in', builds)
      .executeTakeFirstOrThrow();
    const uploads = await sql
      .selectFrom('uploads')
      .select((on) => [on.fn.countAll<number>().as('count'), sumOfColumn(on.ref('size')).as('bytes')])
      .where(this.#unusedUpload(before, { afterPrune: true }))
      .executeTakeFirstOrThrow();
    return {
      builds: Number(count),
      jobs: Number((await number('jobs')).count),
      attempts: Number((await number('attempts')).count),
      logs: Number(logs.count),
      logBytes: Number(logs.bytes),
      archives: Number(archives.count),
      uploads: Number(uploads.count),
      uploadBytes: Number(uploads.bytes),
    };
  }

  /**
   * Removes, in small transactions, until nothing is left or the signal fires; what was removed by then is told either
   * way. Throws SqlError; blobs that cannot be removed now are removed later.
   */
  async prune(
    before: number,
    signal: AbortSignal,
  ): Promise<{ readonly removed: PruneCounts; readonly done: boolean }> {
    let removed = nothing;
    for (const step of [() => this.#pruneBuilds(before), () => this.#pruneUploads(before)]) {
      for (;;) {
        if (signal.aborted) return { removed, done: false };
        const more = await step();
        if (more === undefined) break;
        removed = sumOf(removed, more);
      }
    }
    await this.#strays.sweep(signal);
    return { removed, done: true };
  }

  /** Empties the logs that were closed before a time; their builds stay. Returns how many. */
  async pruneLogs(before: number, signal: AbortSignal): Promise<number> {
    for (let removed = 0; ; ) {
      if (signal.aborted) return removed;
      const some = await this.#database.transaction(async (sql) => {
        let query = sql
          .selectFrom('log_heads')
          .select(['build_id', 'bytes', 'archived_at'])
          .where('closed_at', 'is not', null)
          .where('removed_at', 'is', null)
          .where('closed_at', '<', before)
          .orderBy('closed_at')
          .limit(buildsAtOnce);
        if (this.#database.dialect === 'postgres') query = query.forUpdate().skipLocked();
        const logs = fitting(await query.execute());
        await emptyLogs(
          sql,
          logs.map((log) => log.build_id),
          this.#clock.now(),
        );
        return logs.length;
      });
      removed += some;
      if (some === 0) return removed;
    }
  }

  /** Whether a repository has builds that cannot be removed yet; see `removeBuildsOf`. */
  async holdsBuildsOf(name: RepositoryName): Promise<boolean> {
    const on = expressionBuilder<Schema, 'builds'>();
    const held = await this.#database.sql
      .selectFrom('builds')
      .select('id')
      .where(on.and([buildsOf(name), on.not(this.#prunable(this.#clock.now() + 1))]))
      .limit(1)
      .executeTakeFirst();
    return held !== undefined;
  }

  /**
   * Removes some builds of a repository that are over, with what belongs to them. `nothing`: there are none; `held`: those
   * there are wait, run, have a worker that may still run, or a log that is not closed.
   */
  async removeBuildsOf(name: RepositoryName): Promise<'some' | 'nothing' | 'held'> {
    const its = buildsOf(name);
    const removed = await this.#pruneBuilds(this.#clock.now() + 1, its);
    if (removed !== undefined) return 'some';
    const left = await this.#database.sql
      .selectFrom('builds')
      .select('id')
      .where(its)
      .limit(1)
      .executeTakeFirst();
    return left === undefined ? 'nothing' : 'held';
  }

  async #pruneBuilds(before: number, among?: Expression<SqlBool>): Promise<PruneCounts | undefined> {
    return await this.#database.transaction(async (sql) => {
      let query = sql
        .selectFrom('builds')
        .select('id')
        .where(this.#prunable(before))
        .$if(among !== undefined, (all) => (among === undefined ? all : all.where(among)))
        .orderBy('finished_at')
        .limit(buildsAtOnce);
      if (this.#database.dialect === 'postgres') query = query.forUpdate().skipLocked();
      const found = (await query.execute()).map((row) => row.id);
      if (found.length === 0) return undefined;
      const heads = await sql
        .selectFrom('log_heads')
        .select(['build_id', 'bytes', 'archived_at'])
        .where('build_id', 'in', found)
        .execute();
      const logs = fitting(heads);
      const fits = new Set(logs.map((log) => log.build_id));
      const late = new Set(heads.filter((head) => !fits.has(head.build_id)).map((head) => head.build_id));
      const ids = found.filter((id) => !late.has(id));
      const counts = {
        ...nothing,
        builds: ids.length,
        jobs: await countOf(sql, 'jobs', ids),
        attempts: await countOf(sql, 'attempts', ids),
        logs: logs.length,
        logBytes: logs.reduce((sum, { bytes }) => sum + bytes, 0),
        archives: await countOf(sql, 'log_archives', ids),
      };
      await sql.deleteFrom('builds').where('id', 'in', ids).execute();
      await removeLogs(sql, ids, this.#clock.now());
      return counts;
    });
  }

  async #pruneUploads(before: number): Promise<PruneCounts | undefined> {
    return await this.#database.transaction(async (sql) => {
      const now = this.#clock.now();
      const unused = this.#unusedUpload(before, { afterPrune: false });
      let query = sql
        .selectFrom('uploads')
        .select('id')
        .where(unused)
        .orderBy('used_at')
        .limit(uploadsAtOnce);
      if (this.#database.dialect === 'postgres') query = query.forUpdate().skipLocked();
      const ids = (await query.execute()).map((row) => row.id);
      if (ids.length === 0) return undefined;
      const rows = await sql
        .deleteFrom('uploads')
        .where('id', 'in', ids)
        .where(unused)
        .returning(['blob_key', 'size'])
        .execute();
      if (rows.length === 0) return undefined;
      const stray = rows.map(({ blob_key }) => ({ store: 'uploads' as const, blob_key, remove_at: now }));
      await sql
        .insertInto('stray_blobs')
        .values(stray)
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      const uploadBytes = rows.reduce((sum, { size }) => sum + (size ?? 0), 0);
      return { ...nothing, uploads: rows.length, uploadBytes };
    });
  }

  #prunable(before: number): Expression<SqlBool> {
    const on = expressionBuilder<Schema, 'builds'>();
    return on.and([
      on('builds.finished_at', 'is not', null),
      on('builds.finished_at', '<', before),
      on.not(
        on.exists(
          on
            .selectFrom('attempts')
            .select('attempts.id')
            .whereRef('attempts.build_id', '=', 'builds.id')
            .where('attempts.lease_until', 'is not', null),
        ),
      ),
      on.or([
        on('builds.finished_at', '<', this.#clock.now() - settled),
        on.not(
          on.exists(
            on
              .selectFrom('log_heads')
              .select('log_heads.build_id')
              .whereRef('log_heads.build_id', '=', 'builds.id')
              .where('log_heads.closed_at', 'is', null),
          ),
        ),
      ]),
    ]);
  }

  #unusedUpload(before: number, { afterPrune }: { readonly afterPrune: boolean }): Expression<SqlBool> {
    const on = expressionBuilder<Schema, 'uploads'>();
    let users = on
      .selectFrom('builds')
      .select('builds.id')
      .where(this.#uploadOfBuild(), '=', on.ref('uploads.id'));
    if (afterPrune) users = users.where(on.not(this.#prunable(before)));
    return on.and([
      on('uploads.namespace', 'is not', null),
      on('uploads.used_at', 'is not', null),
      on('uploads.used_at', '<', Math.min(before, this.#clock.now() - settled)),
      on.not(on.exists(users)),
    ]);
  }

  /** As in the index of that name; otherwise every request would be read. */
  #uploadOfBuild(): RawBuilder<string | null> {
    return this.#database.dialect === 'sqlite'
      ? raw<string | null>`json_extract(builds.request_json, '$.source.uploadId')`
      : raw<string | null>`(builds.request_json::json #>> '{source,uploadId}')`;
  }
}

/** The first of these logs, as many as one transaction should remove; one at least. */
function fitting<Log extends { readonly bytes: number; readonly archived_at: number | null }>(
  logs: readonly Log[],
): readonly Log[] {
  let text = 0;
  return logs.filter(({ bytes, archived_at }, index) => {
    if (archived_at === null) text += bytes;
    return index === 0 || text <= textAtOnce;
  });
}

function buildsOf({ namespace, name }: RepositoryName): Expression<SqlBool> {
  const on = expressionBuilder<Schema, 'builds'>();
  return on.and([on('builds.namespace', '=', namespace), on('builds.repository', '=', name)]);
}

function sumOfColumn(column: Expression<number | null>): RawBuilder<number> {
  return raw<number>`coalesce(sum(${column}), 0)`;
}

async function countOf(
  sql: Sql | SqlTransaction,
  table: 'jobs' | 'attempts' | 'log_archives',
  buildIds: readonly string[],
): Promise<number> {
  if (buildIds.length === 0) return 0;
  const { count } = await sql
    .selectFrom(table)
    .select((on) => on.fn.countAll<number>().as('count'))
    .where('build_id', 'in', buildIds)
    .executeTakeFirstOrThrow();
  return Number(count);
}
