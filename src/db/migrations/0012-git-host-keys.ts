import { type Kysely, sql } from 'kysely';
import type { ColumnTypes } from '../column-types.ts';

/** The key each git server showed when it was seen first: one a server, for another one is a changed key. */
export async function gitHostKeys(db: Kysely<unknown>, { int, text, end }: ColumnTypes): Promise<void> {
  const statements = [
    `create table git_host_keys (
      host ${text} not null,
      port ${int} not null,
      key_type text not null,
      public_key text not null,
      first_seen ${int} not null,
      build_id text not null,
      namespace ${text} not null,
      primary key (host, port)
    ) ${end}`,
    `create index git_host_keys_by_age on git_host_keys (first_seen, host, port)`,
    `create index git_host_keys_by_namespace on git_host_keys (namespace)`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}
