import { type Kysely, sql } from 'kysely';

/** What had failed to sign in stood there as it was typed, which now and then is a password. */
export async function nameMarks(db: Kysely<unknown>): Promise<void> {
  await sql.raw('delete from login_failures').execute(db);
}
