import { sql as raw } from 'kysely';
import type { Database, SqlTransaction } from '../db/database.ts';
import type { BuildId } from '../model/ids.ts';
import type { StoredArchive } from './archive-log.ts';

/** A claim as it was read. */
export interface SeenClaim {
  readonly buildId: string;
  readonly key: string;
  /** Looked at for whether it changes, and never as a time. */
  readonly mark: number;
}

/** A closed log that is to be archived as the blob `key`, by who claimed it. */
export interface ArchiveClaim {
  readonly buildId: BuildId;
  readonly key: string;
  /** Entries. */
  readonly total: number;
  /** Failures so far. */
  readonly tries: number;
}

/** Text of a log whose chunks are removed together with its being archived; those of larger ones follow in slices. */
const removedAtOnce = 4 * 1024 * 1024;
const removedInSlice = 32;

/**
 * The state of archiving, in `log_heads`:
 *
 * | state    | row                                        | may become                                        |
 * |----------|--------------------------------------------|---------------------------------------------------|
 * | open     | closed_at is null                          | waiting, when the log is closed                   |
 * | waiting  | no archive_key; archive_at after a failure | claimed, when archive_at has come                 |
 * | claimed  | archive_key, archive_at moves              | archived by who has the key; waiting when it fails, or when archive_at stands still |
 * | archived | archived_at, a row in log_archives         | –                                                 |
 *
 * A claim whose holder died is made free by who watched it stand still, each by its own monotonic time
 * (docs/adr/0015-leases-are-watched.md). One whose holder is only slow comes free as well: the next one has another key,
 * so the slow one finds that it lost, and its blob is removed as a stray.
 */
export async function claimArchives(
  database: Database,
  given: {
    readonly now: number;
    /** Milliseconds; who waits until later than that was told so by a wrong clock. */
    readonly longestWait: number;
    readonly most: number;
    readonly token: string;
    readonly strayUntil: number;
  },
): Promise<readonly ArchiveClaim[]> {
  const { now, longestWait, most, token, strayUntil } = given;
  return await database.transaction(async (sql) => {
    let due = sql
      .selectFrom('log_heads')
      .select(['build_id', 'total', 'archive_tries'])
      .where('closed_at', 'is not', null)
      .where('archived_at', 'is', null)
      .where('archive_key', 'is', null)
      .where((row) => row.or([row('archive_at', '<=', now), row('archive_at', '>', now + longestWait)]))
      .orderBy('archive_at')
      .limit(most);
    if (database.dialect === 'postgres') due = due.forUpdate().skipLocked();
    const rows = await due.execute();
    if (rows.length === 0) return [];
    const claims = rows.map(
      ({ build_id, total, archive_tries }): ArchiveClaim => ({
        buildId: build_id as BuildId,
        key: `logs/${build_id.slice(0, 2)}/${build_id}-${token}`,
        total,
        tries: archive_tries,
      }),
    );
    const ids = rows.map((row) => row.build_id);
    await sql
      .updateTable('log_heads')
      .set({
        archive_at: now,
        archive_key: raw<string>`'logs/' || substr(build_id, 1, 2) || '/' || build_id || ${`-${token}`}`,
      })
      .where('build_id', 'in', ids)
      .execute();
    await sql
      .insertInto('stray_blobs')
      .values(claims.map(({ key }) => ({ store: 'logs' as const, blob_key: key, remove_at: strayUntil })))
      .execute();
    return claims;
  });
}

/** Closed logs that are not archived. */
export async function countUnarchived(database: Database): Promise<number> {
  const { count } = await database.sql
    .selectFrom('log_heads')
    .select((on) => on.fn.countAll<number>().as('count'))
    .where('closed_at', 'is not', null)
    .where('archived_at', 'is', null)
    .executeTakeFirstOrThrow();
  return Number(count);
}

/** Keeps claims, as far as they still hold: those who watch them see that they move. */
export async function renewArchives(database: Database, claims: readonly ArchiveClaim[]): Promise<void> {
  await database.sql
    .updateTable('log_heads')
    .set((row) => ({ archive_at: row('archive_at', '+', 1) }))
    .where(
      'build_id',
      'in',
      claims.map(({ buildId }) => buildId),
    )
    .where(
      'archive_key',
      'in',
      claims.map(({ key }) => key),
    )
    .where('archived_at', 'is', null)
    .execute();
}

/** All claims there are, whoever holds them. */
export async function claimedArchives(database: Database): Promise<readonly SeenClaim[]> {
  const rows = await database.sql
    .selectFrom('log_heads')
    .select(['build_id', 'archive_key', 'archive_at'])
    .where('closed_at', 'is not', null)
    .where('archived_at', 'is', null)
    .where('archive_key', 'is not', null)
    .execute();
  return rows.flatMap(({ build_id: buildId, archive_key: key, archive_at: mark }) =>
    key === null ? [] : [{ buildId, key, mark }],
  );
}

/** Makes claims free, as far as they are still as they were seen. */
export async function freeArchives(database: Database, claims: readonly SeenClaim[]): Promise<void> {
  for (const { buildId, key, mark } of claims)
    await database.sql
      .updateTable('log_heads')
      .set({ archive_at: 0, archive_key: null })
      .where('build_id', '=', buildId)
      .where('archived_at', 'is', null)
      .where('archive_key', '=', key)
      .where('archive_at', '=', mark)
      .execute();
}

/** Makes everything free that is not archived: who claimed it is dead, and whom a failure made wait need not. */
export async function releaseArchives(database: Database): Promise<void> {
  await database.sql
    .updateTable('log_heads')
    .set({ archive_at: 0, archive_key: null })
    .where('closed_at', 'is not', null)
    .where('archived_at', 'is', null)
    .where((row) => row.or([row('archive_at', '!=', 0), row('archive_key', 'is not', null)]))
    .execute();
}

/**
 * Makes stored blobs the archives of their logs, as far as their claims still hold: from then on the logs are read from
 * there. False: the claim was lost, and the blob is removed some time.
 */
export async function settleArchives(
  database: Database,
  stored: readonly { readonly claim: ArchiveClaim; readonly archive: StoredArchive }[],
  now: number,
): Promise<readonly boolean[]> {
  return await database.transaction(async (sql) => {
    const ids = stored.map(({ claim }) => claim.buildId);
    const keys = stored.map(({ claim }) => claim.key);
    // A blob that is no stray any more, or one that is due, was removed: nothing may refer to it.
    const present = await sql
      .deleteFrom('stray_blobs')
      .where('store', '=', 'logs')
      .where('blob_key', 'in', keys)
      .where('remove_at', '>', now)
      .returning('blob_key')
      .execute();
    if (present.length === 0) return stored.map(() => false);
    const heads = await sql
      .updateTable('log_heads')
      .set({ archived_at: now })
      .where('build_id', 'in', ids)
      .where('archived_at', 'is', null)
      .where(
        'archive_key',
        'in',
        present.map((row) => row.blob_key),
      )
      .returning(['archive_key', 'bytes', 'build_id'])
      .execute();
    const won = new Map(heads.map((head) => [head.archive_key, head]));
    const lost = present.filter(({ blob_key }) => !won.has(blob_key));
    if (lost.length > 0)
      await addStrays(
        sql,
        lost.map((row) => row.blob_key),
        now,
      );
    const accepted = stored.filter(({ claim }) => won.has(claim.key));
    if (accepted.length > 0) {
      await sql
        .insertInto('log_archives')
        .values(
          accepted.map(({ claim, archive }) => ({
            build_id: claim.buildId,
            blob_key: claim.key,
            size: archive.size,
            sha256: archive.sha256,
            parts_json: JSON.stringify(archive.parts),
          })),
        )
        .execute();
    }
    const small = heads.filter(({ bytes }) => bytes <= removedAtOnce).map((head) => head.build_id);
    if (small.length > 0) await sql.deleteFrom('log_chunks').where('build_id', 'in', small).execute();
    const large = heads.filter(({ bytes }) => bytes > removedAtOnce).map(({ build_id }) => ({ build_id }));
    if (large.length > 0) await sql.insertInto('log_remainders').values(large).execute();
    return stored.map(({ claim }) => won.has(claim.key));
  });
}

/** Gives a claim back, to be tried again at `again`, or at once when that is 0; what there is of its blob is removed. */
export async function giveUpArchive(
  database: Database,
  { buildId, key, tries }: ArchiveClaim,
  { now, again }: { readonly now: number; readonly again: number },
): Promise<void> {
  await database.transaction(async (sql) => {
    await sql
      .updateTable('log_heads')
      .set({ archive_at: again, archive_key: null, archive_tries: tries + 1 })
      .where('build_id', '=', buildId)
      .where('archive_key', '=', key)
      .where('archived_at', 'is', null)
      .execute();
    await sql
      .updateTable('stray_blobs')
      .set({ remove_at: now })
      .where('store', '=', 'logs')
      .where('blob_key', '=', key)
      .execute();
  });
}

/** Removes a slice of the chunks of an archived log that was large. False: there was none left. */
export async function removeRemainder(database: Database): Promise<boolean> {
  const log = await database.sql.selectFrom('log_remainders').select('build_id').limit(1).executeTakeFirst();
  if (log === undefined) return false;
  await database.transaction(async (sql) => {
    const rows = await sql
      .selectFrom('log_chunks')
      .select('first_index')
      .where('build_id', '=', log.build_id)
      .orderBy('first_index')
      .limit(removedInSlice)
      .execute();
    const last = rows.at(-1);
    if (last !== undefined)
      await sql
        .deleteFrom('log_chunks')
        .where('build_id', '=', log.build_id)
        .where('first_index', '<=', last.first_index)
        .execute();
    if (rows.length < removedInSlice)
      await sql.deleteFrom('log_remainders').where('build_id', '=', log.build_id).execute();
  });
  return true;
}

/** Removes logs entirely; the blobs of those that were archived become strays, which are due at once. */
export async function removeLogs(
  sql: SqlTransaction,
  buildIds: readonly string[],
  now: number,
): Promise<void> {
  if (buildIds.length === 0) return;
  // The heads first, so that who archives one of them at this moment is waited for, or finds that it lost.
  await sql.deleteFrom('log_heads').where('build_id', 'in', buildIds).execute();
  await removeEntries(sql, buildIds, now);
}

/** Removes the entries of closed logs, which are empty from then on. */
export async function emptyLogs(
  sql: SqlTransaction,
  buildIds: readonly string[],
  now: number,
): Promise<void> {
  if (buildIds.length === 0) return;
  await sql
    .updateTable('log_heads')
    .set({ total: 0, bytes: 0, archived_at: now, archive_key: null, removed_at: now })
    .where('build_id', 'in', buildIds)
    .execute();
  await removeEntries(sql, buildIds, now);
}

async function removeEntries(sql: SqlTransaction, buildIds: readonly string[], now: number): Promise<void> {
  const archives = await sql
    .deleteFrom('log_archives')
    .where('build_id', 'in', buildIds)
    .returning('blob_key')
    .execute();
  if (archives.length > 0)
    await addStrays(
      sql,
      archives.map((row) => row.blob_key),
      now,
    );
  for (const table of ['log_chunks', 'log_tails', 'log_remainders'] as const)
    await sql.deleteFrom(table).where('build_id', 'in', buildIds).execute();
}

async function addStrays(sql: SqlTransaction, keys: readonly string[], now: number): Promise<void> {
  await sql
    .insertInto('stray_blobs')
    .values(keys.map((blob_key) => ({ store: 'logs' as const, blob_key, remove_at: now })))
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}
