import type { Clock } from '../base/clock.ts';
import type { Database, Sql } from '../db/database.ts';
import { SqlError } from '../db/sql-error.ts';
import { isNamespace, type RepositoryName } from '../model/repository-name.ts';
import { AccountError } from './account-error.ts';
import type { Role } from './accounts.ts';
import { lockOrganization, requireAdmin } from './namespace-admins.ts';
import { type NamespaceRole, namespaceRoles } from './organizations.ts';
import { parseRobotName } from './robot-name.ts';
import type { Grant } from './robots.ts';
import { parseRole } from './role.ts';
import { grantOf } from './sql-robots.ts';
import { storable } from './storable.ts';
import type { Page, Team, TeamMember, Teams } from './teams.ts';

/** Teams of one organization at most. */
const mostTeams = 500;

/** Teams in the database; both dialects. */
export class SqlTeams implements Teams {
  readonly #database: Database;
  readonly #clock: Clock;

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  async teams(namespace: string): Promise<readonly Team[]> {
    return await read(this.#database.sql, namespace);
  }

  async team(namespace: string, name: string): Promise<Team | undefined> {
    return (await read(this.#database.sql, namespace, name))[0];
  }

  async set(
    namespace: string,
    name: string,
    { role, description }: { role?: NamespaceRole; description?: string },
  ): Promise<{ team: Team; made: boolean }> {
    if (!isNamespace(name))
      throw new AccountError(
        'bad-name',
        `"${name.slice(0, 255)}" cannot be the name of a team. Use 2 to 255 lower-case letters and digits, parted by single . _ or -.`,
      );
    return await this.#database.transaction(async (sql) => {
      if (!(await lockOrganization(sql, namespace))) throw noOrganization(namespace);
      const [before] = await read(sql, namespace, name);
      if (before === undefined) {
        if ((await read(sql, namespace)).length >= mostTeams)
          throw new AccountError(
            'too-many',
            `${namespace} has ${mostTeams} teams already. Delete one first.`,
          );
        const team = { name, role: role ?? 'member', description: description ?? '' };
        await sql
          .insertInto('teams')
          .values({ namespace, ...team, created_at: this.#clock.now() })
          .execute();
        return { team: { ...team, members: 0, repositories: 0 }, made: true };
      }
      const after = { role: role ?? before.role, description: description ?? before.description };
      await sql
        .updateTable('teams')
        .set(after)
        .where('namespace', '=', namespace)
        .where('name', '=', name)
        .execute();
      if (before.role === 'admin' && after.role !== 'admin') await requireAdmin(sql, namespace);
      return { team: { ...before, ...after }, made: false };
    });
  }

  async delete(namespace: string, name: string): Promise<boolean> {
    return await this.#database.transaction(async (sql) => {
      if (!(await lockOrganization(sql, storable(namespace)))) return false;
      const row = await sql
        .deleteFrom('teams')
        .where('namespace', '=', storable(namespace))
        .where('name', '=', storable(name))
        .returning('role')
        .executeTakeFirst();
      if (row?.role === 'admin') await requireAdmin(sql, namespace);
      return row !== undefined;
    });
  }

  async members(namespace: string, team: string, { limit, after }: Page): Promise<readonly TeamMember[]> {
    const users = this.#database.sql
      .selectFrom('team_members')
      .select('username as name')
      .where('namespace', '=', storable(namespace))
      .where('team', '=', storable(team));
    const robots = this.#database.sql
      .selectFrom('team_robots')
      .select('robot as name')
      .where('namespace', '=', storable(namespace))
      .where('team', '=', storable(team));
    let query = this.#database.sql
      .selectFrom(users.unionAll(robots).as('member'))
      .select('member.name')
      .orderBy('member.name')
      .limit(limit);
    if (after !== undefined) query = query.where('member.name', '>', storable(after));
    return (await query.execute()).map(({ name }) => memberOf(name));
  }

  async addMember(namespace: string, team: string, member: string): Promise<TeamMember> {
    const robot = parseRobotName(member);
    if (robot !== undefined && robot.namespace !== namespace)
      throw new AccountError(
        'unknown',
        `The robot ${member} is not one of ${namespace}. Only an organization's own robots may be in its teams.`,
      );
    const key = { namespace: storable(namespace), team: storable(team) };
    try {
      if (robot === undefined)
        await this.#database.sql
          .insertInto('team_members')
          .values({ ...key, username: storable(member) })
          .onConflict((on) => on.columns(['namespace', 'team', 'username']).doNothing())
          .execute();
      else
        await this.#database.sql
          .insertInto('team_robots')
          .values({ ...key, robot: member })
          .onConflict((on) => on.columns(['namespace', 'team', 'robot']).doNothing())
          .execute();
    } catch (thrown) {
      if (thrown instanceof SqlError && thrown.code === 'foreign-key')
        throw new AccountError(
          'unknown',
          `There is no ${robot === undefined ? 'user' : 'robot'} "${member.slice(0, 511)}", or no team "${team.slice(0, 255)}" in ${namespace}.`,
          thrown,
        );
      throw thrown;
    }
    return memberOf(member);
  }

  async removeMember(namespace: string, team: string, member: string): Promise<boolean> {
    return await this.#database.transaction(async (sql) => {
      if (!(await lockOrganization(sql, storable(namespace)))) return false;
      if (parseRobotName(member) !== undefined) {
        const { numDeletedRows } = await sql
          .deleteFrom('team_robots')
          .where('namespace', '=', storable(namespace))
          .where('team', '=', storable(team))
          .where('robot', '=', member)
          .executeTakeFirst();
        return numDeletedRows > 0n;
      }
      const { numDeletedRows } = await sql
        .deleteFrom('team_members')
        .where('namespace', '=', storable(namespace))
        .where('team', '=', storable(team))
        .where('username', '=', storable(member))
        .executeTakeFirst();
      if (numDeletedRows === 0n) return false;
      await requireAdmin(sql, namespace);
      return true;
    });
  }

  async grants(namespace: string, team: string, { limit, after }: Page): Promise<readonly Grant[]> {
    let query = this.#database.sql
      .selectFrom('team_permissions as p')
      .innerJoin('repositories as r', (on) =>
        on.onRef('r.namespace', '=', 'p.namespace').onRef('r.name', '=', 'p.name'),
      )
      .select(['r.namespace', 'r.name', 'r.visibility', 'p.role'])
      .where('p.namespace', '=', storable(namespace))
      .where('p.team', '=', storable(team))
      .orderBy('p.name')
      .limit(limit);
    if (after !== undefined) query = query.where('p.name', '>', storable(after));
    return (await query.execute()).flatMap(grantOf);
  }

  async permissions({ namespace, name }: RepositoryName): Promise<readonly { team: string; role: Role }[]> {
    const rows = await this.#database.sql
      .selectFrom('team_permissions')
      .select(['team', 'role'])
      .where('namespace', '=', namespace)
      .where('name', '=', name)
      .orderBy('team')
      .execute();
    return rows.flatMap(({ team, role: text }) => {
      const role = parseRole(text);
      return role === undefined ? [] : [{ team, role }];
    });
  }

  async setPermission(repository: RepositoryName, team: string, role: Role | undefined): Promise<boolean> {
    const { namespace, name } = repository;
    if (role === undefined) {
      const { numDeletedRows } = await this.#database.sql
        .deleteFrom('team_permissions')
        .where('namespace', '=', namespace)
        .where('name', '=', name)
        .where('team', '=', storable(team))
        .executeTakeFirst();
      return numDeletedRows > 0n;
    }
    try {
      await this.#database.sql
        .insertInto('team_permissions')
        .values({ namespace, name, team: storable(team), role })
        .onConflict((on) => on.columns(['namespace', 'name', 'team']).doUpdateSet({ role }))
        .execute();
      return true;
    } catch (thrown) {
      if (thrown instanceof SqlError && thrown.code === 'foreign-key') return false;
      throw thrown;
    }
  }
}

async function read(sql: Sql, namespace: string, name?: string): Promise<Team[]> {
  let query = sql
    .selectFrom('teams as t')
    .select((on) => [
      't.name',
      't.role',
      't.description',
      on
        .selectFrom('team_members as m')
        .select((count) => count.fn.countAll<number>().as('n'))
        .whereRef('m.namespace', '=', 't.namespace')
        .whereRef('m.team', '=', 't.name')
        .as('users'),
      on
        .selectFrom('team_robots as b')
        .select((count) => count.fn.countAll<number>().as('n'))
        .whereRef('b.namespace', '=', 't.namespace')
        .whereRef('b.team', '=', 't.name')
        .as('robots'),
      on
        .selectFrom('team_permissions as p')
        .select((count) => count.fn.countAll<number>().as('n'))
        .whereRef('p.namespace', '=', 't.namespace')
        .whereRef('p.team', '=', 't.name')
        .as('repositories'),
    ])
    .where('t.namespace', '=', storable(namespace))
    .orderBy('t.name')
    .limit(mostTeams);
  if (name !== undefined) query = query.where('t.name', '=', storable(name));
  return (await query.execute()).map((row) => ({
    name: row.name,
    role: namespaceRoles.find((role) => role === row.role) ?? 'member',
    description: row.description,
    members: (row.users ?? 0) + (row.robots ?? 0),
    repositories: row.repositories ?? 0,
  }));
}

function memberOf(name: string): TeamMember {
  return { name, isRobot: parseRobotName(name) !== undefined };
}

function noOrganization(namespace: string): AccountError {
  return new AccountError(
    'unknown',
    `There is no organization "${namespace.slice(0, 255)}". Teams are an organization's; make one first.`,
  );
}
