import type { Clock } from '../base/clock.ts';
import type { Database } from '../db/database.ts';
import type { AttemptId } from '../model/ids.ts';

/** Milliseconds after which a trial is over whatever happened to whoever began it. */
const longest = 30 * 60_000;

/**
 * Workers that try out an executor: their attempts are in no queue. Any manager may be the one that such a worker
 * registers with, so all of them know.
 */
export class WorkerTrials {
  readonly #database: Database;
  readonly #clock: Clock;

  constructor({ database, clock }: { readonly database: Database; readonly clock: Clock }) {
    this.#database = database;
    this.#clock = clock;
  }

  async begin(attemptId: AttemptId): Promise<void> {
    const now = this.#clock.now();
    const { sql } = this.#database;
    // Of those who died over it.
    await sql
      .deleteFrom('worker_trials')
      .where('begun_at', '<', now - longest)
      .execute();
    await sql
      .insertInto('worker_trials')
      .values({ attempt_id: attemptId, begun_at: now, registered_at: null })
      .execute();
  }

  /** Its worker registers. False: there is no such trial. */
  async register(attemptId: AttemptId): Promise<boolean> {
    const { numUpdatedRows } = await this.#database.sql
      .updateTable('worker_trials')
      .set({ registered_at: this.#clock.now() })
      .where('attempt_id', '=', attemptId)
      .executeTakeFirst();
    return numUpdatedRows > 0n;
  }

  async registered(attemptId: AttemptId): Promise<boolean> {
    return typeof (await this.#row(attemptId))?.registered_at === 'number';
  }

  /** Whether the worker of this attempt is one, and still needed. */
  async runs(attemptId: AttemptId): Promise<boolean> {
    const row = await this.#row(attemptId);
    return row !== undefined && row.begun_at >= this.#clock.now() - longest;
  }

  async end(attemptId: AttemptId): Promise<void> {
    await this.#database.sql.deleteFrom('worker_trials').where('attempt_id', '=', attemptId).execute();
  }

  async #row(attemptId: AttemptId) {
    return await this.#database.sql
      .selectFrom('worker_trials')
      .select(['begun_at', 'registered_at'])
      .where('attempt_id', '=', attemptId)
      .executeTakeFirst();
  }
}
