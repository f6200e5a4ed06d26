import type { Clock } from '../base/clock.ts';
import type { Database, SqlTransaction } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import { AccountError } from './account-error.ts';
import { lockOrganization, requireAdmin } from './namespace-admins.ts';
import type { PasswordHasher } from './password-hash.ts';
import { requirePassword } from './password-rule.ts';
import type { SuperuserRule } from './sql-personal-tokens.ts';
import { storable } from './storable.ts';
import type { User, Users } from './users.ts';

/** Users in the database; both dialects. */
export class SqlUsers implements Users {
  readonly #database: Database;
  readonly #passwords: PasswordHasher;
  readonly #isSuperuser: SuperuserRule;

  readonly #clock: Clock;

  constructor(database: Database, passwords: PasswordHasher, isSuperuser: SuperuserRule, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
    this.#passwords = passwords;
    this.#isSuperuser = isSuperuser;
  }

  async users({
    limit,
    after,
    enabledOnly = false,
  }: {
    limit: number;
    after?: string;
    enabledOnly?: boolean;
  }): Promise<readonly User[]> {
    let query = this.#database.sql
      .selectFrom('users')
      .select(['username', 'email', 'superuser', 'disabled', 'created_at'])
      .orderBy('username')
      .limit(limit);
    if (after !== undefined) query = query.where('username', '>', storable(after));
    if (enabledOnly) query = query.where('disabled', '=', 0);
    return (await query.execute()).map((row) => this.#userOf(row));
  }

  async user(username: string): Promise<User | undefined> {
    const row = await this.#database.sql
      .selectFrom('users')
      .select(['username', 'email', 'superuser', 'disabled', 'created_at'])
      .where('username', '=', storable(username))
      .executeTakeFirst();
    return row === undefined ? undefined : this.#userOf(row);
  }

  async change(
    username: string,
    { email, enabled }: { email?: string; enabled?: boolean },
  ): Promise<User | undefined> {
    if (email === undefined && enabled === undefined) return await this.user(username);
    return await this.#database.transaction(async (sql) => {
      const row = await sql
        .updateTable('users')
        .set({
          ...(email === undefined ? {} : { email }),
          ...(enabled === undefined ? {} : { disabled: enabled ? 0 : 1 }),
        })
        .where('username', '=', storable(username))
        .returning(['username', 'email', 'superuser', 'disabled', 'created_at'])
        .executeTakeFirst();
      if (row === undefined) return undefined;
      return this.#userOf(row);
    });
  }

  async setPassword(
    username: string,
    password: string,
    { revokeTokens }: { revokeTokens: boolean },
  ): Promise<boolean> {
    requirePassword(password);
    const hash = await this.#passwords.hash(password);
    return await this.#database.transaction(async (sql) => {
      const { numUpdatedRows } = await sql
        .updateTable('users')
        .set({ password_hash: hash })
        .where('username', '=', storable(username))
        .executeTakeFirst();
      if (numUpdatedRows === 0n) return false;
      if (revokeTokens) await sql.deleteFrom('tokens').where('username', '=', username).execute();
      return true;
    });
  }

  async disabledAmong(names: readonly string[]): Promise<readonly string[]> {
    if (names.length === 0) return [];
    const rows = await this.#database.sql
      .selectFrom('users')
      .select('username')
      .where('username', 'in', names.map(storable))
      .where('disabled', '!=', 0)
      .orderBy('username')
      .execute();
    return rows.map(({ username }) => username);
  }

  async delete(username: string): Promise<boolean> {
    const name = storable(username);
    return await this.#database.transaction(async (sql) => {
      // So that no repository comes into the namespace meanwhile.
      await sql
        .updateTable('namespaces')
        .set({ kind: 'user' })
        .where('name', '=', name)
        .where('kind', '=', 'user')
        .execute();
      const repository = await sql
        .selectFrom('repositories')
        .select('name')
        .where('namespace', '=', name)
        .limit(1)
        .executeTakeFirst();
      const teams = await sql
        .selectFrom('team_members')
        .select('namespace')
        .distinct()
        .where('username', '=', name)
        .orderBy('namespace')
        .execute();
      for (const { namespace } of teams) await lockOrganization(sql, namespace);
      const { numDeletedRows } = await sql
        .deleteFrom('users')
        .where('username', '=', name)
        .executeTakeFirst();
      if (numDeletedRows === 0n) return false;
      if (repository !== undefined)
        throw new AccountError(
          'not-empty',
          `${username} has repositories, ${username}/${repository.name} for one. Delete them first, or disable the user.`,
        );
      for (const { namespace } of teams) await requireAdmin(sql, namespace);
      await sql.deleteFrom('namespaces').where('name', '=', name).where('kind', '=', 'user').execute();
      await releaseTriggers(sql, name, this.#clock.now());
      return true;
    });
  }

  #userOf(row: Pick<Row<'users'>, 'username' | 'email' | 'superuser' | 'disabled' | 'created_at'>): User {
    return {
      username: row.username,
      superuser: this.#isSuperuser(row.username, row.superuser === 1),
      enabled: row.disabled === 0,
      createdAt: row.created_at,
      ...(row.email === null ? {} : { email: row.email }),
    };
  }
}

/**
 * Triggers of others' repositories that acted as this user do nothing any more, and their token is forgotten: whoever
 * takes the name must not act with it.
 */
async function releaseTriggers(sql: SqlTransaction, username: string, now: number): Promise<void> {
  const its = sql.updateTable('triggers').where('connected_user', '=', username);
  await its
    .set({ enabled: 0, disabled_reason: 'user_deleted', disabled_at: now })
    .where('enabled', '=', 1)
    .execute();
  await its.set({ connected_user: null, auth_token_sealed: null }).execute();
}
