import { judgeStage, type WorkerStage } from '../model/attempt.ts';
import type { AttemptId } from '../model/ids.ts';
import { isFinal } from '../model/phase.ts';
import { phaseOf, reportsOf, stateOf } from './build-rows.ts';
import { type HeldAttempt, HeldBuilds } from './held-builds.ts';
import type { Step } from './step.ts';

/** What a worker's own report moves an attempt to, before its end. */
export type Advance =
  | {
      readonly kind: 'register';
      readonly id: AttemptId;
      readonly epoch: number;
      readonly capabilities: Readonly<Record<string, unknown>>;
    }
  | {
      readonly kind: 'stage';
      readonly id: AttemptId;
      readonly epoch: number;
      readonly stage: WorkerStage;
      readonly commit?: string;
      readonly sequence?: number;
    };

export type Advanced = 'moved' | 'same' | 'late' | 'stale';

/** Many reports in one transaction, in their order. */
export async function advanceAll(step: Step, reports: readonly Advance[]): Promise<readonly Advanced[]> {
  const ids = reports.map(({ id }) => id);
  const builds = await HeldBuilds.ofAttempts(step, ids, { mayEndBuild: false });
  const verdicts = reports.map((report) => {
    const held = builds.attempt(report.id, report.epoch);
    if (held === undefined) return 'stale';
    return report.kind === 'register' ? register(step, held, report) : enterStage(step, held, report);
  });
  await builds.write();
  return verdicts;
}

function register(
  step: Step,
  { builds, build, attempt }: HeldAttempt,
  { capabilities }: Extract<Advance, { kind: 'register' }>,
): Advanced {
  if (attempt.state !== 'scheduled' || attempt.desired === 'cancel') return 'stale';
  builds.changeAttempt(attempt, {
    state: 'registered',
    registered_at: step.now,
    capabilities_json: JSON.stringify(capabilities),
  });
  builds.settle(build);
  return 'moved';
}

function enterStage(
  step: Step,
  { builds, build, attempt }: HeldAttempt,
  { stage, commit, sequence }: Extract<Advance, { kind: 'stage' }>,
): Advanced {
  if (attempt.state === 'scheduled' || isFinal(phaseOf(build.row.phase))) return 'stale';
  const reports = reportsOf(attempt);
  const before = sequence === undefined ? undefined : reports[sequence];
  if (before !== undefined) return before === stage && attempt.state === stage ? 'same' : 'late';
  if (commit !== undefined) builds.changeBuild(build, { commit_sha: commit });
  const verdict = judgeStage(stateOf(attempt.state), stage);
  if (verdict !== 'moves') return verdict;
  builds.changeAttempt(attempt, {
    state: stage,
    [`${stage}_at`]: step.now,
    ...(sequence === undefined ? {} : { reports_json: JSON.stringify({ ...reports, [sequence]: stage }) }),
  });
  builds.settle(build);
  return 'moved';
}
