import type { SqlTransaction } from '../db/database.ts';
import type { BuildId } from '../model/ids.ts';
import type { QueueChange, QueueStatements } from './queue-statements.ts';

/** One transaction of the queue, and what its parts share. */
export interface Step {
  readonly sql: SqlTransaction;
  readonly statements: QueueStatements;
  /** Milliseconds since 1970; the same all through the transaction. */
  readonly now: number;
  /** Told to everyone once the transaction is committed. */
  readonly changes: QueueChange[];
  /** An id that was read from the database. */
  buildId(text: string): BuildId;
}
