import type { Clock } from '../base/clock.ts';
import type { Database } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import { SqlError } from '../db/sql-error.ts';
import { formatRepositoryName, parseRepositoryName, type RepositoryName } from '../model/repository-name.ts';
import type { Accounts, Permission, Principal, Repository, Role } from './accounts.ts';
import { onDuplicate } from './duplicate.ts';
import { roleOfScopes, stronger, weaker } from './personal-token.ts';
import { storable } from './storable.ts';

/** Repositories and who may do what with them, in the database; the part of Accounts that is about them. */
export class SqlRepositories
  implements
    Pick<
      Accounts,
      | 'createRepository'
      | 'repository'
      | 'repositories'
      | 'deleteRepository'
      | 'roleOn'
      | 'permissions'
      | 'setPermission'
    >
{
  readonly #database: Database;
  readonly #clock: Clock;

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  async createRepository(
    name: RepositoryName,
    { description = '', visibility }: { description?: string; visibility: 'public' | 'private' },
  ): Promise<Repository> {
    const createdAt = this.#clock.now();
    try {
      await this.#database.sql
        .insertInto('repositories')
        .values({ ...name, description, visibility, created_at: createdAt })
        .execute();
    } catch (thrown) {
      throw onDuplicate(thrown, `The repository ${formatRepositoryName(name)} exists already.`);
    }
    return { name, description, visibility, createdAt };
  }

  async repository(name: RepositoryName): Promise<Repository | undefined> {
    const row = await this.#database.sql
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
    let query = this.#database.sql
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
    const { numDeletedRows } = await this.#database.sql
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
    const member = await this.#database.sql
      .selectFrom('namespace_members')
      .select('role')
      .where('namespace', '=', name.namespace)
      .where('username', '=', principal.username)
      .executeTakeFirst();
    const permission = await this.#database.sql
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
    const rows = await this.#database.sql
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
      const { numDeletedRows } = await this.#database.sql
        .deleteFrom('repository_permissions')
        .where('namespace', '=', name.namespace)
        .where('name', '=', name.name)
        .where('username', '=', storable(username))
        .executeTakeFirst();
      return numDeletedRows > 0n;
    }
    try {
      await this.#database.sql
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

function parseRole(text: string | undefined): Role | undefined {
  return text === 'read' || text === 'write' || text === 'admin' ? text : undefined;
}

function repositoryOf(row: Row<'repositories'>): Repository {
  return {
    name: { namespace: row.namespace, name: row.name },
    description: row.description,
    visibility: row.visibility === 'public' ? 'public' : 'private',
    createdAt: row.created_at,
  };
}
