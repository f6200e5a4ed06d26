import { sql as raw } from 'kysely';
import type { SqlTransaction } from '../db/database.ts';
import { among } from '../db/row-set.ts';
import { claim } from './claim.ts';
import type { QueueChange, QueueChanges, QueueStatements } from './queue-statements.ts';

/** SQLite runs one writing transaction at a time (BEGIN IMMEDIATE), so there is nothing further to lock. */
export const sqliteStatements: QueueStatements = {
  claim: (database, now, request) => database.transaction((sql) => claim(sql, now, request)),
  dialect: 'sqlite',
  lockNamespace: async () => {},
  lockNamespaces: async () => {},
  lockBuild: async () => {},
  lockFreeBuilds: async (_sql, buildIds) => new Set(buildIds),
  async lockUnpublished(sql: SqlTransaction, now, { limit, living }) {
    const rows = await sql
      .selectFrom('builds')
      .select('id')
      .where('publish_until', '<=', now)
      .where(raw<boolean>`not ${among('sqlite', 'publisher', living)}`)
      .orderBy('publish_until')
      .limit(limit)
      .execute();
    return rows.map(({ id }) => id);
  },
};

/** Within this process: with SQLite there is one manager. */
export class LocalChanges implements QueueChanges {
  readonly #listeners = new Set<(change: QueueChange) => void>();

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    this.#listeners.clear();
  }

  async announce(): Promise<void> {}

  committed(changes: readonly QueueChange[]): void {
    if (changes.length === 0 || this.#listeners.size === 0) return;
    // Not from within the caller's own call: a listener may call the queue again.
    queueMicrotask(() => {
      for (const listener of [...this.#listeners]) for (const change of changes) listener(change);
    });
  }

  listen(wake: (change: QueueChange) => void): () => void {
    const listener = (change: QueueChange) => wake(change);
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
