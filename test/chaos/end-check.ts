import { afterAttempt, type Outcome } from '../../src/model/attempt.ts';
import type { Fault, FaultCode } from '../../src/model/fault.ts';
import type { AttemptFaults, BuildNature } from './schedule.ts';

/** What is known of one attempt when the end of its build is judged. Times are milliseconds since 1970. */
export interface EndedAttempt {
  readonly epoch: number;
  readonly outcome: Outcome | undefined;
  readonly faults: AttemptFaults;
  /** Something that the schedule does to everybody happened while it ran. */
  readonly disturbed: boolean;
}

export interface EndToCheck {
  readonly nature: BuildNature;
  readonly phase: string;
  readonly fault: Fault | undefined;
  /** Somebody asked for it to be cancelled; with success or without. */
  readonly cancel: 'none' | 'asked' | 'granted';
  readonly attempts: readonly EndedAttempt[];
  /** Set when a newer build of the same thing came in its place. */
  readonly superseded?: {
    /** It is of a line, and so is what superseded it. */
    readonly planned: boolean;
    /** Whether a worker of it ever registered. */
    readonly started: boolean;
  };
}

/** Tries that a job has, and attempts that it may have in all. */
const tries = 3;
const mostAttempts = 10;

const byNature = {
  complete: 'complete',
  unpushed: 'complete',
  error: 'error',
  infrastructure: 'internalerror',
} as const satisfies Record<BuildNature, string>;

/** How an attempt may fail that was disturbed, or whose worker was. */
const ofDisturbance: ReadonlySet<FaultCode> = new Set([
  ...(['workerlost', 'workernotstarted', 'workernotregistered', 'managerlost'] as const),
  ...(['pushissue', 'publishissue', 'packagefetch', 'internalerror'] as const),
]);

/**
 * What is wrong with the end of a build (I1): it ends as its nature says, unless it was cancelled, or its attempts show
 * that it used up its tries, each for something that was done to that attempt.
 */
export function faultsOfEnd(end: EndToCheck): string[] {
  const { nature, phase, fault, cancel, attempts, superseded } = end;
  const faults = attempts.flatMap((attempt) => faultsOfAttempt(nature, attempt));
  // A cancel that was granted holds, unless the tags were being written already.
  if (cancel === 'granted' && phase !== 'cancelled' && phase !== 'complete')
    faults.push(`it was cancelled, and ended as ${phase}`);
  if (superseded !== undefined) {
    if (phase !== 'cancelled') faults.push(`it was superseded, and ended as ${phase}`);
    if (!superseded.planned) faults.push('it was superseded, though nothing newer is of the same thing');
    if (superseded.started) faults.push('it was superseded, though it had started');
    return faults;
  }
  if (phase === 'cancelled') {
    if (cancel === 'none') faults.push('nobody cancelled it, and it ended as cancelled');
    return faults;
  }
  if (phase === byNature[nature] && phase !== 'internalerror') return faults;
  if (phase !== 'internalerror' && phase !== 'expired')
    return [...faults, `a build that is to be ${nature} ended as ${phase}`];
  const used = attempts.filter(
    ({ outcome }) => outcome !== undefined && afterAttempt(outcome) === 'retry-try-used',
  );
  const published = fault?.code === 'publishissue' && attempts.some(({ disturbed }) => disturbed);
  if (used.length < tries && attempts.length < mostAttempts && !published)
    faults.push(`it ended as ${phase} after ${used.length} tries of ${tries}`);
  return faults;
}

function faultsOfAttempt(nature: BuildNature, { epoch, outcome, faults, disturbed }: EndedAttempt): string[] {
  if (outcome === undefined) return [`epoch ${epoch} has no outcome`];
  switch (outcome.kind) {
    case 'complete':
      return nature === 'error' || nature === 'infrastructure'
        ? [`epoch ${epoch} of a build that is to be ${nature} is complete`]
        : [];
    case 'cancelled':
      return [];
    case 'error':
      return nature === 'error' && outcome.fault.code === 'builderror'
        ? []
        : [`epoch ${epoch} of a build that is to be ${nature} failed for ${said(outcome.fault)}`];
    case 'internal-error':
    case 'expired': {
      if (nature === 'infrastructure' && outcome.fault.code === 'pushissue') return [];
      const explained = disturbed || isFaulty(faults);
      return explained && ofDisturbance.has(outcome.fault.code)
        ? []
        : [`epoch ${epoch} failed though nothing was done to it: ${said(outcome.fault)}`];
    }
  }
}

function isFaulty({ start, worker, process }: AttemptFaults): boolean {
  return start.kind !== 'fine' || worker.kind !== 'fine' || process.kind !== 'fine';
}

function said({ code, message }: Fault): string {
  return `${code}: ${message}`;
}
