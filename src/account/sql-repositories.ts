import type { Clock } from '../base/clock.ts';
import { unreachable } from '../base/unreachable.ts';
import type { Database } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import { SqlError } from '../db/sql-error.ts';
import { formatRepositoryName, parseRepositoryName, type RepositoryName } from '../model/repository-name.ts';
import type { Accounts, Permission, Principal, Repository, Role } from './accounts.ts';
import { onDuplicate } from './duplicate.ts';
import { roleOfScopes } from './personal-token.ts';
import { roleOfRobot, roleOfUser, seenBy } from './repository-roles.ts';
import { isRobotName } from './robot-name.ts';
import { parseRole, stronger, weaker } from './role.ts';
import { storable } from './storable.ts';

/** Repositories and who may do what with them, in the database; the part of Accounts that is about them. */
export class SqlRepositories
  implements
    Pick<
      Accounts,
      | 'createRepository'
      | 'repository'
      | 'repositories'
      | 'changeRepository'
      | 'deleteRepository'
      | 'roleOn'
      | 'permissions'
      | 'setPermission'
      | 'isFreed'
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
    { description = '', visibility, admin }: Parameters<Accounts['createRepository']>[1],
  ): Promise<Repository> {
    const createdAt = this.#clock.now();
    try {
      await this.#database.transaction(async (sql) => {
        // A repository has a namespace, which cannot be deleted at the same time: its row is locked.
        await sql
          .insertInto('namespaces')
          .values({ name: name.namespace, created_at: createdAt })
          .onConflict((on) => on.column('name').doUpdateSet((row) => ({ kind: row.ref('namespaces.kind') })))
          .execute();
        await sql
          .insertInto('repositories')
          .values({ ...name, description, visibility, created_at: createdAt })
          .execute();
        await sql
          .deleteFrom('freed_repositories')
          .where('namespace', '=', name.namespace)
          .where('name', '=', name.name)
          .execute();
        if (admin !== undefined)
          await sql
            .insertInto('repository_permissions')
            .values({ ...name, username: admin, role: 'admin' })
            .execute();
      });
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
    if (principal.kind !== 'user' || !principal.superuser)
      query = query.where((on) => on.or([on('r.visibility', '=', 'public'), ...seenBy(on, principal)]));
    return (await query.execute()).map(repositoryOf);
  }

  async changeRepository(
    name: RepositoryName,
    change: { description?: string; visibility?: 'public' | 'private' },
  ): Promise<Repository | undefined> {
    const row = await this.#database.sql
      .updateTable('repositories')
      .set({
        ...(change.description === undefined ? {} : { description: change.description }),
        ...(change.visibility === undefined ? {} : { visibility: change.visibility }),
      })
      .where('namespace', '=', name.namespace)
      .where('name', '=', name.name)
      .returningAll()
      .executeTakeFirst();
    return row === undefined ? undefined : repositoryOf(row);
  }

  async deleteRepository(name: RepositoryName): Promise<boolean> {
    return await this.#database.transaction(async (sql) => {
      const { numDeletedRows } = await sql
        .deleteFrom('repositories')
        .where('namespace', '=', name.namespace)
        .where('name', '=', name.name)
        // Whoever takes the name next would have them.
        .where(({ not, exists, selectFrom }) =>
          not(
            exists(
              selectFrom('builds')
                .select('id')
                .where('namespace', '=', name.namespace)
                .where('repository', '=', name.name),
            ),
          ),
        )
        .executeTakeFirst();
      if (numDeletedRows === 0n) return false;
      const freed_at = this.#clock.now();
      await sql
        .insertInto('freed_repositories')
        .values({ ...name, freed_at })
        .onConflict((on) => on.columns(['namespace', 'name']).doUpdateSet({ freed_at }))
        .execute();
      return true;
    });
  }

  async isFreed({ namespace, name }: RepositoryName): Promise<boolean> {
    const row = await this.#database.sql
      .selectFrom('freed_repositories')
      .select('freed_at')
      .where('namespace', '=', namespace)
      .where('name', '=', name)
      .executeTakeFirst();
    return row !== undefined;
  }

  async roleOn(principal: Principal, name: RepositoryName): Promise<Role | undefined> {
    const repository = await this.repository(name);
    const publicRole = repository?.visibility === 'public' ? 'read' : undefined;
    switch (principal.kind) {
      case 'anonymous':
        return publicRole;
      case 'robot':
        return stronger(publicRole, await roleOfRobot(this.#database.sql, principal.name, name));
      case 'user': {
        if (principal.superuser) return 'admin';
        const own = await roleOfUser(this.#database.sql, principal.username, name);
        return stronger(publicRole, weaker(own, roleOfScopes(principal.scopes)));
      }
      default:
        return unreachable(principal);
    }
  }

  async permissions(name: RepositoryName): Promise<readonly Permission[]> {
    const users = await this.#database.sql
      .selectFrom('repository_permissions')
      .select(['username', 'role'])
      .where('namespace', '=', name.namespace)
      .where('name', '=', name.name)
      .orderBy('username')
      .execute();
    const robots = await this.#database.sql
      .selectFrom('robot_permissions')
      .select(['robot as username', 'role'])
      .where('namespace', '=', name.namespace)
      .where('name', '=', name.name)
      .orderBy('robot')
      .execute();
    return [...users, ...robots].flatMap(({ username, role }) => {
      const parsed = parseRole(role);
      return parsed === undefined ? [] : [{ username, isRobot: isRobotName(username), role: parsed }];
    });
  }

  async setPermission(name: RepositoryName, username: string, role: Role | undefined): Promise<boolean> {
    if (isRobotName(username)) return await this.#setRobotPermission(name, username, role);
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

  async #setRobotPermission(name: RepositoryName, robot: string, role: Role | undefined): Promise<boolean> {
    if (role === undefined) {
      const { numDeletedRows } = await this.#database.sql
        .deleteFrom('robot_permissions')
        .where('namespace', '=', name.namespace)
        .where('name', '=', name.name)
        .where('robot', '=', robot)
        .executeTakeFirst();
      return numDeletedRows > 0n;
    }
    try {
      await this.#database.sql
        .insertInto('robot_permissions')
        .values({ ...name, robot, role })
        .onConflict((on) => on.columns(['namespace', 'name', 'robot']).doUpdateSet({ role }))
        .execute();
      return true;
    } catch (thrown) {
      if (thrown instanceof SqlError && thrown.code === 'foreign-key') return false;
      throw thrown;
    }
  }
}

function repositoryOf(row: Row<'repositories'>): Repository {
  return {
    name: { namespace: row.namespace, name: row.name },
    description: row.description,
    visibility: row.visibility === 'public' ? 'public' : 'private',
    createdAt: row.created_at,
  };
}
