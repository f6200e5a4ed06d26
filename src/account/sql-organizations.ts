import type { Clock } from '../base/clock.ts';
import type { Database } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import { SqlError } from '../db/sql-error.ts';
import { isNamespace } from '../model/repository-name.ts';
import { AccountError } from './account-error.ts';
import { onDuplicate } from './duplicate.ts';
import { lockOrganization, requireAdmin } from './namespace-admins.ts';
import {
  type NamespaceKind,
  type NamespaceRole,
  namespaceRoles,
  type Organization,
  type OrganizationMember,
  type Organizations,
} from './organizations.ts';
import { storable } from './storable.ts';

const firstTeam = 'owners';

/** Organizations in the database; both dialects. */
export class SqlOrganizations implements Organizations {
  readonly #database: Database;
  readonly #clock: Clock;

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  async create({
    name,
    email,
    owner,
  }: {
    name: string;
    email?: string;
    owner: string;
  }): Promise<Organization> {
    if (!isNamespace(name))
      throw new AccountError(
        'bad-name',
        `"${name.slice(0, 255)}" cannot be the name of an organization. Use 2 to 255 lower-case letters and digits, parted by single . _ or -.`,
      );
    const now = this.#clock.now();
    try {
      await this.#database.transaction(async (sql) => {
        await sql
          .insertInto('namespaces')
          .values({ name, kind: 'organization', email: email ?? null, created_at: now })
          .execute();
        const team = { namespace: name, name: firstTeam, role: 'admin', created_at: now };
        await sql.insertInto('teams').values(team).execute();
        await sql
          .insertInto('team_members')
          .values({ namespace: name, team: firstTeam, username: owner })
          .execute();
      });
    } catch (thrown) {
      if (thrown instanceof SqlError && thrown.code === 'foreign-key')
        throw new AccountError('unknown', `There is no user "${owner.slice(0, 255)}".`, thrown);
      throw onDuplicate(thrown, `The name "${name}" is taken. Choose another one.`);
    }
    return { name, createdAt: now, ...(email === undefined ? {} : { email }) };
  }

  async organization(name: string): Promise<Organization | undefined> {
    const row = await this.#database.sql
      .selectFrom('namespaces')
      .select(['name', 'email', 'created_at'])
      .where('name', '=', storable(name))
      .where('kind', '=', 'organization')
      .executeTakeFirst();
    return row === undefined ? undefined : organizationOf(row);
  }

  async organizations({
    limit,
    after,
    member,
  }: {
    limit: number;
    after?: string;
    member?: string;
  }): Promise<readonly Organization[]> {
    let query = this.#database.sql
      .selectFrom('namespaces as n')
      .select(['n.name', 'n.email', 'n.created_at'])
      .where('n.kind', '=', 'organization')
      .orderBy('n.name')
      .limit(limit);
    if (after !== undefined) query = query.where('n.name', '>', storable(after));
    if (member !== undefined)
      query = query.where((on) =>
        on.exists(
          on
            .selectFrom('team_members as m')
            .select('m.username')
            .whereRef('m.namespace', '=', 'n.name')
            .where('m.username', '=', member),
        ),
      );
    return (await query.execute()).map(organizationOf);
  }

  async delete(name: string): Promise<boolean> {
    return await this.#database.transaction(async (sql) => {
      if (!(await lockOrganization(sql, storable(name)))) return false;
      const repository = await sql
        .selectFrom('repositories')
        .select('name')
        .where('namespace', '=', storable(name))
        .limit(1)
        .executeTakeFirst();
      if (repository !== undefined)
        throw new AccountError(
          'not-empty',
          `${name} has repositories, ${name}/${repository.name} for one. Delete them first.`,
        );
      const { numDeletedRows } = await sql
        .deleteFrom('namespaces')
        .where('name', '=', storable(name))
        .where('kind', '=', 'organization')
        .executeTakeFirst();
      return numDeletedRows > 0n;
    });
  }

  async kindOf(name: string): Promise<NamespaceKind | undefined> {
    const row = await this.#database.sql
      .selectFrom('namespaces')
      .select('kind')
      .where('name', '=', storable(name))
      .executeTakeFirst();
    if (row === undefined) return undefined;
    return row.kind === 'user' ? 'user' : 'organization';
  }

  async namespaceSince(name: string): Promise<number | undefined> {
    const row = await this.#database.sql
      .selectFrom('namespaces')
      .select('created_at')
      .where('name', '=', storable(name))
      .executeTakeFirst();
    return row?.created_at;
  }

  async roleIn(username: string, namespace: string): Promise<NamespaceRole | undefined> {
    if (username === namespace) return 'admin';
    const rows = await this.#database.sql
      .selectFrom('team_members as m')
      .innerJoin('teams as t', (on) =>
        on.onRef('t.namespace', '=', 'm.namespace').onRef('t.name', '=', 'm.team'),
      )
      .select('t.role')
      .distinct()
      .where('m.username', '=', username)
      .where('m.namespace', '=', storable(namespace))
      .execute();
    const roles = new Set(rows.map(({ role }) => role));
    return [...namespaceRoles].reverse().find((role) => roles.has(role));
  }

  async members(
    namespace: string,
    { limit, after }: { limit: number; after?: string },
  ): Promise<readonly OrganizationMember[]> {
    let names = this.#database.sql
      .selectFrom('team_members')
      .select('username')
      .distinct()
      .where('namespace', '=', storable(namespace))
      .orderBy('username')
      .limit(limit);
    if (after !== undefined) names = names.where('username', '>', storable(after));
    const usernames = (await names.execute()).map(({ username }) => username);
    if (usernames.length === 0) return [];
    const rows = await this.#database.sql
      .selectFrom('team_members')
      .select(['username', 'team'])
      .where('namespace', '=', storable(namespace))
      .where('username', 'in', usernames)
      .orderBy('username')
      .orderBy('team')
      .execute();
    return usernames.map((username) => ({
      username,
      teams: rows.filter((row) => row.username === username).map(({ team }) => team),
    }));
  }

  async removeMember(namespace: string, username: string): Promise<boolean> {
    return await this.#database.transaction(async (sql) => {
      if (!(await lockOrganization(sql, storable(namespace)))) return false;
      const { numDeletedRows } = await sql
        .deleteFrom('team_members')
        .where('namespace', '=', storable(namespace))
        .where('username', '=', storable(username))
        .executeTakeFirst();
      if (numDeletedRows === 0n) return false;
      await requireAdmin(sql, namespace);
      return true;
    });
  }
}

function organizationOf(row: Pick<Row<'namespaces'>, 'name' | 'email' | 'created_at'>): Organization {
  return {
    name: row.name,
    createdAt: row.created_at,
    ...(row.email === null ? {} : { email: row.email }),
  };
}
