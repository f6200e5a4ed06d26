import type { Expression, ExpressionBuilder, SqlBool } from 'kysely';
import type { Sql } from '../db/database.ts';
import type { Schema } from '../db/schema.ts';
import type { RepositoryName } from '../model/repository-name.ts';
import type { Principal, Role } from './accounts.ts';
import { roleOfScopes } from './personal-token.ts';
import { parseRole, stronger } from './role.ts';

/**
 * Where roles on a repository come from. A user: the namespace is theirs; a permission of their own; a permission of a
 * team they are in; a team with the role admin, which administers all repositories of its namespace. A robot: a
 * permission of its own, or of a team it is in. `seenBy` is the same as a condition; the two belong together.
 */
export async function roleOfUser(
  sql: Sql,
  username: string,
  { namespace, name }: RepositoryName,
): Promise<Role | undefined> {
  if (namespace === username) return 'admin';
  const rows = await sql
    .selectFrom('repository_permissions as p')
    .select('p.role')
    .where('p.namespace', '=', namespace)
    .where('p.name', '=', name)
    .where('p.username', '=', username)
    .unionAll(
      sql
        .selectFrom('team_members as m')
        .innerJoin('team_permissions as p', (on) =>
          on.onRef('p.namespace', '=', 'm.namespace').onRef('p.team', '=', 'm.team'),
        )
        .select('p.role')
        .where('m.username', '=', username)
        .where('m.namespace', '=', namespace)
        .where('p.name', '=', name),
    )
    .unionAll(
      sql
        .selectFrom('team_members as m')
        .innerJoin('teams as t', (on) =>
          on.onRef('t.namespace', '=', 'm.namespace').onRef('t.name', '=', 'm.team'),
        )
        .select('t.role')
        .where('m.username', '=', username)
        .where('m.namespace', '=', namespace)
        .where('t.role', '=', 'admin'),
    )
    .execute();
  return strongest(rows);
}

export async function roleOfRobot(
  sql: Sql,
  robot: string,
  { namespace, name }: RepositoryName,
): Promise<Role | undefined> {
  const rows = await sql
    .selectFrom('robot_permissions as p')
    .select('p.role')
    .where('p.namespace', '=', namespace)
    .where('p.name', '=', name)
    .where('p.robot', '=', robot)
    .unionAll(
      sql
        .selectFrom('team_robots as m')
        .innerJoin('team_permissions as p', (on) =>
          on.onRef('p.namespace', '=', 'm.namespace').onRef('p.team', '=', 'm.team'),
        )
        .select('p.role')
        .where('m.robot', '=', robot)
        .where('m.namespace', '=', namespace)
        .where('p.name', '=', name),
    )
    .execute();
  return strongest(rows);
}

function strongest(rows: readonly { readonly role: string }[]): Role | undefined {
  return rows.map(({ role }) => parseRole(role)).reduce(stronger, undefined);
}

type Builder = ExpressionBuilder<Schema & { r: Schema['repositories'] }, 'r'>;

/** Any of these: somebody has a role on the repository `r`, besides its being public. */
export function seenBy(on: Builder, principal: Principal): readonly Expression<SqlBool>[] {
  if (principal.kind === 'anonymous') return [];
  if (principal.kind === 'robot') return seenByRobot(on, principal.name);
  return roleOfScopes(principal.scopes) === undefined ? [] : seenByUser(on, principal.username);
}

function seenByUser(on: Builder, username: string): readonly Expression<SqlBool>[] {
  return [
    on('r.namespace', '=', username),
    on.exists(
      on
        .selectFrom('repository_permissions as p')
        .select('p.role')
        .whereRef('p.namespace', '=', 'r.namespace')
        .whereRef('p.name', '=', 'r.name')
        .where('p.username', '=', username),
    ),
    on.exists(
      on
        .selectFrom('team_members as m')
        .innerJoin('teams as t', (join) =>
          join.onRef('t.namespace', '=', 'm.namespace').onRef('t.name', '=', 'm.team'),
        )
        .select('t.role')
        .where('m.username', '=', username)
        .whereRef('m.namespace', '=', 'r.namespace')
        .where('t.role', '=', 'admin'),
    ),
    on.exists(
      on
        .selectFrom('team_members as m')
        .innerJoin('team_permissions as p', (join) =>
          join.onRef('p.namespace', '=', 'm.namespace').onRef('p.team', '=', 'm.team'),
        )
        .select('p.role')
        .where('m.username', '=', username)
        .whereRef('p.namespace', '=', 'r.namespace')
        .whereRef('p.name', '=', 'r.name'),
    ),
  ];
}

function seenByRobot(on: Builder, robot: string): readonly Expression<SqlBool>[] {
  return [
    on.exists(
      on
        .selectFrom('robot_permissions as p')
        .select('p.role')
        .whereRef('p.namespace', '=', 'r.namespace')
        .whereRef('p.name', '=', 'r.name')
        .where('p.robot', '=', robot),
    ),
    on.exists(
      on
        .selectFrom('team_robots as m')
        .innerJoin('team_permissions as p', (join) =>
          join.onRef('p.namespace', '=', 'm.namespace').onRef('p.team', '=', 'm.team'),
        )
        .select('p.role')
        .where('m.robot', '=', robot)
        .whereRef('p.namespace', '=', 'r.namespace')
        .whereRef('p.name', '=', 'r.name'),
    ),
  ];
}
