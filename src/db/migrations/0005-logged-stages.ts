import { type Kysely, sql } from 'kysely';
import type { ColumnTypes } from '../column-types.ts';

/** Which stage of an attempt is in the log already, so that each is there once whoever writes it. */
export async function loggedStages(db: Kysely<unknown>, { int }: ColumnTypes): Promise<void> {
  await sql.raw(`alter table attempts add column log_stage ${int} not null default 0`).execute(db);
}
