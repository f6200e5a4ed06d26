import type { AttemptState, Outcome } from './attempt.ts';

/** The phase of a build as users and API clients see it. The strings are part of the API. */
export const phases = [
  'waiting',
  'build-scheduled',
  'unpacking',
  'pulling',
  'building',
  'pushing',
  'complete',
  'error',
  'internalerror',
  'expired',
  'cancelled',
] as const;

export type Phase = (typeof phases)[number];

export const finalPhases: ReadonlySet<Phase> = new Set([
  'complete',
  'error',
  'internalerror',
  'expired',
  'cancelled',
]);

export function isFinal(phase: Phase): boolean {
  return finalPhases.has(phase);
}

/** The phase of a job whose latest attempt is in this state. `done` needs the outcome: see `phaseOfOutcome`. */
export function phaseOfState(state: Exclude<AttemptState, 'done'>): Phase {
  switch (state) {
    case 'queued':
      return 'waiting';
    case 'scheduled':
    case 'registered':
      return 'build-scheduled';
    default:
      return state;
  }
}

/**
 * The phase of a job that will not be tried again. A completed attempt is still `pushing` for its build until the
 * manager has published the tags. Out of tries, the last attempt decides: `expired` when its worker never registered or
 * stopped answering, `internalerror` when it failed for a known reason of ours or the infrastructure's.
 */
export function phaseOfOutcome(outcome: Outcome): Phase {
  switch (outcome.kind) {
    case 'complete':
      return 'pushing';
    case 'error':
      return 'error';
    case 'internal-error':
      return 'internalerror';
    case 'expired':
      return 'expired';
    case 'cancelled':
      return 'cancelled';
  }
}

const order: readonly Phase[] = ['waiting', 'build-scheduled', 'unpacking', 'pulling', 'building', 'pushing'];
const failures: readonly Phase[] = ['cancelled', 'error', 'internalerror', 'expired'];

/** A build's phase from its jobs' phases: a failed job decides, else the job that is furthest behind. */
export function phaseOfJobs(jobs: readonly Phase[]): Phase {
  const failed = failures.find((phase) => jobs.includes(phase));
  if (failed !== undefined) return failed;
  return order.find((phase) => jobs.includes(phase)) ?? 'complete';
}
