import { unreachable } from '../base/unreachable.ts';
import type { Row } from '../db/schema.ts';
import type { Outcome } from '../model/attempt.ts';
import type { Fault } from '../model/fault.ts';
import { isFinal, type Phase, phaseOfJobs, phaseOfOutcome, phaseOfState } from '../model/phase.ts';
import { outcomeOf, phaseOf, stateOf } from './build-rows.ts';
import { admitNext } from './places.ts';
import { QueueError } from './queue-error.ts';
import type { Step } from './step.ts';

/** Who cancels what is left of a build that is final for another reason. */
const ourselves = 'slipway';

export type Verdict = 'published' | 'publish-failed' | 'cancelled';

type JobRow = Pick<Row<'builds'>, 'namespace' | 'repository' | 'phase' | 'verdict' | 'fault_json'> &
  Pick<Row<'attempts'>, 'state' | 'outcome_json'> & { readonly id: string };

/**
 * Derives the phase of builds from their jobs and stores it; every change of an attempt is followed by this, in the
 * same transaction, and nothing else writes `builds.phase` after a build is made. A final phase is never touched.
 *
 * When a build gets final: its secrets are dropped, its attempts that wait are over, those that run are to be
 * stopped by their managers, and its place goes to the next build. The caller holds the lock of the build, and of
 * its namespace when the build may get final.
 */
export async function settle(step: Step, buildIds: readonly string[]): Promise<void> {
  if (buildIds.length === 0) return;
  const rows = await step.sql
    .selectFrom('builds')
    .innerJoin('jobs', 'jobs.build_id', 'builds.id')
    .innerJoin('attempts', 'attempts.id', 'jobs.attempt_id')
    .select([
      'builds.id',
      'builds.namespace',
      'builds.repository',
      'builds.phase',
      'builds.verdict',
      'builds.fault_json',
      'attempts.state',
      'attempts.outcome_json',
    ])
    .where('builds.id', 'in', buildIds)
    .orderBy('jobs.ordinal')
    .execute();
  const moved = new Map<Phase, string[]>();
  for (const [id, jobs] of Map.groupBy(rows, (row) => row.id)) {
    const [build] = jobs;
    if (build === undefined || isFinal(phaseOf(build.phase))) continue;
    const phase = phaseOfBuild(build.verdict, jobs);
    if (isFinal(phase)) await finalize(step, build, phase, faultOf(build, phase, jobs));
    else if (phase !== build.phase) moved.set(phase, [...(moved.get(phase) ?? []), id]);
  }
  for (const [phase, ids] of moved) {
    await step.sql.updateTable('builds').set({ phase }).where('id', 'in', ids).execute();
  }
}

function phaseOfBuild(verdict: string | null, jobs: readonly JobRow[]): Phase {
  switch (verdict as Verdict | null) {
    case 'published':
      return 'complete';
    case 'publish-failed':
      return 'internalerror';
    case 'cancelled':
      return 'cancelled';
    case null:
      return phaseOfJobs(jobs.map(phaseOfJob));
    default:
      return unreachable(verdict as never);
  }
}

function phaseOfJob(row: JobRow): Phase {
  const state = stateOf(row.state);
  if (state !== 'done') return phaseOfState(state);
  const outcome = outcomeOf(row);
  if (outcome === null)
    throw new QueueError('bad-row', `An attempt of build ${row.id} ended without an outcome.`);
  return phaseOfOutcome(outcome);
}

function faultOf(build: JobRow, phase: Phase, jobs: readonly JobRow[]): Fault | undefined {
  if (phase === 'complete' || phase === 'cancelled') return undefined;
  if (build.fault_json !== null) return JSON.parse(build.fault_json) as Fault;
  for (const job of jobs) {
    const outcome = outcomeOf(job);
    if (outcome !== null && 'fault' in outcome && phaseOfOutcome(outcome) === phase) return outcome.fault;
  }
  return undefined;
}

async function finalize(step: Step, build: JobRow, phase: Phase, fault: Fault | undefined): Promise<void> {
  const { now, sql } = step;
  await sql
    .updateTable('builds')
    .set({
      phase,
      finished_at: now,
      admitted: 0,
      publisher: null,
      publish_until: null,
      fault_json: fault === undefined ? null : JSON.stringify(fault),
    })
    .where('id', '=', build.id)
    .execute();
  await sql.deleteFrom('build_secrets').where('build_id', '=', build.id).execute();
  const left = await sql
    .selectFrom('attempts')
    .select(['id', 'state', 'cancelled_by'])
    .where('build_id', '=', build.id)
    .where('state', '!=', 'done')
    .execute();
  for (const { id, state, cancelled_by } of left) {
    const by = cancelled_by ?? ourselves;
    if (state === 'queued') await endAttempt(step, id, { kind: 'cancelled', by });
    else {
      await sql
        .updateTable('attempts')
        .set({ desired: 'cancel', cancelled_by: by })
        .where('id', '=', id)
        .execute();
    }
  }
  const buildId = step.buildId(build.id);
  if (left.some(({ state }) => state !== 'queued')) step.changes.push({ kind: 'cancel', buildId });
  step.changes.push({ kind: 'finished', buildId });
  await admitNext(step, build.namespace, build.repository);
}

/** The last change of an attempt. The caller has seen under the lock of its build that it is not over. */
export async function endAttempt(step: Step, id: string, outcome: Outcome): Promise<void> {
  await step.sql
    .updateTable('attempts')
    .set({
      state: 'done',
      ready: 0,
      lease_until: null,
      outcome_json: JSON.stringify(outcome),
      done_at: step.now,
    })
    .where('id', '=', id)
    .where('state', '!=', 'done')
    .execute();
}
