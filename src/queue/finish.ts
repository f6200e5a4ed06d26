import { afterAttempt, type Outcome, type PushedImage } from '../model/attempt.ts';
import { type AttemptId, newAttemptId } from '../model/ids.ts';
import { isFinal } from '../model/phase.ts';
import type { Finished, FinishedBy } from './build-queue.ts';
import { outcomeOf, phaseOf, reportsOf } from './build-rows.ts';
import { queuedAttempt } from './enqueue.ts';
import type { HeldBuild } from './held-build.ts';
import { type HeldAttempt, HeldBuilds } from './held-builds.ts';
import { retryTurn } from './places.ts';
import type { Verdict } from './settled-phase.ts';
import type { Step } from './step.ts';

export type { HeldAttempt } from './held-builds.ts';

export interface FinishSettings {
  readonly mostAttempts: number;
  readonly publishLease: number;
}

export interface Finish {
  readonly id: AttemptId;
  readonly epoch: number;
  readonly outcome: Outcome;
  /** Milliseconds until the next attempt may start, when there is to be one. */
  readonly retryDelay: number;
  readonly by: FinishedBy;
}

/**
 * An attempt with its job and build, under their locks. Undefined: there is none of this epoch, or nobody has it
 * (it waits or is over).
 */
export async function holdAttempt(
  step: Step,
  id: AttemptId,
  epoch: number,
  options: { readonly mayEndBuild: boolean },
): Promise<HeldAttempt | undefined> {
  return (await HeldBuilds.ofAttempts(step, [id], options)).attempt(id, epoch);
}

/** Ends an attempt that is held, as the last thing done with its build in this transaction. */
export async function finish(
  step: Step,
  held: HeldAttempt,
  reported: Outcome,
  settings: FinishSettings & { readonly retryDelay: number },
): Promise<Finished> {
  const decided = await decide(step, held, reported, { ...settings, by: {} });
  return (await answers(held.builds, [decided]))[0] ?? { kind: 'stale' };
}

/** Ends many attempts in one transaction: what each of them would get alone, in their order. */
export async function finishAll(
  step: Step,
  finishes: readonly Finish[],
  settings: FinishSettings,
): Promise<readonly Finished[]> {
  const ids = finishes.map(({ id }) => id);
  const builds = await HeldBuilds.ofAttempts(step, ids, { mayEndBuild: true });
  const decided: Decided[] = [];
  for (const { id, epoch, outcome, retryDelay, by } of finishes) {
    const held = builds.attempt(id, epoch);
    if (held === undefined) decided.push({ kind: 'stale' });
    else if (by.supervisor !== undefined && by.supervisor !== held.attempt.manager) {
      decided.push({ kind: 'lost' });
    } else {
      builds.answer(held.build);
      decided.push(await decide(step, held, outcome, { ...settings, retryDelay, by }));
    }
  }
  return answers(builds, decided);
}

/** `final` is answered with the build as it stands once all is written. */
type Decided = Exclude<Finished, { kind: 'final' }> | { readonly kind: 'final'; readonly buildId: string };

async function answers(held: HeldBuilds, decided: readonly Decided[]): Promise<readonly Finished[]> {
  const ids = decided.flatMap((each) => (each.kind === 'final' ? [each.buildId] : []));
  const builds = new Map((await held.write(ids)).map((build) => [build.id as string, build]));
  return decided.map((each): Finished => {
    if (each.kind !== 'final') return each;
    const build = builds.get(each.buildId);
    return build === undefined ? { kind: 'others-running' } : { kind: 'final', build };
  });
}

async function decide(
  step: Step,
  held: HeldAttempt,
  reported: Outcome,
  settings: FinishSettings & { readonly retryDelay: number; readonly by: FinishedBy },
): Promise<Decided> {
  const { builds, attempt, job, build } = held;
  const { row } = build;
  const { report, publisher } = settings.by;
  if (report !== undefined) {
    const reports = { ...reportsOf(attempt), [report.sequence]: report.kind };
    builds.changeAttempt(attempt, { reports_json: JSON.stringify(reports) });
  }
  step.changes.push({ kind: 'finished', buildId: step.buildId(row.id) });
  if (isFinal(phaseOf(row.phase))) {
    builds.endAttempt(attempt, JSON.stringify(reported));
    return { kind: 'others-running' };
  }
  // Who asked for the end was told that it comes, whatever the worker still achieved or ran into.
  const outcome: Outcome =
    attempt.desired === 'cancel' ? { kind: 'cancelled', by: attempt.cancelled_by ?? 'slipway' } : reported;
  builds.endAttempt(attempt, JSON.stringify(outcome));

  const after = afterAttempt(outcome);
  const triesLeft = job.tries_left + (after === 'retry-try-kept' ? 1 : 0);
  if (after !== 'finished' && triesLeft > 0 && attempt.epoch < settings.mostAttempts) {
    const availableAt = step.now + settings.retryDelay;
    await retry(step, held, triesLeft, availableAt);
    builds.settle(build);
    return { kind: 'retry', epoch: attempt.epoch + 1, triesLeft, availableAt };
  }
  if (outcome.kind === 'cancelled') {
    builds.changeBuild(build, {
      verdict: 'cancelled',
      desired: 'cancel',
      cancelled_by: row.cancelled_by ?? outcome.by,
    });
  }
  const images = outcome.kind === 'complete' ? imagesOf(build) : undefined;
  const publishes = images !== undefined && row.pushes !== 0;
  if (publishes) {
    builds.changeBuild(build, {
      publisher: publisher ?? attempt.manager,
      publish_until: step.now + settings.publishLease,
    });
  } else if (images !== undefined) {
    const nothingLeft: Verdict = 'published';
    builds.changeBuild(build, { verdict: nothingLeft });
  }
  builds.settle(build);
  if (publishes) return { kind: 'publish', images };
  return isFinal(phaseOf(row.phase)) ? { kind: 'final', buildId: row.id } : { kind: 'others-running' };
}

async function retry(
  step: Step,
  { builds, attempt, job, build }: HeldAttempt,
  triesLeft: number,
  availableAt: number,
): Promise<void> {
  const next = queuedAttempt({ id: job.id, build_id: job.build_id, attempt_id: newAttemptId() }, build.row, {
    epoch: attempt.epoch + 1,
    now: step.now,
    availableAt,
    turn: await retryTurn(step, build.row.priority),
  });
  builds.addAttempt(job, next, triesLeft);
  step.changes.push({ kind: 'queued', buildId: step.buildId(build.row.id) });
}

/** Undefined while a job is not complete. */
function imagesOf({
  jobs,
}: HeldBuild): readonly { readonly platform: string; readonly image?: PushedImage }[] | undefined {
  const images: { platform: string; image?: PushedImage }[] = [];
  for (const { platform, attempt } of jobs) {
    const outcome = outcomeOf(attempt);
    if (outcome?.kind !== 'complete') return undefined;
    images.push({ platform, ...(outcome.image === undefined ? {} : { image: outcome.image }) });
  }
  return images;
}
