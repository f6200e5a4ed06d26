import type { Clock } from '../base/clock.ts';
import type { Database, Sql } from '../db/database.ts';
import { KnownNetworks } from './known-networks.ts';
import { nameMark } from './name-mark.ts';
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
  /** Milliseconds in which an address is forgiven one failure: many people may share it, who mistype now and then. */
  readonly forgiveEvery: number;
  /** Names, addresses and pairs of them that are remembered at most, all in all. */
  readonly remembered: number;
}

export const defaultLoginLimits: LoginLimits = {
  perUser: 5,
  perAddress: 30,
  firstLock: 2_000,
  longestLock: 15 * 60_000,
  forgetAfter: 60 * 60_000,
  forgiveEvery: 10 * 60_000,
  remembered: 20_000,
};

/** After so many attempts at this manager it looks whether too much is remembered. */
const sweepEvery = 50;

/** A sign-in that is being looked at. It counts as a failure from its beginning; who does nothing with it leaves it one. */
export interface LoginAttempt {
  /** The password was right. Takes the failure back, and clears what this user failed from this address. */
  succeeded(): Promise<void>;
  /** The password was not looked at. Takes the failure back. */
  withdraw(): Promise<void>;
}

interface Counter {
  readonly key: string;
  readonly kind: 'address' | 'pair' | 'user';
  readonly allowed: number;
}

/** A counter's row as an attempt found it and as it left it. */
interface Counted {
  readonly key: string;
  readonly before: { readonly count: number; readonly last_at: number };
  readonly after: { readonly count: number; readonly last_at: number };
}

/**
 * Slows down guessing of passwords, by user name and by address, for all managers of the database together. A user
 * name is locked for an address only, once the address is known to have failed with it: so nobody can lock another
 * person out from elsewhere. Guessing one name from many addresses is bounded by a lock of the name that needs ten
 * times as many failures, of which one address adds no more than it may fail with; it holds only where the name's user
 * has not signed in from lately.
 *
 * A failure is counted before the password is looked at, together with looking whether there is a lock, and taken back
 * when the password is right: so no burst gets more tries than one after the other. What is remembered is bounded: the one
 * that failed longest ago is forgotten first.
 */
export class LoginLimiter {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #limits: LoginLimits;
  readonly #known: KnownNetworks;
  #attemptsHere = 0;

  constructor(database: Database, clock: Clock, limits: LoginLimits = defaultLoginLimits) {
    this.#database = database;
    this.#clock = clock;
    this.#limits = limits;
    this.#known = new KnownNetworks(database);
  }

  /** The number: milliseconds until these may try again. */
  async begin(username: string, address: string): Promise<LoginAttempt | number> {
    const now = this.#clock.now();
    const counters = this.#countersOf(username, address);
    const isKnown = await this.#known.isKnown(username, address, now);
    const binding = counters.filter(({ kind }) => kind !== 'user' || !isKnown);
    // What is locked is found out without a write, so that a flood costs little.
    const locked = this.#lockOf(binding, await this.#rows(this.#database.sql, counters), now);
    if (locked > 0) return locked;
    const counted = await this.#count(counters, binding, now);
    if (typeof counted === 'number') return counted;
    this.#attemptsHere += 1;
    if (this.#attemptsHere % sweepEvery === 0) await this.#sweep(now);
    const pair = counters.filter(({ kind }) => kind === 'pair').map(({ key }) => key);
    return {
      succeeded: async () => {
        await this.#takeBack(counted, pair);
        if (hasPassword(username)) await this.#known.remember(username, address, now);
      },
      withdraw: async () => await this.#takeBack(counted, []),
    };
  }

  async #count(
    counters: readonly Counter[],
    binding: readonly Counter[],
    now: number,
  ): Promise<readonly Counted[] | number> {
    return await this.#database.transaction(async (sql) => {
      // Holds the rows, always in the same order, so that two of them never wait for each other.
      const rows = await sql
        .insertInto('login_failures')
        .values(counters.map(({ key }) => ({ key, count: 0, last_at: now })))
        .onConflict((on) =>
          on.column('key').doUpdateSet((row) => ({ count: row.ref('login_failures.count') })),
        )
        .returning(['key', 'count', 'last_at'])
        .execute();
      const locked = this.#lockOf(binding, rows, now);
      if (locked > 0) {
        await this.#deleteEmpty(sql, counters);
        return locked;
      }
      const counted = counters.map(({ key, kind }): Counted & { readonly kind: Counter['kind'] } => {
        const row = rows.find((each) => each.key === key) ?? { count: 0, last_at: now };
        const before = kind === 'address' ? this.#forgiven(row, now) : row;
        const forgotten = now - before.last_at > this.#limits.forgetAfter;
        return { key, kind, before, after: { count: forgotten ? 1 : before.count + 1, last_at: now } };
      });
      const ofPair = counted.find(({ kind }) => kind === 'pair')?.after.count ?? 0;
      const kept = counted.filter(({ kind }) => kind !== 'user' || ofPair <= this.#limits.perUser);
      await this.#write(
        sql,
        kept.map(({ key, after }) => ({ key, ...after })),
      );
      await this.#deleteEmpty(sql, counters);
      return kept;
    });
  }

  /** Time that something was forgiven for is not counted again. */
  #forgiven<Row extends { readonly count: number; readonly last_at: number }>(row: Row, now: number): Row {
    const { forgiveEvery } = this.#limits;
    const forgiven = Math.min(row.count, Math.max(0, Math.floor((now - row.last_at) / forgiveEvery)));
    return { ...row, count: row.count - forgiven, last_at: row.last_at + forgiven * forgiveEvery };
  }

  /** What others counted meanwhile stays. */
  async #takeBack(counted: readonly Counted[], cleared: readonly string[]): Promise<void> {
    const counters = counted.map(({ key }) => ({ key }));
    await this.#database.transaction(async (sql) => {
      // In the order of counting.
      for (const { key, before, after } of counted) {
        await sql
          .updateTable('login_failures')
          .set((row) => ({
            count: cleared.includes(key)
              ? 0
              : row
                  .case()
                  .when('count', '>', 0)
                  .then(row('count', '-', 1))
                  .else(0)
                  .end(),
            last_at: row
              .case()
              .when('last_at', '=', after.last_at)
              .then(before.last_at)
              .else(row.ref('last_at'))
              .end(),
          }))
          .where('key', '=', key)
          .execute();
      }
      await this.#deleteEmpty(sql, counters);
    });
  }

  async #write(sql: Sql, rows: readonly { key: string; count: number; last_at: number }[]): Promise<void> {
    await sql
      .insertInto('login_failures')
      .values(rows)
      .onConflict((on) =>
        on.column('key').doUpdateSet((row) => ({
          count: row.ref('excluded.count'),
          last_at: row.ref('excluded.last_at'),
        })),
      )
      .execute();
  }

  async #deleteEmpty(sql: Sql, counters: readonly { readonly key: string }[]): Promise<void> {
    await sql
      .deleteFrom('login_failures')
      .where(
        'key',
        'in',
        counters.map(({ key }) => key),
      )
      .where('count', '=', 0)
      .execute();
  }

  async #rows(sql: Sql, counters: readonly Counter[]) {
    return await sql
      .selectFrom('login_failures')
      .selectAll()
      .where(
        'key',
        'in',
        counters.map(({ key }) => key),
      )
      .execute();
  }

  #lockOf(
    counters: readonly Counter[],
    rows: readonly { key: string; count: number; last_at: number }[],
    now: number,
  ): number {
    const locks = counters.map(({ key, allowed }) => {
      const row = rows.find((each) => each.key === key);
      return row === undefined ? 0 : this.#lockAfter(row.count - allowed) - (now - row.last_at);
    });
    // A manager whose clock is ahead locks nobody for longer than the lock is.
    return Math.min(this.#limits.longestLock, Math.max(0, ...locks));
  }

  async #sweep(now: number): Promise<void> {
    const { forgetAfter, remembered } = this.#limits;
    await this.#database.statement((sql) =>
      sql
        .deleteFrom('login_failures')
        .where('last_at', '<', now - forgetAfter)
        .execute(),
    );
    const tooMany = await this.#database.sql
      .selectFrom('login_failures')
      .select('last_at')
      .orderBy('last_at', 'desc')
      .offset(remembered)
      .limit(1)
      .executeTakeFirst();
    if (tooMany !== undefined)
      await this.#database.statement((sql) =>
        sql.deleteFrom('login_failures').where('last_at', '<=', tooMany.last_at).execute(),
      );
  }

  #lockAfter(over: number): number {
    const { firstLock, longestLock } = this.#limits;
    return over < 0 ? 0 : Math.min(longestLock, firstLock * 2 ** Math.min(over, 30));
  }

  #countersOf(username: string, address: string): readonly Counter[] {
    const { perUser, perAddress } = this.#limits;
    const network = storable(networkOf(address));
    const name = nameMark(username);
    const pair = { kind: 'pair', key: `pair ${network} ${name}`, allowed: perUser } as const;
    // A token that was revoked is tried by programs for ever; it must not keep people from signing in beside them.
    if (!hasPassword(username)) return [pair];
    return [
      { kind: 'address', key: `address ${network}`, allowed: perAddress },
      pair,
      { kind: 'user', key: `user ${name}`, allowed: perUser * 10 },
    ];
  }
}

/** Robots and `$oauthtoken` have tokens, which nobody guesses: a lock of the name would only keep them out. */
function hasPassword(username: string): boolean {
  return !/^\$|\+/.test(username);
}
