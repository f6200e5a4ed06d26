import { randomBytes, randomInt, randomUUID } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { cutText } from '../base/cut-text.ts';
import type { Database, SqlTransaction } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import { SqlError } from '../db/sql-error.ts';
import { AccountError } from './account-error.ts';
import {
  type ExternalIdentities,
  type ExternalIdentity,
  type ExternalPerson,
  mostIdentities,
} from './external-identities.ts';
import { userNameLike } from './external-name.ts';
import { insertUser } from './insert-user.ts';
import type { PasswordHasher } from './password-hash.ts';
import { storable } from './storable.ts';
import { useOnce } from './use-once.ts';

/** `kim`, `kim-2` … `kim-9`, then with random digits. */
const plainTries = 9;
const tries = 14;
const longestLabel = 255;

/** External identities in the database, both dialects. */
export class SqlExternalIdentities implements ExternalIdentities {
  readonly #database: Database;
  readonly #passwords: Pick<PasswordHasher, 'hash'>;
  readonly #clock: Clock;
  readonly #isReserved: (username: string) => boolean;

  constructor({
    database,
    passwords,
    clock,
    isReserved = () => false,
  }: {
    readonly database: Database;
    readonly passwords: Pick<PasswordHasher, 'hash'>;
    readonly clock: Clock;
    /** Names that mean something before there is a user of that name: nobody gets one by being called so elsewhere. */
    readonly isReserved?: (username: string) => boolean;
  }) {
    this.#database = database;
    this.#passwords = passwords;
    this.#clock = clock;
    this.#isReserved = isReserved;
  }

  async userOf({ issuer, subject, name }: ExternalPerson): Promise<string | undefined> {
    const row = await this.#database.sql
      .updateTable('external_identities')
      .set({ last_used_at: this.#clock.now(), label: labelOf(name) })
      .where('issuer', '=', storable(issuer))
      .where('subject', '=', storable(subject))
      .returning('username')
      .executeTakeFirst();
    return row?.username;
  }

  async createUser(provider: string, person: ExternalPerson): Promise<string> {
    const like = userNameLike(person.name);
    // Nobody knows it; who wants a password has one set.
    const passwordHash = await this.#passwords.hash(randomBytes(32).toString('base64url'));
    const now = this.#clock.now();
    for (let attempt = 1; attempt <= tries; attempt += 1) {
      const username = nameOf(like, attempt);
      if (this.#isReserved(username)) continue;
      try {
        return await this.#database.transaction(async (sql) => {
          await this.#refuseKnown(sql, person);
          await insertUser(sql, { username, passwordHash, email: person.email, now });
          await this.#insert(sql, username, provider, person, now);
          return username;
        });
      } catch (thrown) {
        if (!(thrown instanceof SqlError && thrown.code === 'unique-violation')) throw thrown;
      }
    }
    throw new AccountError('exists', `No name like "${like}" is free. Ask an administrator for an account.`);
  }

  async link(username: string, provider: string, person: ExternalPerson): Promise<void> {
    const now = this.#clock.now();
    try {
      await this.#database.transaction(async (sql) => {
        const owner = await sql
          .selectFrom('external_identities')
          .select('username')
          .where('issuer', '=', storable(person.issuer))
          .where('subject', '=', storable(person.subject))
          .executeTakeFirst();
        if (owner?.username === username) return;
        if (owner !== undefined) throw taken();
        const { count } = await sql
          .selectFrom('external_identities')
          .select((on) => on.fn.countAll<number>().as('count'))
          .where('username', '=', username)
          .executeTakeFirstOrThrow();
        if (count >= mostIdentities)
          throw new AccountError('too-many', `You have ${mostIdentities} logins already. Remove one first.`);
        await this.#insert(sql, username, provider, person, now);
      });
    } catch (thrown) {
      if (thrown instanceof SqlError && thrown.code === 'unique-violation') throw taken(thrown);
      if (thrown instanceof SqlError && thrown.code === 'foreign-key')
        throw new AccountError('unknown', `There is no user "${username}".`, thrown);
      throw thrown;
    }
  }

  async list(username: string): Promise<readonly ExternalIdentity[]> {
    const rows = await this.#database.sql
      .selectFrom('external_identities')
      .selectAll()
      .where('username', '=', storable(username))
      .orderBy('created_at')
      .orderBy('id')
      .limit(mostIdentities)
      .execute();
    return rows.map(identityOf);
  }

  async unlink(username: string, id: string): Promise<boolean> {
    const { numDeletedRows } = await this.#database.sql
      .deleteFrom('external_identities')
      .where('username', '=', storable(username))
      .where('id', '=', storable(id))
      .executeTakeFirst();
    return numDeletedRows > 0n;
  }

  async useLogin(hash: string, forgetAt: number): Promise<boolean> {
    return await useOnce(this.#database, { hash, forgetAt, now: this.#clock.now() });
  }

  /** Somebody who comes twice at the same moment is one user: whoever is second tries again and finds the first. */
  async #refuseKnown(sql: SqlTransaction, { issuer, subject }: ExternalPerson): Promise<void> {
    const known = await sql
      .selectFrom('external_identities')
      .select('id')
      .where('issuer', '=', storable(issuer))
      .where('subject', '=', storable(subject))
      .executeTakeFirst();
    if (known !== undefined) throw taken();
  }

  async #insert(
    sql: SqlTransaction,
    username: string,
    provider: string,
    { issuer, subject, name }: ExternalPerson,
    now: number,
  ): Promise<void> {
    await sql
      .insertInto('external_identities')
      .values({
        id: randomUUID(),
        issuer: storable(issuer),
        subject: storable(subject),
        username,
        provider,
        label: labelOf(name),
        created_at: now,
        last_used_at: now,
      })
      .execute();
  }
}

function nameOf(like: string, attempt: number): string {
  if (attempt === 1) return like;
  return `${like}-${attempt <= plainTries ? attempt : randomInt(1_000, 1_000_000)}`;
}

function labelOf(name: string): string {
  return cutText(name, longestLabel);
}

function taken(cause?: unknown): AccountError {
  return new AccountError(
    'exists',
    'That account belongs to another user here. Sign in as that user, and remove it there first.',
    cause,
  );
}

function identityOf(row: Row<'external_identities'>): ExternalIdentity {
  return {
    id: row.id,
    issuer: row.issuer,
    subject: row.subject,
    username: row.username,
    provider: row.provider,
    label: row.label,
    createdAt: row.created_at,
    ...(row.last_used_at === null ? {} : { lastUsedAt: row.last_used_at }),
  };
}
