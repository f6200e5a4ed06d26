import type { SqlTransaction } from '../db/database.ts';

/** The rows of a new user. The name was checked. Throws SqlError `unique-violation` when it is taken. */
export async function insertUser(
  sql: SqlTransaction,
  {
    username,
    passwordHash,
    email,
    superuser = false,
    now,
  }: {
    readonly username: string;
    readonly passwordHash: string;
    readonly email: string | undefined;
    readonly superuser?: boolean;
    readonly now: number;
  },
): Promise<void> {
  await sql
    .insertInto('users')
    .values({
      username,
      password_hash: passwordHash,
      email: email ?? null,
      superuser: superuser ? 1 : 0,
      created_at: now,
    })
    .execute();
  // A name that is a namespace already (an organization's, say) is no user's.
  await sql.insertInto('namespaces').values({ name: username, kind: 'user', created_at: now }).execute();
}
