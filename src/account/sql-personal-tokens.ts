import { randomUUID } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import type { Database } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import { SqlError } from '../db/sql-error.ts';
import { AccountError } from './account-error.ts';
import type { Accounts, PersonalToken, Principal, TokenScope } from './accounts.ts';
import { looksLikeToken, newTokenText, tokenHash, tokenScopes } from './personal-token.ts';
import { storable } from './storable.ts';
import { takeTokenTurn } from './token-turns.ts';

const mostTokens = 200;
/** How exact `lastUsedAt` is, in milliseconds: a token is used often, its row is written seldom. */
const useGranularity = 60_000;

/** Whether a user is a superuser now, given what is stored: the configuration may name others, or nobody. */
export type SuperuserRule = (username: string, stored: boolean) => boolean;

export const asStored: SuperuserRule = (_username, stored) => stored;

/** People's tokens in the database; the part of Accounts that is about them. */
export class SqlPersonalTokens
  implements Pick<Accounts, 'verifyToken' | 'createToken' | 'tokens' | 'revokeToken'>
{
  readonly #database: Database;
  readonly #clock: Clock;

  readonly #isSuperuser: SuperuserRule;

  constructor(database: Database, clock: Clock, isSuperuser: SuperuserRule) {
    this.#database = database;
    this.#clock = clock;
    this.#isSuperuser = isSuperuser;
  }

  async verifyToken(token: string): Promise<Principal | undefined> {
    if (!looksLikeToken(token)) return undefined;
    const row = await this.#database.sql
      .selectFrom('tokens')
      .innerJoin('users', 'users.username', 'tokens.username')
      .select(['tokens.id', 'tokens.username', 'scopes_json', 'expires_at', 'last_used_at', 'superuser'])
      .where('hash', '=', tokenHash(token))
      .where('disabled', '=', 0)
      .executeTakeFirst();
    const now = this.#clock.now();
    if (row === undefined || (row.expires_at !== null && row.expires_at <= now)) return undefined;
    if (row.last_used_at === null || now - row.last_used_at >= useGranularity)
      await this.#database.sql
        .updateTable('tokens')
        .set({ last_used_at: now })
        .where('id', '=', row.id)
        .execute();
    const scopes = parseScopes(row.scopes_json);
    return {
      kind: 'user',
      username: row.username,
      superuser: scopes.includes('super:user') && this.#isSuperuser(row.username, row.superuser === 1),
      scopes,
      tokenId: row.id,
      ...(row.expires_at === null ? {} : { tokenExpiresAt: row.expires_at }),
    };
  }

  async createToken(
    username: string,
    { name, scopes, expiresAt, madeWith }: Parameters<Accounts['createToken']>[1],
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
      made_with: madeWith ?? null,
    };
    try {
      await this.#database.transaction(async (sql) => {
        await takeTokenTurn(sql, username, now);
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
    const rows = await this.#database.sql
      .selectFrom('tokens')
      .selectAll()
      .where('username', '=', username)
      .orderBy('created_at')
      .orderBy('id')
      .execute();
    return rows.map(tokenOf);
  }

  async revokeToken(username: string, id: string): Promise<boolean> {
    const { numDeletedRows } = await this.#database.sql
      .deleteFrom('tokens')
      .where('username', '=', username)
      .where('id', '=', storable(id))
      .executeTakeFirst();
    return numDeletedRows > 0n;
  }
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
    ...(row.made_with === null ? {} : { madeWith: row.made_with }),
  };
}
