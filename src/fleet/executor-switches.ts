import type { Clock } from '../base/clock.ts';
import type { Database } from '../db/database.ts';

/** `draining` is cordoned by somebody who waits for its workers to be gone. */
export type SwitchPosition = 'cordoned' | 'draining';

/** `changedAt`: milliseconds since 1970. */
export interface ExecutorSwitch {
  readonly position: SwitchPosition;
  readonly changedAt: number;
  readonly changedBy: string;
}

/** Which executors take no new orders, by their names: the same for all managers, and kept. */
export class ExecutorSwitches {
  readonly #database: Database;
  readonly #clock: Clock;

  constructor({ database, clock }: { readonly database: Database; readonly clock: Clock }) {
    this.#database = database;
    this.#clock = clock;
  }

  async all(): Promise<ReadonlyMap<string, ExecutorSwitch>> {
    const rows = await this.#database.sql.selectFrom('executor_states').selectAll().execute();
    return new Map(
      rows.map(({ name, state, changed_at: changedAt, changed_by: changedBy }) => [
        name,
        { position: state === 'draining' ? 'draining' : 'cordoned', changedAt, changedBy },
      ]),
    );
  }

  /** Those that take no new orders. */
  async names(): Promise<ReadonlySet<string>> {
    const rows = await this.#database.sql.selectFrom('executor_states').select('name').execute();
    return new Set(rows.map(({ name }) => name));
  }

  async set(name: string, position: SwitchPosition, by: string): Promise<void> {
    const row = { state: position, changed_at: this.#clock.now(), changed_by: by };
    await this.#database.sql
      .insertInto('executor_states')
      .values({ name, ...row })
      .onConflict((conflict) => conflict.column('name').doUpdateSet(row))
      .execute();
  }

  /** It takes orders again. */
  async clear(name: string): Promise<void> {
    await this.#database.sql.deleteFrom('executor_states').where('name', '=', name).execute();
  }
}
