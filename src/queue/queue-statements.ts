import type { DialectName } from '../db/column-types.ts';
import type { Database, SqlTransaction } from '../db/database.ts';
import type { BuildId } from '../model/ids.ts';
import type { ClaimRequest, RunningAttempt } from './build-queue.ts';

export interface QueueChange {
  readonly kind: 'queued' | 'cancel' | 'finished' | 'ended';
  readonly buildId: BuildId;
}

/**
 * What the two databases do differently. Locks are held to the end of the transaction, and taken in this order, so
 * that no two transactions wait for each other: claims, namespace, build.
 */
export interface QueueStatements {
  /** One transaction: what src/queue/claim.ts does. One claim at a time over all managers, so that the capacity is exact. */
  claim(database: Database, now: number, request: ClaimRequest): Promise<readonly RunningAttempt[]>;
  readonly dialect: DialectName;
  /** Whoever gives or frees places of a namespace's repositories holds this. */
  lockNamespace(sql: SqlTransaction, namespace: string): Promise<void>;
  /** Several, in the one order in which everybody takes several. */
  lockNamespaces(sql: SqlTransaction, namespaces: readonly string[]): Promise<void>;
  /** Whoever changes a build, its jobs or its attempts holds this. */
  lockBuild(sql: SqlTransaction, buildId: string): Promise<void>;
  /** Those of the builds that nobody else holds; never waits. */
  lockFreeBuilds(sql: SqlTransaction, buildIds: readonly string[]): Promise<ReadonlySet<string>>;
  /** Builds that were not published in time, by none of the `living` managers, that nobody else is about to take. */
  lockUnpublished(
    sql: SqlTransaction,
    now: number,
    options: { readonly limit: number; readonly living: readonly string[] },
  ): Promise<readonly string[]>;
}

/** Carries changes of the queue to everyone who waits for them. A hint: it may be lost. */
export interface QueueChanges {
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Called inside the transaction that makes the changes, last. */
  announce(sql: SqlTransaction, changes: readonly QueueChange[]): Promise<void>;
  /** Called once it is committed. */
  committed(changes: readonly QueueChange[]): void;
  listen(wake: (change: QueueChange) => void): () => void;
}
