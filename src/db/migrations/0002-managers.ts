import { type Kysely, sql } from 'kysely';
import type { ColumnTypes } from '../column-types.ts';

/** Several managers, and builds that a newer one makes needless. */
export async function managers(db: Kysely<unknown>, types: ColumnTypes): Promise<void> {
  const { int, text, end } = types;
  const statements = [
    `create table managers (
      name ${text} primary key,
      beats ${int} not null,
      joined_at ${int} not null
    ) ${end}`,
    `create index builds_publishing on builds (publisher) where publisher is not null`,
    `alter table builds add column newest_key text`,
    `alter table builds add column superseded_by text`,
    `create index builds_newest on builds (namespace, repository, newest_key)
      where newest_key is not null and phase = 'waiting'`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}
