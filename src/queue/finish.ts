import type { Row } from '../db/schema.ts';
import { afterAttempt, type Outcome, type PushedImage } from '../model/attempt.ts';
import { type AttemptId, newAttemptId } from '../model/ids.ts';
import { isFinal } from '../model/phase.ts';
import type { Finished } from './build-queue.ts';
import { isRunningRow, outcomeOf, phaseOf } from './build-rows.ts';
import { queuedAttempt } from './enqueue.ts';
import { retryTurn } from './places.ts';
import { loadBuild } from './read-builds.ts';
import { endAttempt, settle } from './settle.ts';
import type { Step } from './step.ts';

export interface HeldAttempt {
  readonly attempt: Row<'attempts'>;
  readonly job: Pick<Row<'jobs'>, 'id' | 'build_id' | 'tries_left'>;
  readonly build: Pick<Row<'builds'>, 'id' | 'namespace' | 'priority' | 'phase' | 'cancelled_by'>;
}

/**
 * An attempt with its job and build, under their locks. Undefined: there is none of this epoch, or nobody has it
 * (it waits or is over).
 */
export async function holdAttempt(
  step: Step,
  id: AttemptId,
  epoch: number,
  { mayEndBuild }: { readonly mayEndBuild: boolean },
): Promise<HeldAttempt | undefined> {
  const { sql } = step;
  const found = await sql
    .selectFrom('attempts')
    .select(['build_id', 'namespace'])
    .where('id', '=', id)
    .where('epoch', '=', epoch)
    .where('lease_until', 'is not', null)
    .executeTakeFirst();
  if (found === undefined) return undefined;
  if (mayEndBuild) await step.statements.lockNamespace(sql, found.namespace);
  await step.statements.lockBuild(sql, found.build_id);
  const row = await sql
    .selectFrom('attempts')
    .innerJoin('jobs', 'jobs.id', 'attempts.job_id')
    .innerJoin('builds', 'builds.id', 'attempts.build_id')
    .selectAll('attempts')
    .select(['jobs.tries_left', 'builds.phase', 'builds.cancelled_by as build_cancelled_by'])
    .where('attempts.id', '=', id)
    .executeTakeFirst();
  if (row === undefined || !isRunningRow(row)) return undefined;
  const { tries_left, phase, build_cancelled_by, ...attempt } = row;
  const { job_id, build_id, namespace, priority } = attempt;
  return {
    attempt,
    job: { id: job_id, build_id, tries_left },
    build: { id: build_id, namespace, priority, phase, cancelled_by: build_cancelled_by },
  };
}

export async function finish(
  step: Step,
  held: HeldAttempt,
  reported: Outcome,
  settings: { readonly retryDelay: number; readonly mostAttempts: number; readonly publishLease: number },
): Promise<Finished> {
  const { attempt, job, build } = held;
  const buildId = step.buildId(build.id);
  step.changes.push({ kind: 'finished', buildId });
  if (isFinal(phaseOf(build.phase))) {
    await endAttempt(step, attempt.id, reported);
    return { kind: 'others-running' };
  }
  // Who asked for the end was told that it comes, whatever the worker still achieved or ran into.
  const outcome: Outcome =
    attempt.desired === 'cancel' ? { kind: 'cancelled', by: attempt.cancelled_by ?? 'slipway' } : reported;
  await endAttempt(step, attempt.id, outcome);

  const after = afterAttempt(outcome);
  const triesLeft = job.tries_left + (after === 'retry-try-kept' ? 1 : 0);
  if (after !== 'finished' && triesLeft > 0 && attempt.epoch < settings.mostAttempts) {
    const availableAt = step.now + settings.retryDelay;
    await retry(step, held, triesLeft, availableAt);
    await settle(step, [build.id]);
    return { kind: 'retry', epoch: attempt.epoch + 1, triesLeft, availableAt };
  }
  if (outcome.kind === 'cancelled') {
    await step.sql
      .updateTable('builds')
      .set({ verdict: 'cancelled', desired: 'cancel', cancelled_by: build.cancelled_by ?? outcome.by })
      .where('id', '=', build.id)
      .execute();
  }
  const images = outcome.kind === 'complete' ? await imagesOf(step, build.id) : undefined;
  if (images !== undefined) {
    await step.sql
      .updateTable('builds')
      .set({ publisher: attempt.manager, publish_until: step.now + settings.publishLease })
      .where('id', '=', build.id)
      .execute();
  }
  await settle(step, [build.id]);
  if (images !== undefined) return { kind: 'publish', images };
  const now = await loadBuild(step.sql, build.id);
  return now !== undefined && isFinal(now.phase) ? { kind: 'final', build: now } : { kind: 'others-running' };
}

async function retry(
  step: Step,
  { attempt, job, build }: HeldAttempt,
  triesLeft: number,
  availableAt: number,
): Promise<void> {
  const next = queuedAttempt({ ...job, attempt_id: newAttemptId() }, build, {
    epoch: attempt.epoch + 1,
    now: step.now,
    availableAt,
    turn: await retryTurn(step, build.priority),
  });
  await step.sql.insertInto('attempts').values(next).execute();
  await step.sql
    .updateTable('jobs')
    .set({ attempt_id: next.id, tries_left: triesLeft })
    .where('id', '=', job.id)
    .execute();
  step.changes.push({ kind: 'queued', buildId: step.buildId(build.id) });
}

/** Undefined while a job is not complete. */
async function imagesOf(
  step: Step,
  buildId: string,
): Promise<readonly { readonly platform: string; readonly image?: PushedImage }[] | undefined> {
  const rows = await step.sql
    .selectFrom('jobs')
    .innerJoin('attempts', 'attempts.id', 'jobs.attempt_id')
    .select(['jobs.platform', 'attempts.outcome_json'])
    .where('jobs.build_id', '=', buildId)
    .orderBy('jobs.ordinal')
    .execute();
  const images: { platform: string; image?: PushedImage }[] = [];
  for (const row of rows) {
    const outcome = outcomeOf(row);
    if (outcome?.kind !== 'complete') return undefined;
    images.push({
      platform: row.platform,
      ...(outcome.image === undefined ? {} : { image: outcome.image }),
    });
  }
  return images;
}
