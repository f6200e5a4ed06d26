import type { Outcome } from '../model/attempt.ts';
import type { Phase } from '../model/phase.ts';

/** What the manager counts and measures. Times are milliseconds. */
export interface ManagerMetrics {
  /** An executor answered a start. */
  started(executor: string, took: number): void;
  /** No executor started a worker; `code` of its error. */
  startFailed(code: string): void;
  /** Between claim and registration. */
  registered(took: number): void;
  attemptFinished(outcome: Outcome['kind']): void;
  /** Another attempt takes the place of one that failed. */
  retried(): void;
  /** Bytes of log that a worker sent and that are stored. */
  logReceived(bytes: number): void;
  /** Between creation and end. */
  buildFinished(phase: Phase, took: number): void;
  /** Attempts taken over from managers that are gone. */
  adopted(count: number): void;
  /** A worker's call under an epoch that is over. */
  refused(): void;
}

export const noMetrics: ManagerMetrics = {
  started: () => {},
  startFailed: () => {},
  registered: () => {},
  attemptFinished: () => {},
  retried: () => {},
  logReceived: () => {},
  buildFinished: () => {},
  adopted: () => {},
  refused: () => {},
};
