import type { Build } from '../model/build.ts';
import type { Digest } from '../model/digest.ts';
import type { Fault } from '../model/fault.ts';
import type { AttemptId, BuildId } from '../model/ids.ts';
import { isFinal } from '../model/phase.ts';
import { outcomeOf, phaseOf } from './build-rows.ts';
import { loadBuild } from './read-builds.ts';
import { settle, type Verdict } from './settle.ts';
import type { Step } from './step.ts';

/** How many builds without a publisher a manager takes at once. */
const takenAtOnce = 100;

export async function publish(
  step: Step,
  buildId: BuildId,
  epochs: readonly { readonly id: AttemptId; readonly epoch: number }[],
  image: { readonly digest: Digest; readonly size: number } | undefined,
): Promise<Build | 'stale'> {
  const build = await holdBuild(step, buildId);
  if (build === undefined) return 'stale';
  const jobs = await step.sql
    .selectFrom('jobs')
    .innerJoin('attempts', 'attempts.id', 'jobs.attempt_id')
    .select(['attempts.id', 'attempts.epoch', 'attempts.outcome_json'])
    .where('jobs.build_id', '=', buildId)
    .execute();
  const current = jobs.every(
    (job) =>
      outcomeOf(job)?.kind === 'complete' &&
      epochs.some(({ id, epoch }) => id === job.id && epoch === job.epoch),
  );
  if (!current) return 'stale';
  // Told twice: the answer of the first time was lost.
  if (build.phase === 'complete') return (await loadBuild(step.sql, buildId)) ?? 'stale';
  if (isFinal(phaseOf(build.phase)) || build.publish_until === null) return 'stale';
  const published: Verdict = 'published';
  await step.sql
    .updateTable('builds')
    .set({ verdict: published, digest: image?.digest ?? null, image_size: image?.size ?? null })
    .where('id', '=', buildId)
    .execute();
  await settle(step, [buildId]);
  return (await loadBuild(step.sql, buildId)) ?? 'stale';
}

export async function failPublish(step: Step, buildId: BuildId, fault: Fault): Promise<Build | 'stale'> {
  const build = await holdBuild(step, buildId);
  if (build === undefined || build.publish_until === null || isFinal(phaseOf(build.phase))) return 'stale';
  const verdict: Verdict = build.desired === 'cancel' ? 'cancelled' : 'publish-failed';
  await step.sql
    .updateTable('builds')
    .set({ verdict, fault_json: JSON.stringify(fault) })
    .where('id', '=', buildId)
    .execute();
  await settle(step, [buildId]);
  return (await loadBuild(step.sql, buildId)) ?? 'stale';
}

export async function takeUnpublished(
  step: Step,
  manager: string,
  lease: number,
): Promise<readonly BuildId[]> {
  const ids = await step.statements.lockUnpublished(step.sql, step.now, takenAtOnce);
  if (ids.length === 0) return [];
  await step.sql
    .updateTable('builds')
    .set({ publisher: manager, publish_until: step.now + lease })
    .where('id', 'in', ids)
    .execute();
  return ids.map((id) => step.buildId(id));
}

async function holdBuild(step: Step, buildId: BuildId) {
  const found = await step.sql
    .selectFrom('builds')
    .select('namespace')
    .where('id', '=', buildId)
    .executeTakeFirst();
  if (found === undefined) return undefined;
  await step.statements.lockNamespace(step.sql, found.namespace);
  await step.statements.lockBuild(step.sql, buildId);
  return step.sql.selectFrom('builds').selectAll().where('id', '=', buildId).executeTakeFirst();
}
