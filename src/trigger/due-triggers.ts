import { sql } from 'kysely';
import type { Database } from '../db/database.ts';
import type { Trigger, TriggerId } from './trigger.ts';
import { triggerOf } from './trigger-rows.ts';

/** Triggers whose cron entries or next look at the source are due: columns of `triggers` that any manager may take. */
export class DueTriggers {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Left in place: see `moveCron`. */
  async byCron(
    now: number,
    limit: number,
  ): Promise<readonly { readonly trigger: Trigger; readonly cronAt: number }[]> {
    const rows = await this.#database.sql
      .selectFrom('triggers')
      .selectAll()
      .where('cron_at', '<=', now)
      .where('active', '=', 1)
      .where('enabled', '=', 1)
      .orderBy('cron_at')
      .limit(limit)
      .execute();
    return rows.flatMap((row) =>
      row.cron_at === null ? [] : [{ trigger: triggerOf(row), cronAt: row.cron_at }],
    );
  }

  /** Unless somebody else has moved it. */
  async moveCron(id: TriggerId, from: number, to: number | undefined): Promise<void> {
    await this.#database.sql
      .updateTable('triggers')
      .set({ cron_at: to ?? null })
      .where('id', '=', id)
      .where('cron_at', '=', from)
      .execute();
  }

  /** Takes triggers to look at: until `until` nobody else does. */
  async takePolls(now: number, until: number, limit: number): Promise<readonly TriggerId[]> {
    const lock = this.#database.dialect === 'postgres' ? sql`for update skip locked` : sql``;
    const { rows } = await this.#database.statement(
      async (db) =>
        await sql<{ id: TriggerId }>`
          update triggers set poll_at = ${until} where id in (
            select id from triggers where poll_at <= ${now} and active = 1 and enabled = 1
            order by poll_at limit ${limit} ${lock})
          returning id
        `.execute(db),
    );
    return rows.map(({ id }) => id);
  }

  async looked(id: TriggerId, next: number, failed: boolean): Promise<void> {
    await this.#database.sql
      .updateTable('triggers')
      .set({ poll_at: next, poll_failures: failed ? sql<number>`poll_failures + 1` : 0 })
      .where('id', '=', id)
      .where('poll_at', 'is not', null)
      .execute();
  }

  /** Looks in a row that failed. */
  async pollFailures(id: TriggerId): Promise<number> {
    const row = await this.#database.sql
      .selectFrom('triggers')
      .select('poll_failures')
      .where('id', '=', id)
      .executeTakeFirst();
    return row?.poll_failures ?? 0;
  }
}
