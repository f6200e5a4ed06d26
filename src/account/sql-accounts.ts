import { randomUUID } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import type { Database, Sql } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import { SqlError } from '../db/sql-error.ts';
import {
  formatRepositoryName,
  isNamespace,
  parseRepositoryName,
  type RepositoryName,
} from '../model/repository-name.ts';
import { AccountError } from './account-error.ts';
import type {
  Accounts,
  Permission,
  PersonalToken,
  Principal,
  Repository,
  Role,
  TokenScope,
} from './accounts.ts';
import type { PasswordHasher } from './password-hash.ts';
import {
  looksLikeToken,
  newTokenText,
  roleOfScopes,
  stronger,
  tokenHash,
  tokenScopes,
  weaker,
} from './personal-token.ts';

const shortestPassword = 8;
const longestPassword = 1024;
const mostTokens = 200;
/** How exact `lastUsedAt` is, in milliseconds: a token is used often, its row is written seldom. */
const useGranularity = 60_000;

/** Accounts in the database; both dialects. */
export class SqlAccounts implements Accounts {
  readonly #database: Database;
  readonly #passwords: PasswordHasher;
  readonly #clock: Clock;

  constructor({
    database,
    passwords,
    clock,
  }: {
    readonly database: Database;
    readonly passwords: PasswordHasher;
    readonly clock: Clock;
  }) {
    this.#database = database;
    this.#passwords = passwords;
    this.#clock = clock;
  }

  get #sql(): Sql {
    return this.#database.sql;
  }

  async createUser({
    username,
    password,
    email,
    superuser = false,
  }: Parameters<Accounts['createUser']>[0]): Promise<void> {
    if (!isNamespace(username))
      throw new AccountError(
        'bad-name',
        `"${username.slice(0, 255)}" cannot be a user name. Use 2 to 255 lower-case letters and digits, parted by single . _ or -.`,
      );
    const length = [...password].length;
    if (length < shortestPassword || length > longestPassword)
      throw new AccountError(
        'bad-password',
        `The password has ${length} characters; it must have ${shortestPassword} to ${longestPassword}.`,
      );
    const hash = await this.#passwords.hash(password);
    const now = this.#clock.now();
    try {
      await this.#database.transaction(async (sql) => {
        await sql
          .insertInto('users')
          .values({
            username,
            password_hash: hash,
            email: email ?? null,
            superuser: superuser ? 1 : 0,
            created_at: now,
          })
          .execute();
        // A name that is a namespace already (an organization's, say) is no user's.
        await sql.insertInto('namespaces').values({ name: username, created_at: now }).execute();
        await sql
          .insertInto('namespace_members')
          .values({ namespace: username, username, role: 'admin' })
          .execute();
      });
    } catch (thrown) {
      throw onDuplicate(thrown, `The name "${username}" is taken. Choose another one.`);
    }
  }

  async anyUser(): Promise<boolean> {
    return (await this.#sql.selectFrom('users').select('username').limit(1).executeTakeFirst()) !== undefined;
  }

  async verifyPassword(username: string, password: string): Promise<Principal | undefined> {
    const row = await this.#sql
      .selectFrom('users')
      .select(['username', 'password_hash', 'superuser'])
      .where('username', '=', storable(username))
      .where('disabled', '=', 0)
      .executeTakeFirst();
    const right = await this.#passwords.verify(password, row?.password_hash);
    if (!right || row === undefined) return undefined;
    return { kind: 'user', username: row.username, superuser: row.superuser === 1, scopes: 'all' };
  }

  async isEnabled(username: string): Promise<boolean> {
    const row = await this.#sql
      .selectFrom('users')
      .select('disabled')
      .where('username', '=', username)
      .executeTakeFirst();
    return row?.disabled === 0;
  }

  async verifyToken(token: string): Promise<Principal | undefined> {
    if (!looksLikeToken(token)) return undefined;
    const row = await this.#sql
      .selectFrom('tokens')
      .innerJoin('users', 'users.username', 'tokens.username')
      .select(['tokens.id', 'tokens.username', 'scopes_json', 'expires_at', 'last_used_at', 'superuser'])
      .where('hash', '=', tokenHash(token))
      .where('disabled', '=', 0)
      .executeTakeFirst();
    const now = this.#clock.now();
    if (row === undefined || (row.expires_at !== null && row.expires_at <= now)) return undefined;
    if (row.last_used_at === null || now - row.last_used_at >= useGranularity)
      await this.#sql.updateTable('tokens').set({ last_used_at: now }).where('id', '=', row.id).execute();
    const scopes = parseScopes(row.scopes_json);
    return {
      kind: 'user',
      username: row.username,
      superuser: row.superuser === 1 && scopes.includes('super:user'),
      scopes,
    };
  }

  async createToken(
    username: string,
    { name, scopes, expiresAt }: { name: string; scopes: readonly TokenScope[]; expiresAt?: number },
  ): Promise<{ token: string; view: PersonalToken }> {
    const now = this.#clock.now();
    if (scopes.length === 0) throw new AccountError('bad-token', 'A token needs at least one scope.');
    if (expiresAt !== undefined && expiresAt <= now)
      throw new AccountError('bad-token', 'The expiry of the token has passed already.');
    const token = newTokenText();
    const row = {
      id: randomUUID(),
      username,
      name,
      hash: tokenHash(token),
      scopes_json: JSON.stringify([...new Set(scopes)]),
      created_at: now,
      expires_at: expiresAt ?? null,
      last_used_at: null,
    };
    try {
      await this.#database.transaction(async (sql) => {
        // What has expired is of no use to anybody.
        await sql
          .deleteFrom('tokens')
          .where('username', '=', username)
          .where('expires_at', '<=', now)
          .execute();
        const { count } = await sql
          .selectFrom('tokens')
          .select((on) => on.fn.countAll<number>().as('count'))
          .where('username', '=', username)
          .executeTakeFirstOrThrow();
        if (count >= mostTokens)
          throw new AccountError('too-many', `You have ${mostTokens} tokens already. Revoke one first.`);
        await sql.insertInto('tokens').values(row).execute();
      });
    } catch (thrown) {
      if (thrown instanceof SqlError && thrown.code === 'foreign-key')
        throw new AccountError('unknown', `There is no user "${username}".`, thrown);
      throw thrown;
    }
    return { token, view: tokenOf(row) };
  }

  async tokens(username: string): Promise<readonly PersonalToken[]> {
    const rows = await this.#sql
      .selectFrom('tokens')
      .selectAll()
      .where('username', '=', username)
      .orderBy('created_at')
      .orderBy('id')
      .execute();
    return rows.map(tokenOf);
  }

  async revokeToken(username: string, id: string): Promise<boolean> {
    const { numDeletedRows } = await this.#sql
      .deleteFrom('tokens')
      .where('username', '=', username)
      .where('id', '=', storable(id))
      .executeTakeFirst();
    return numDeletedRows > 0n;
  }

  async createRepository(
    name: RepositoryName,
    { description = '', visibility }: { description?: string; visibility: 'public' | 'private' },
  ): Promise<Repository> {
    const createdAt = this.#clock.now();
    try {
      await this.#sql
        .insertInto('repositories')
        .values({ ...name, description, visibility, created_at: createdAt })
        .execute();
    } catch (thrown) {
      throw onDuplicate(thrown, `The repository ${formatRepositoryName(name)} exists already.`);
    }
    return { name, description, visibility, createdAt };
  }

  async repository(name: RepositoryName): Promise<Repository | undefined> {
    const row = await this.#sql
      .selectFrom('repositories')
      .selectAll()
      .where('namespace', '=', name.namespace)
      .where('name', '=', name.name)
      .executeTakeFirst();
    return row === undefined ? undefined : repositoryOf(row);
  }

  async repositories(
    principal: Principal,
    { namespace, limit, after }: { namespace?: string; limit: number; after?: string },
  ): Promise<readonly Repository[]> {
    let query = this.#sql
      .selectFrom('repositories as r')
      .selectAll('r')
      .orderBy('r.namespace')
      .orderBy('r.name')
      .limit(limit);
    if (namespace !== undefined) query = query.where('r.namespace', '=', storable(namespace));
    const cursor = after === undefined ? undefined : parseRepositoryName(after);
    if (cursor !== undefined)
      query = query.where((on) =>
        on.or([
          on('r.namespace', '>', cursor.namespace),
          on.and([on('r.namespace', '=', cursor.namespace), on('r.name', '>', cursor.name)]),
        ]),
      );
    if (principal.kind !== 'user' || !principal.superuser) {
      const username =
        principal.kind === 'user' && roleOfScopes(principal.scopes) !== undefined
          ? principal.username
          : undefined;
      query = query.where((on) =>
        on.or([
          on('r.visibility', '=', 'public'),
          ...(username === undefined
            ? []
            : [
                on.exists(
                  on
                    .selectFrom('namespace_members as m')
                    .select('m.role')
                    .whereRef('m.namespace', '=', 'r.namespace')
                    .where('m.username', '=', username)
                    .where('m.role', 'in', ['read', 'write', 'admin']),
                ),
                on.exists(
                  on
                    .selectFrom('repository_permissions as p')
                    .select('p.role')
                    .whereRef('p.namespace', '=', 'r.namespace')
                    .whereRef('p.name', '=', 'r.name')
                    .where('p.username', '=', username),
                ),
              ]),
        ]),
      );
    }
    return (await query.execute()).map(repositoryOf);
  }

  async deleteRepository(name: RepositoryName): Promise<boolean> {
    const { numDeletedRows } = await this.#sql
      .deleteFrom('repositories')
      .where('namespace', '=', name.namespace)
      .where('name', '=', name.name)
      .executeTakeFirst();
    return numDeletedRows > 0n;
  }

  async roleOn(principal: Principal, name: RepositoryName): Promise<Role | undefined> {
    const repository = await this.repository(name);
    const publicRole = repository?.visibility === 'public' ? 'read' : undefined;
    // Robots get their permissions together with organizations; until then they see what everybody sees.
    if (principal.kind !== 'user') return publicRole;
    if (principal.superuser) return 'admin';
    const member = await this.#sql
      .selectFrom('namespace_members')
      .select('role')
      .where('namespace', '=', name.namespace)
      .where('username', '=', principal.username)
      .executeTakeFirst();
    const permission = await this.#sql
      .selectFrom('repository_permissions')
      .select('role')
      .where('namespace', '=', name.namespace)
      .where('name', '=', name.name)
      .where('username', '=', principal.username)
      .executeTakeFirst();
    const own = stronger(parseRole(member?.role), parseRole(permission?.role));
    return stronger(publicRole, weaker(own, roleOfScopes(principal.scopes)));
  }

  async permissions(name: RepositoryName): Promise<readonly Permission[]> {
    const rows = await this.#sql
      .selectFrom('repository_permissions')
      .select(['username', 'role'])
      .where('namespace', '=', name.namespace)
      .where('name', '=', name.name)
      .orderBy('username')
      .execute();
    return rows.flatMap(({ username, role }) => {
      const parsed = parseRole(role);
      return parsed === undefined ? [] : [{ username, role: parsed }];
    });
  }

  async setPermission(name: RepositoryName, username: string, role: Role | undefined): Promise<boolean> {
    if (role === undefined) {
      const { numDeletedRows } = await this.#sql
        .deleteFrom('repository_permissions')
        .where('namespace', '=', name.namespace)
        .where('name', '=', name.name)
        .where('username', '=', storable(username))
        .executeTakeFirst();
      return numDeletedRows > 0n;
    }
    try {
      await this.#sql
        .insertInto('repository_permissions')
        .values({ ...name, username: storable(username), role })
        .onConflict((on) => on.columns(['namespace', 'name', 'username']).doUpdateSet({ role }))
        .execute();
      return true;
    } catch (thrown) {
      if (thrown instanceof SqlError && thrown.code === 'foreign-key') return false;
      throw thrown;
    }
  }
}

function onDuplicate(thrown: unknown, message: string): unknown {
  return thrown instanceof SqlError && thrown.code === 'unique-violation'
    ? new AccountError('exists', message, thrown)
    : thrown;
}

/** PostgreSQL takes no NUL in a text; no name has one, so such a text finds nothing either way. */
function storable(text: string): string {
  return text.replaceAll('\0', '\u{FFFD}');
}

function parseRole(text: string | undefined): Role | undefined {
  return text === 'read' || text === 'write' || text === 'admin' ? text : undefined;
}

function parseScopes(json: string): TokenScope[] {
  const stored: unknown = JSON.parse(json);
  return Array.isArray(stored) ? tokenScopes.filter((scope) => stored.includes(scope)) : [];
}

function tokenOf(row: Omit<Row<'tokens'>, 'hash'>): PersonalToken {
  return {
    id: row.id,
    name: row.name,
    scopes: parseScopes(row.scopes_json),
    createdAt: row.created_at,
    ...(row.expires_at === null ? {} : { expiresAt: row.expires_at }),
    ...(row.last_used_at === null ? {} : { lastUsedAt: row.last_used_at }),
  };
}

function repositoryOf(row: Row<'repositories'>): Repository {
  return {
    name: { namespace: row.namespace, name: row.name },
    description: row.description,
    visibility: row.visibility === 'public' ? 'public' : 'private',
    createdAt: row.created_at,
  };
}
