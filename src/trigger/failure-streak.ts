import type { Phase } from '../model/phase.ts';

export interface FailureStreak {
  /** Builds in a row that failed for a reason of their own. */
  readonly failures: number;
  /** Builds in a row that were not carried out for a reason of ours. */
  readonly internalErrors: number;
}

/**
 * Failures in a row, of the ends of a trigger's builds, newest first. A success ends both rows. A build that failed by
 * itself was carried out, so it ends the row of internal errors; an internal error says nothing about the source, so it
 * is passed over in the other row. Cancelled and superseded builds say nothing at all.
 */
export function failureStreak(ends: Iterable<Phase>): FailureStreak {
  let failures = 0;
  let internalErrors = 0;
  for (const phase of ends) {
    if (phase === 'complete') break;
    if (phase === 'error') failures += 1;
    if ((phase === 'internalerror' || phase === 'expired') && failures === 0) internalErrors += 1;
  }
  return { failures, internalErrors };
}
