import { type Kysely, sql } from 'kysely';
import type { ColumnTypes, DialectName } from '../column-types.ts';

/** Logs in the blob store, and what is needed to remove old builds. */
export async function archives(
  db: Kysely<unknown>,
  { int, text, end }: ColumnTypes,
  dialect: DialectName,
): Promise<void> {
  const uploadOf =
    dialect === 'sqlite'
      ? `json_extract(request_json, '$.source.uploadId')`
      : `(request_json::json #>> '{source,uploadId}')`;
  const statements = [
    `alter table log_heads add column archive_at ${int} not null default 0`,
    `alter table log_heads add column archive_tries ${int} not null default 0`,
    `alter table log_heads add column archive_key text`,
    `alter table log_heads add column archived_at ${int}`,
    `alter table log_heads add column removed_at ${int}`,
    `create index log_heads_kept on log_heads (closed_at) where closed_at is not null and removed_at is null`,
    `create index log_heads_unarchived on log_heads (archive_at)
      where closed_at is not null and archived_at is null`,
    `create table log_archives (
      build_id text primary key,
      blob_key text not null unique,
      size ${int} not null,
      sha256 text not null,
      parts_json text not null
    ) ${end}`,
    `create table log_remainders (build_id text primary key) ${end}`,
    `create table stray_blobs (
      store ${text} not null check (store in ('logs', 'uploads')),
      blob_key ${text} not null,
      remove_at ${int} not null,
      primary key (store, blob_key)
    ) ${end}`,
    `create index stray_blobs_by_time on stray_blobs (remove_at)`,

    `alter table uploads add column used_at ${int}`,
    `update uploads set used_at = stored_at where namespace is not null`,
    `create index uploads_used on uploads (used_at) where used_at is not null`,
    `create index builds_by_end on builds (finished_at) where finished_at is not null`,
    `create index builds_of_upload on builds (${uploadOf})`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}
