import type { AttemptId } from '../model/ids.ts';

/** Asked where the time of day of this machine would refuse a worker: it may be this one that is wrong. */
export interface AttemptTimes {
  /**
   * The time of day, in milliseconds since 1970, by the clock of the manager that claimed the attempt. Undefined: a worker
   * of this epoch may not act.
   */
  timeOf(id: AttemptId, epoch: number): Promise<number | undefined>;
}
