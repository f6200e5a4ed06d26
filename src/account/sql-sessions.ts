import { randomUUID } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { cutText } from '../base/cut-text.ts';
import type { Database, SqlTransaction } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import { AccountError } from './account-error.ts';
import type { Principal } from './accounts.ts';
import { looksLikeSessionSecret, newSessionSecret, sessionHash } from './session-secret.ts';
import {
  defaultSessionTimes,
  mostSessions,
  type Session,
  type Sessions,
  type SessionTimes,
} from './sessions.ts';
import { asStored, type SuperuserRule } from './sql-personal-tokens.ts';
import { storable } from './storable.ts';

/** A session is used with every request; its row is written seldom. Milliseconds. */
const renewEvery = 5 * 60_000;
/** Sessions that have ended are removed when another one begins, so many at once. */
const sweptAtOnce = 200;
const longestAgent = 500;

/** Sessions in the database, both dialects; every server of it knows all of them. */
export class SqlSessions implements Sessions {
  readonly times: SessionTimes;
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #isSuperuser: SuperuserRule;

  constructor({
    database,
    clock,
    times = defaultSessionTimes,
    isSuperuser = asStored,
  }: {
    readonly database: Database;
    readonly clock: Clock;
    readonly times?: SessionTimes;
    /** Default: as stored. */
    readonly isSuperuser?: SuperuserRule;
  }) {
    this.#database = database;
    this.#clock = clock;
    this.times = times;
    this.#isSuperuser = isSuperuser;
  }

  async open({
    username,
    way,
    address,
    userAgent,
  }: Parameters<Sessions['open']>[0]): Promise<{ secret: string; session: Session }> {
    const now = this.#clock.now();
    const secret = newSessionSecret();
    const expiresAt = now + this.times.lifetime;
    const row: Row<'sessions'> = {
      id: randomUUID(),
      hash: sessionHash(secret),
      username,
      way,
      created_at: now,
      last_used_at: now,
      ends_at: Math.min(now + this.times.idle, expiresAt),
      expires_at: expiresAt,
      address: address ?? null,
      user_agent: userAgent === undefined ? null : cutText(userAgent, longestAgent),
    };
    await this.#database.transaction(async (sql) => {
      if (!(await this.#mayBegin(sql, username)))
        throw new AccountError('unknown', `There is no user "${username.slice(0, 255)}" who may sign in.`);
      await this.#makeRoom(sql, username, now);
      await sql.insertInto('sessions').values(row).execute();
    });
    return { secret, session: sessionOf(row) };
  }

  /** Holds the user's row: who changes the password or switches the user off at this moment comes after, and ends this one. */
  async #mayBegin(sql: SqlTransaction, username: string): Promise<boolean> {
    const found = sql.selectFrom('users').select('disabled').where('username', '=', storable(username));
    const row = await (this.#database.dialect === 'postgres' ? found.forShare() : found).executeTakeFirst();
    return row?.disabled === 0;
  }

  async #makeRoom(sql: SqlTransaction, username: string, now: number): Promise<void> {
    await sql
      .deleteFrom('sessions')
      .where('id', 'in', (from) =>
        from
          .selectFrom('sessions')
          .select('id')
          .where('ends_at', '<=', now)
          .orderBy('ends_at')
          .limit(sweptAtOnce),
      )
      .execute();
    const kept = await sql
      .selectFrom('sessions')
      .select('id')
      .where('username', '=', username)
      .orderBy('created_at', 'desc')
      .orderBy('id')
      .limit(mostSessions - 1)
      .execute();
    if (kept.length < mostSessions - 1) return;
    await sql
      .deleteFrom('sessions')
      .where('username', '=', username)
      .where(
        'id',
        'not in',
        kept.map(({ id }) => id),
      )
      .execute();
  }

  async use(secret: string): Promise<Principal | undefined> {
    if (!looksLikeSessionSecret(secret)) return undefined;
    const row = await this.#database.sql
      .selectFrom('sessions')
      .innerJoin('users', 'users.username', 'sessions.username')
      .select(['sessions.id', 'sessions.username', 'last_used_at', 'ends_at', 'expires_at', 'superuser'])
      .where('hash', '=', sessionHash(secret))
      .where('disabled', '=', 0)
      .executeTakeFirst();
    const now = this.#clock.now();
    if (row === undefined || Math.min(row.ends_at, row.expires_at) <= now) return undefined;
    if (now - row.last_used_at >= Math.min(renewEvery, this.times.idle / 4))
      await this.#database.sql
        .updateTable('sessions')
        .set({ last_used_at: now, ends_at: Math.min(now + this.times.idle, row.expires_at) })
        .where('id', '=', row.id)
        .execute();
    return {
      kind: 'user',
      username: row.username,
      superuser: this.#isSuperuser(row.username, row.superuser === 1),
      scopes: 'all',
      sessionId: row.id,
    };
  }

  async list(username: string): Promise<readonly Session[]> {
    const rows = await this.#database.sql
      .selectFrom('sessions')
      .selectAll()
      .where('username', '=', storable(username))
      .where('ends_at', '>', this.#clock.now())
      .orderBy('created_at', 'desc')
      .orderBy('id')
      .limit(mostSessions)
      .execute();
    return rows.map(sessionOf);
  }

  async end(username: string, id: string): Promise<boolean> {
    const { numDeletedRows } = await this.#database.sql
      .deleteFrom('sessions')
      .where('username', '=', storable(username))
      .where('id', '=', storable(id))
      .executeTakeFirst();
    return numDeletedRows > 0n;
  }

  async endAll(username: string, exceptId = ''): Promise<number> {
    const { numDeletedRows } = await this.#database.sql
      .deleteFrom('sessions')
      .where('username', '=', storable(username))
      .where('id', '<>', exceptId)
      .executeTakeFirst();
    return Number(numDeletedRows);
  }
}

function sessionOf(row: Omit<Row<'sessions'>, 'hash'>): Session {
  return {
    id: row.id,
    username: row.username,
    way: row.way,
    createdAt: row.created_at,
    lastUsedAt: row.last_used_at,
    expiresAt: row.expires_at,
    ...(row.address === null ? {} : { address: row.address }),
    ...(row.user_agent === null ? {} : { userAgent: row.user_agent }),
  };
}
