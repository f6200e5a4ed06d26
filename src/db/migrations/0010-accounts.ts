import { type Kysely, sql } from 'kysely';
import type { ColumnTypes } from '../column-types.ts';

/**
 * Organizations with teams, robots, and what counts failed sign-ins for all managers. The members a namespace had
 * become teams of it; a user's own namespace needs none, for it is theirs by its name.
 */
export async function accounts(db: Kysely<unknown>, types: ColumnTypes): Promise<void> {
  const { int, text, end } = types;
  const statements = [
    `alter table namespaces add column kind text not null default 'organization'
      check (kind in ('user', 'organization'))`,
    `alter table namespaces add column email text`,
    `update namespaces set kind = 'user' where name in (select username from users)`,
    // A namespace that came to be by a repository in it is nobody's to claim by taking its name.
    `insert into namespaces (name, created_at)
      select namespace, min(created_at) from repositories
      where namespace not in (select name from namespaces) group by namespace`,

    `create table robots (
      name ${text} primary key,
      namespace ${text} not null references namespaces (name) on delete cascade,
      description text not null default '',
      hash text not null unique,
      created_at ${int} not null,
      expires_at ${int},
      last_used_at ${int}
    ) ${end}`,
    `create index robots_of_namespace on robots (namespace, name)`,
    `create table robot_permissions (
      namespace ${text} not null,
      name ${text} not null,
      robot ${text} not null references robots (name) on delete cascade,
      role text not null check (role in ('read', 'write', 'admin')),
      primary key (namespace, name, robot),
      foreign key (namespace, name) references repositories (namespace, name) on delete cascade
    ) ${end}`,
    `create index permissions_of_robot on robot_permissions (robot, namespace, name)`,

    `create table teams (
      namespace ${text} not null references namespaces (name) on delete cascade,
      name ${text} not null,
      role text not null check (role in ('member', 'creator', 'admin')),
      description text not null default '',
      created_at ${int} not null,
      primary key (namespace, name)
    ) ${end}`,
    `create table team_members (
      namespace ${text} not null,
      team ${text} not null,
      username ${text} not null references users (username) on delete cascade,
      primary key (namespace, team, username),
      foreign key (namespace, team) references teams (namespace, name) on delete cascade
    ) ${end}`,
    `create index teams_of_user on team_members (username, namespace, team)`,
    `create table team_robots (
      namespace ${text} not null,
      team ${text} not null,
      robot ${text} not null references robots (name) on delete cascade,
      primary key (namespace, team, robot),
      foreign key (namespace, team) references teams (namespace, name) on delete cascade
    ) ${end}`,
    `create index teams_of_robot on team_robots (robot, namespace, team)`,
    `create table team_permissions (
      namespace ${text} not null,
      name ${text} not null,
      team ${text} not null,
      role text not null check (role in ('read', 'write', 'admin')),
      primary key (namespace, name, team),
      foreign key (namespace, team) references teams (namespace, name) on delete cascade,
      foreign key (namespace, name) references repositories (namespace, name) on delete cascade
    ) ${end}`,
    `create index permissions_of_team on team_permissions (namespace, team, name)`,

    `insert into teams (namespace, name, role, created_at)
      select distinct m.namespace, 'owners', 'admin', n.created_at
      from namespace_members m join namespaces n on n.name = m.namespace
      where m.role = 'admin' and m.namespace <> m.username and n.kind = 'organization'`,
    `insert into team_members (namespace, team, username)
      select m.namespace, 'owners', m.username
      from namespace_members m join namespaces n on n.name = m.namespace
      where m.role = 'admin' and m.namespace <> m.username and n.kind = 'organization'`,
    `drop table namespace_members`,

    `create table login_failures (
      key ${text} primary key,
      count ${int} not null,
      last_at ${int} not null
    ) ${end}`,
    `create index login_failures_by_age on login_failures (last_at)`,
    `create table token_turns (
      owner ${text} primary key,
      since ${int} not null,
      count ${int} not null
    ) ${end}`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}
