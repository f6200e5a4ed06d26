import { type Kysely, sql } from 'kysely';
import type { ColumnTypes } from '../column-types.ts';

/** What every manager must know of an attempt's worker: which registration is its own, and what it reported. */
export async function registrations(db: Kysely<unknown>, { int }: ColumnTypes): Promise<void> {
  const statements = [
    `alter table attempts add column registrations ${int} not null default 1`,
    `alter table attempts add column heard ${int} not null default 0`,
    `alter table attempts add column reports_json text`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}
