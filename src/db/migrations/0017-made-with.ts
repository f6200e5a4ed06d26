import { type Kysely, sql } from 'kysely';
import type { ColumnTypes } from '../column-types.ts';

/**
 * The personal token that a robot's token, or another personal one, was made with; null: a password or a browser. It refers
 * to nothing, for what was made outlives the token that is revoked, and is found by it then.
 */
export async function madeWith(db: Kysely<unknown>, { text }: ColumnTypes): Promise<void> {
  for (const statement of [
    `alter table robots add column made_with ${text}`,
    `alter table tokens add column made_with ${text}`,
    'create index robots_made_with on robots (made_with)',
  ])
    await sql.raw(statement).execute(db);
}
