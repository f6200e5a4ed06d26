/** How much a namespace gets of what all share. */
export interface NamespaceLimits {
  /**
   * Its share of the turns, relative to other namespaces of the same priority; 1 unless set. From
   * `smallestWeight` to `largestWeight`: turns are numbers that only go up, and have to stay exact.
   */
  readonly weight: number;
  /** Builds that may run at once, over all its repositories; undefined: as many as the repositories allow. */
  readonly maxRunning: number | undefined;
}

export const smallestWeight = 0.001;
export const largestWeight = 1000;
/** Builds of one repository that may run at once, at most: all that wait get their place in one transaction. */
export const largestConcurrency = 1000;
