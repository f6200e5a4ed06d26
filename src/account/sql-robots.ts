import type { Clock } from '../base/clock.ts';
import type { Database, SqlTransaction } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import { SqlError } from '../db/sql-error.ts';
import { isNamespace, parseRepositoryName } from '../model/repository-name.ts';
import { AccountError } from './account-error.ts';
import type { Principal } from './accounts.ts';
import { onDuplicate } from './duplicate.ts';
import { tokenHash } from './personal-token.ts';
import { formatRobotName, parseRobotName, type RobotName } from './robot-name.ts';
import { looksLikeRobotToken, newRobotToken } from './robot-token.ts';
import type { Grant, Robot, RobotReach, Robots, RobotTokenOptions } from './robots.ts';
import { parseRole } from './role.ts';
import { takeTokenTurn } from './token-turns.ts';

/** Robots of one namespace at most. */
const mostRobots = 1_000;
/** How exact `lastUsedAt` is, in milliseconds. */
const useGranularity = 60_000;
/** Repositories of one robot that `reach` names at most. */
const mostReach = 100;

/** Robots in the database; both dialects. */
export class SqlRobots implements Robots {
  readonly #database: Database;
  readonly #clock: Clock;

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  async create(
    name: RobotName,
    { description = '', expiresAt, madeWith }: RobotTokenOptions & { readonly description?: string } = {},
  ): Promise<{ token: string; robot: Robot }> {
    const { namespace, short } = name;
    if (!isNamespace(short))
      throw new AccountError(
        'bad-name',
        `"${short.slice(0, 255)}" cannot be the short name of a robot. Use 2 to 255 lower-case letters and digits, parted by single . _ or -.`,
      );
    const now = this.#clock.now();
    requireFuture(expiresAt, now);
    const token = newRobotToken();
    const row = {
      name: formatRobotName(name),
      namespace,
      description,
      hash: tokenHash(token),
      created_at: now,
      expires_at: expiresAt ?? null,
      last_used_at: null,
      made_with: madeWith ?? null,
    };
    try {
      await this.#database.transaction(async (sql) => {
        await takeTokenTurn(sql, turnOf(namespace), now);
        await this.#requireRoom(sql, namespace);
        await sql.insertInto('robots').values(row).execute();
      });
    } catch (thrown) {
      if (thrown instanceof SqlError && thrown.code === 'foreign-key')
        throw new AccountError('unknown', `There is no namespace "${namespace}".`, thrown);
      throw onDuplicate(thrown, `The robot ${row.name} exists already. Regenerate its token, or delete it.`);
    }
    return { token, robot: robotOf(row) };
  }

  async #requireRoom(sql: SqlTransaction, namespace: string): Promise<void> {
    const { count } = await sql
      .selectFrom('robots')
      .select((on) => on.fn.countAll<number>().as('count'))
      .where('namespace', '=', namespace)
      .executeTakeFirstOrThrow();
    if (count >= mostRobots)
      throw new AccountError(
        'too-many',
        `The namespace ${namespace} has ${mostRobots} robots already. Delete one first.`,
      );
  }

  async robots(
    namespace: string,
    { limit, after }: { limit: number; after?: string },
  ): Promise<readonly Robot[]> {
    let query = this.#database.sql
      .selectFrom('robots')
      .selectAll()
      .where('namespace', '=', namespace)
      .orderBy('name')
      .limit(limit);
    if (after !== undefined) query = query.where('name', '>', after);
    return (await query.execute()).map(robotOf);
  }

  async robot(name: RobotName): Promise<Robot | undefined> {
    const row = await this.#database.sql
      .selectFrom('robots')
      .selectAll()
      .where('name', '=', formatRobotName(name))
      .executeTakeFirst();
    return row === undefined ? undefined : robotOf(row);
  }

  async regenerate(
    name: RobotName,
    { expiresAt, madeWith }: RobotTokenOptions = {},
  ): Promise<{ token: string; robot: Robot } | undefined> {
    const now = this.#clock.now();
    requireFuture(expiresAt, now);
    const token = newRobotToken();
    const row = await this.#database.transaction(async (sql) => {
      await takeTokenTurn(sql, turnOf(name.namespace), now);
      return await sql
        .updateTable('robots')
        .set({
          hash: tokenHash(token),
          expires_at: expiresAt ?? null,
          last_used_at: null,
          made_with: madeWith ?? null,
        })
        .where('name', '=', formatRobotName(name))
        .returningAll()
        .executeTakeFirst();
    });
    return row === undefined ? undefined : { token, robot: robotOf(row) };
  }

  async madeWith(tokenId: string): Promise<readonly Robot[]> {
    const rows = await this.#database.sql
      .selectFrom('robots')
      .selectAll()
      .where('made_with', '=', tokenId)
      .where((on) => on.or([on('expires_at', 'is', null), on('expires_at', '>', this.#clock.now())]))
      .orderBy('name')
      .execute();
    return rows.map(robotOf);
  }

  async delete(name: RobotName): Promise<boolean> {
    const robot = formatRobotName(name);
    return await this.#database.transaction(async (sql) => {
      const { numDeletedRows } = await sql.deleteFrom('robots').where('name', '=', robot).executeTakeFirst();
      // Another robot of this name is not the one that was chosen.
      await sql.updateTable('triggers').set({ pull_robot: null }).where('pull_robot', '=', robot).execute();
      return numDeletedRows > 0n;
    });
  }

  async grants(
    name: RobotName,
    { limit, after }: { limit: number; after?: string },
  ): Promise<readonly Grant[]> {
    let query = this.#database.sql
      .selectFrom('robot_permissions as p')
      .innerJoin('repositories as r', (on) =>
        on.onRef('r.namespace', '=', 'p.namespace').onRef('r.name', '=', 'p.name'),
      )
      .select(['r.namespace', 'r.name', 'r.visibility', 'p.role'])
      .where('p.robot', '=', formatRobotName(name))
      .orderBy('p.namespace')
      .orderBy('p.name')
      .limit(limit);
    const cursor = after === undefined ? undefined : parseRepositoryName(after);
    if (cursor !== undefined)
      query = query.where((on) =>
        on.or([
          on('p.namespace', '>', cursor.namespace),
          on.and([on('p.namespace', '=', cursor.namespace), on('p.name', '>', cursor.name)]),
        ]),
      );
    return (await query.execute()).flatMap(grantOf);
  }

  async reach(names: readonly string[]): Promise<ReadonlyMap<string, RobotReach>> {
    const found = new Map<string, { teams: string[]; repositories: RobotReach['repositories'] }>();
    if (names.length === 0) return found;
    for (const name of names) {
      const robot = parseRobotName(name);
      const grants = robot === undefined ? [] : await this.grants(robot, { limit: mostReach });
      found.set(name, { teams: [], repositories: grants.map(({ repository }) => repository) });
    }
    const teams = await this.#database.sql
      .selectFrom('team_robots')
      .select(['robot', 'team'])
      .where('robot', 'in', [...names])
      .orderBy('team')
      .execute();
    for (const { robot, team } of teams) found.get(robot)?.teams.push(team);
    return found;
  }

  async verify(token: string): Promise<Principal | undefined> {
    if (!looksLikeRobotToken(token)) return undefined;
    const row = await this.#signInAble()
      .select(['robots.name', 'robots.namespace', 'robots.expires_at', 'robots.last_used_at'])
      .where('robots.hash', '=', tokenHash(token))
      .executeTakeFirst();
    const now = this.#clock.now();
    if (row === undefined || (row.expires_at !== null && row.expires_at <= now)) return undefined;
    if (row.last_used_at === null || now - row.last_used_at >= useGranularity)
      await this.#database.sql
        .updateTable('robots')
        .set({ last_used_at: now })
        .where('name', '=', row.name)
        .execute();
    return { kind: 'robot', name: row.name, namespace: row.namespace };
  }

  async isEnabled(name: string): Promise<boolean> {
    const row = await this.#signInAble()
      .select('robots.name')
      .where('robots.name', '=', name)
      .where((on) =>
        on.or([on('robots.expires_at', 'is', null), on('robots.expires_at', '>', this.#clock.now())]),
      )
      .executeTakeFirst();
    return row !== undefined;
  }

  /** Robots whose namespace is nobody's that is disabled. */
  #signInAble() {
    return this.#database.sql
      .selectFrom('robots')
      .leftJoin('users', 'users.username', 'robots.namespace')
      .where((on) => on.or([on('users.disabled', 'is', null), on('users.disabled', '=', 0)]));
  }
}

/** Robots of a namespace make their tokens together, apart from its owner's own. */
function turnOf(namespace: string): string {
  return `${namespace}+`;
}

function requireFuture(expiresAt: number | undefined, now: number): void {
  if (expiresAt !== undefined && expiresAt <= now)
    throw new AccountError('bad-token', 'The expiry of the token has passed already.');
}

export function grantOf(row: {
  namespace: string;
  name: string;
  visibility: string;
  role: string;
}): readonly Grant[] {
  const role = parseRole(row.role);
  if (role === undefined) return [];
  return [
    {
      repository: { namespace: row.namespace, name: row.name },
      visibility: row.visibility === 'public' ? 'public' : 'private',
      role,
    },
  ];
}

function robotOf(row: Omit<Row<'robots'>, 'hash' | 'namespace'>): Robot {
  return {
    name: row.name,
    description: row.description,
    createdAt: row.created_at,
    ...(row.expires_at === null ? {} : { expiresAt: row.expires_at }),
    ...(row.last_used_at === null ? {} : { lastUsedAt: row.last_used_at }),
    ...(row.made_with === null ? {} : { madeWith: row.made_with }),
  };
}
