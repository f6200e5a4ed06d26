import { sql as text } from 'kysely';
import type { Clock } from '../base/clock.ts';
import type { Database } from '../db/database.ts';
import { networkOf } from './network.ts';
import { storable } from './storable.ts';

export interface LoginLimits {
  /** Failures of one user name before it is locked out. */
  readonly perUser: number;
  /** Failures from one address before it is locked out. */
  readonly perAddress: number;
  /** The first lock-out in milliseconds; it doubles with every further failure. */
  readonly firstLock: number;
  readonly longestLock: number;
  /** Milliseconds without a failure after which everything is forgotten. */
  readonly forgetAfter: number;
  /** Names, addresses and pairs of them that are remembered at most, all in all. */
  readonly remembered: number;
}

export const defaultLoginLimits: LoginLimits = {
  perUser: 5,
  perAddress: 30,
  firstLock: 2_000,
  longestLock: 15 * 60_000,
  forgetAfter: 60 * 60_000,
  remembered: 20_000,
};

/** After so many failures at this manager it looks whether too much is remembered. */
const sweepEvery = 50;

/**
 * Slows down guessing of passwords, by user name and by address, for all managers of the database together. A user
 * name is locked for an address only, once the address is known to have failed with it: so nobody can lock another
 * person out from elsewhere; guessing one name from many addresses is bounded by a lock of the name that needs ten
 * times as many failures. Only failures write, and a success that has failures to clear; what is remembered is bounded:
 * the one that failed longest ago is forgotten first.
 */
export class LoginLimiter {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #limits: LoginLimits;
  #failuresHere = 0;

  constructor(database: Database, clock: Clock, limits: LoginLimits = defaultLoginLimits) {
    this.#database = database;
    this.#clock = clock;
    this.#limits = limits;
  }

  /** Milliseconds until these may try again; 0 when they may now. */
  async lockedFor(username: string, address: string): Promise<number> {
    const now = this.#clock.now();
    const keys = this.#keys(username, address);
    const rows = await this.#database.sql
      .selectFrom('login_failures')
      .selectAll()
      .where(
        'key',
        'in',
        keys.map(({ key }) => key),
      )
      .execute();
    const locks = rows.map(({ key, count, last_at }) => {
      const allowed = keys.find((each) => each.key === key)?.allowed ?? Number.POSITIVE_INFINITY;
      return this.#lockAfter(count - allowed) - (now - last_at);
    });
    // A manager whose clock is ahead locks nobody for longer than the lock is.
    return Math.min(this.#limits.longestLock, Math.max(0, ...locks));
  }

  async failed(username: string, address: string): Promise<void> {
    const now = this.#clock.now();
    const forgotten = text<boolean>`excluded.last_at - login_failures.last_at > ${this.#limits.forgetAfter}`;
    await this.#database.statement((sql) =>
      sql
        .insertInto('login_failures')
        // Always in the same order, so that two of them never wait for each other.
        .values(this.#keys(username, address).map(({ key }) => ({ key, count: 1, last_at: now })))
        .onConflict((on) =>
          on.column('key').doUpdateSet({
            count: text<number>`case when ${forgotten} then 1 else login_failures.count + 1 end`,
            last_at: text<number>`excluded.last_at`,
          }),
        )
        .execute(),
    );
    this.#failuresHere += 1;
    if (this.#failuresHere % sweepEvery === 0) await this.#sweep(now);
  }

  /** A right password clears what this user failed from this address, but not the address's other failures. */
  async succeeded(username: string, address: string): Promise<void> {
    const key = pairKey(username, address);
    const { sql } = this.#database;
    const known = await sql
      .selectFrom('login_failures')
      .select('key')
      .where('key', '=', key)
      .executeTakeFirst();
    if (known !== undefined) await sql.deleteFrom('login_failures').where('key', '=', key).execute();
  }

  async #sweep(now: number): Promise<void> {
    const { sql } = this.#database;
    const { forgetAfter, remembered } = this.#limits;
    await sql
      .deleteFrom('login_failures')
      .where('last_at', '<', now - forgetAfter)
      .execute();
    const tooMany = await sql
      .selectFrom('login_failures')
      .select('last_at')
      .orderBy('last_at', 'desc')
      .offset(remembered)
      .limit(1)
      .executeTakeFirst();
    if (tooMany !== undefined)
      await sql.deleteFrom('login_failures').where('last_at', '<=', tooMany.last_at).execute();
  }

  #lockAfter(over: number): number {
    const { firstLock, longestLock } = this.#limits;
    return over < 0 ? 0 : Math.min(longestLock, firstLock * 2 ** Math.min(over, 30));
  }

  #keys(username: string, address: string): readonly { key: string; allowed: number }[] {
    const { perUser, perAddress } = this.#limits;
    return [
      { key: `address ${storable(networkOf(address))}`, allowed: perAddress },
      { key: pairKey(username, address), allowed: perUser },
      ...(hasPassword(username) ? [{ key: `user ${nameOf(username)}`, allowed: perUser * 10 }] : []),
    ];
  }
}

/** Robots and `$oauthtoken` have tokens, which nobody guesses: a lock of the name would only keep them out. */
function hasPassword(username: string): boolean {
  return !/^\$|\+/.test(username);
}

function pairKey(username: string, address: string): string {
  return `pair ${storable(networkOf(address))} ${nameOf(username)}`;
}

/** What was typed may be anything; so much of it is told apart. */
function nameOf(username: string): string {
  return storable(username.slice(0, 511));
}
