import type { Outcome } from '../model/attempt.ts';
import type { Phase } from '../model/phase.ts';
import type { Refusal } from './worker-sessions.ts';

/** What the manager counts and measures. Times are milliseconds, executors go by their names. */
export interface ManagerMetrics {
  /** The queue was asked for attempts to run, and gave so many. */
  claimed(count: number): void;
  /** An executor started a worker. */
  started(executor: string, took: number): void;
  /** No executor started a worker; `code` of its error. */
  startFailed(code: string): void;
  /** `took`: between claim and registration; `waited`: from its place in the queue to the claim. */
  registered(executor: string, times: { readonly took: number; readonly waited: number }): void;
  /** Between claim and end. */
  attemptFinished(executor: string, outcome: Outcome['kind'], took: number): void;
  /** Another attempt takes the place of one that failed. */
  retried(executor: string): void;
  /** Bytes of log that a worker sent and that are stored. */
  logReceived(bytes: number): void;
  /** Between creation and end. */
  buildFinished(phase: Phase, took: number): void;
  /** The tags of an image could not be written; it may be tried again. */
  publishFailed(): void;
  /** Attempts taken over from managers that are gone. */
  adopted(count: number): void;
  /** A worker's call that its attempt may not make any more. */
  refused(reason: Refusal): void;
}

/** The executor of an attempt that was given to none yet. */
export const noExecutor = 'none';

export const noMetrics: ManagerMetrics = {
  claimed: () => {},
  started: () => {},
  startFailed: () => {},
  registered: () => {},
  attemptFinished: () => {},
  retried: () => {},
  logReceived: () => {},
  buildFinished: () => {},
  publishFailed: () => {},
  adopted: () => {},
  refused: () => {},
};
