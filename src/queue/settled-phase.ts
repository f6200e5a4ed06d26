import { unreachable } from '../base/unreachable.ts';
import { type Fault, type FaultOwner, ownerOf } from '../model/fault.ts';
import { type Phase, phaseOfJobs, phaseOfOutcome, phaseOfState } from '../model/phase.ts';
import { outcomeOf, stateOf } from './build-rows.ts';
import type { HeldBuild, HeldJob } from './held-build.ts';
import { QueueError } from './queue-error.ts';

/** How a build as a whole ended, when its jobs alone do not say it. */
export type Verdict = 'published' | 'publish-failed' | 'cancelled';

export interface SettledPhase {
  readonly phase: Phase;
  /** Why, for a phase that is a failure. */
  readonly fault: Fault | undefined;
}

/** The phase that a build has for what its jobs and its verdict are. */
export function settledPhase(build: HeldBuild): SettledPhase {
  const phase = phaseOfBuild(build);
  return { phase, fault: faultOf(build, phase) };
}

function phaseOfBuild({ row, jobs }: HeldBuild): Phase {
  const verdict = row.verdict as Verdict | null;
  switch (verdict) {
    case 'published':
      return 'complete';
    case 'publish-failed':
      return publishFaultOwner(row) === 'user' ? 'error' : 'internalerror';
    case 'cancelled':
      return 'cancelled';
    case null:
      return phaseOfJobs(jobs.map(phaseOfJob));
    default:
      return unreachable(verdict);
  }
}

function publishFaultOwner({ fault_json }: HeldBuild['row']): FaultOwner {
  return fault_json === null ? 'infrastructure' : ownerOf((JSON.parse(fault_json) as Fault).code);
}

function phaseOfJob({ build_id, attempt }: HeldJob): Phase {
  const state = stateOf(attempt.state);
  if (state !== 'done') return phaseOfState(state);
  const outcome = outcomeOf(attempt);
  if (outcome === null)
    throw new QueueError('bad-row', `An attempt of build ${build_id} ended without an outcome.`);
  return phaseOfOutcome(outcome);
}

function faultOf({ row, jobs }: HeldBuild, phase: Phase): Fault | undefined {
  if (phase === 'complete' || phase === 'cancelled') return undefined;
  if (row.fault_json !== null) return JSON.parse(row.fault_json) as Fault;
  for (const { attempt } of jobs) {
    const outcome = outcomeOf(attempt);
    if (outcome !== null && 'fault' in outcome && phaseOfOutcome(outcome) === phase) return outcome.fault;
  }
  return undefined;
}
