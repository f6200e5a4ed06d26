import type { Database, Sql } from '../db/database.ts';
import { networkOf } from './network.ts';
import { storable } from './storable.ts';

/** Milliseconds after which a network is forgotten that its user has not come from. */
const forgottenAfter = 90 * 24 * 3_600_000;
/** How exact the time of the last sign-in is. */
const granularity = 24 * 3_600_000;
const mostOfOneUser = 20;

/** The networks from which users have signed in with their password lately, for all managers of the database. */
export class KnownNetworks {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async isKnown(username: string, address: string, now: number): Promise<boolean> {
    const last = await this.#lastAt(username, address);
    return last !== undefined && now - last < forgottenAfter;
  }

  /** `username` is somebody who has just signed in; whoever was deleted meanwhile is not remembered. */
  async remember(username: string, address: string, now: number): Promise<void> {
    const last = await this.#lastAt(username, address);
    if (last !== undefined && now - last < granularity) return;
    const row = { username: storable(username), network: storable(networkOf(address)), last_at: now };
    await this.#database.transaction(async (sql) => {
      const user = await sql
        .selectFrom('users')
        .select('username')
        .where('username', '=', row.username)
        .executeTakeFirst();
      if (user === undefined) return;
      await sql
        .insertInto('known_networks')
        .values(row)
        .onConflict((on) => on.columns(['username', 'network']).doUpdateSet({ last_at: now }))
        .execute();
      await this.#forget(sql, row.username, now);
    });
  }

  async #forget(sql: Sql, username: string, now: number): Promise<void> {
    const oneTooMany = await sql
      .selectFrom('known_networks')
      .select('last_at')
      .where('username', '=', username)
      .orderBy('last_at', 'desc')
      .offset(mostOfOneUser)
      .limit(1)
      .executeTakeFirst();
    await sql
      .deleteFrom('known_networks')
      .where('username', '=', username)
      .where('last_at', '<=', Math.max(oneTooMany?.last_at ?? 0, now - forgottenAfter))
      .execute();
  }

  async #lastAt(username: string, address: string): Promise<number | undefined> {
    const row = await this.#database.sql
      .selectFrom('known_networks')
      .select('last_at')
      .where('username', '=', storable(username))
      .where('network', '=', storable(networkOf(address)))
      .executeTakeFirst();
    return row?.last_at;
  }
}
