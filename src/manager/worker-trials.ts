import type { AttemptId } from '../model/ids.ts';

/** Workers that only try out an executor: there is nothing to build, and their attempts are in no queue. */
export interface WorkerTrials {
  /** Its worker registers. False: there is no such trial. */
  register(attemptId: AttemptId): Promise<boolean>;
  /** Whether the worker of this attempt is one, and still needed. */
  runs(attemptId: AttemptId): Promise<boolean>;
}
