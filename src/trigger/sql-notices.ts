import { randomUUID } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import type { Database, Sql } from '../db/database.ts';
import type { RepositoryName } from '../model/repository-name.ts';
import type { Notice, Notices } from './notices.ts';
import type { Trigger } from './trigger.ts';
import { triggerIdOf } from './trigger-rows.ts';

export class SqlNotices implements Notices {
  readonly #database: Database;
  readonly #clock: Clock;

  constructor({ database, clock }: { readonly database: Database; readonly clock: Clock }) {
    this.#database = database;
    this.#clock = clock;
  }

  async list({ namespace, name }: RepositoryName, limit: number): Promise<readonly Notice[]> {
    const rows = await this.#database.sql
      .selectFrom('notices')
      .selectAll()
      .where('namespace', '=', namespace)
      .where('repository', '=', name)
      .where('dismissed_at', 'is', null)
      .orderBy('number', 'desc')
      .limit(limit)
      .execute();
    return rows.map((row) => ({
      id: row.id,
      repository: { namespace: row.namespace, name: row.repository },
      ...(row.trigger_id === null ? {} : { triggerId: triggerIdOf(row.trigger_id) }),
      kind: 'trigger-disabled',
      message: row.message,
      createdAt: row.created_at,
    }));
  }

  async dismiss({ namespace, name }: RepositoryName, id: string, by: string): Promise<boolean> {
    const { numUpdatedRows } = await this.#database.sql
      .updateTable('notices')
      .set({ dismissed_at: this.#clock.now(), dismissed_by: by })
      .where('id', '=', id)
      .where('namespace', '=', namespace)
      .where('repository', '=', name)
      .where('dismissed_at', 'is', null)
      .executeTakeFirst();
    return numUpdatedRows > 0n;
  }

  /** In the transaction that switches the trigger off. */
  async add(sql: Sql, { id, repository: { namespace, name } }: Trigger, message: string): Promise<void> {
    await sql
      .insertInto('notices')
      .values({
        id: randomUUID(),
        namespace,
        repository: name,
        trigger_id: id,
        kind: 'trigger-disabled',
        message,
        created_at: this.#clock.now(),
      })
      .execute();
  }

  /** The trigger is on again: what was said about it is of the past. */
  async clear(id: Trigger['id'], by: string): Promise<void> {
    await this.#database.sql
      .updateTable('notices')
      .set({ dismissed_at: this.#clock.now(), dismissed_by: by })
      .where('trigger_id', '=', id)
      .where('dismissed_at', 'is', null)
      .execute();
  }
}
