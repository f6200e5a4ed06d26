import type { Sql } from '../db/database.ts';
import type { Build } from '../model/build.ts';
import type { Fault } from '../model/fault.ts';
import type { AttemptId, BuildId } from '../model/ids.ts';
import { isFinal } from '../model/phase.ts';
import type { PublicationHold, PublishedImage } from './build-queue.ts';
import { outcomeOf, phaseOf } from './build-rows.ts';
import type { HeldBuild } from './held-build.ts';
import { HeldBuilds } from './held-builds.ts';
import type { Verdict } from './settled-phase.ts';
import type { Step } from './step.ts';

/** How many builds without a publisher a manager takes at once. */
const takenAtOnce = 100;

/** How publishing a build went. */
export type Publication =
  | {
      readonly kind: 'published';
      readonly buildId: BuildId;
      /** What was published: nobody may have been given a new attempt since. */
      readonly epochs: readonly { readonly id: AttemptId; readonly epoch: number }[];
      readonly image: PublishedImage | undefined;
    }
  | {
      readonly kind: 'failed';
      readonly buildId: BuildId;
      readonly fault: Fault;
      /** Absent: whoever publishes it. */
      readonly publisher: string | undefined;
    };

/** Ends many builds whose publication is over in one transaction: each as it would alone, in their order. */
export async function publishAll(
  step: Step,
  publications: readonly Publication[],
): Promise<readonly (Build | 'stale')[]> {
  const builds = await HeldBuilds.toEnd(
    step,
    publications.map(({ buildId }) => buildId),
  );
  const ended = publications.map((publication) => {
    const build = builds.build(publication.buildId);
    if (build !== undefined) builds.answer(build);
    if (build === undefined || !end(builds, build, publication)) return undefined;
    return build.row.id;
  });
  for (const publication of publications) {
    const references = publication.kind === 'published' ? publication.image?.references : undefined;
    if (references === undefined || !ended.includes(publication.buildId)) continue;
    await step.sql
      .updateTable('builds')
      .set({ published_json: JSON.stringify(references) })
      .where('id', '=', publication.buildId)
      .execute();
  }
  const read = await builds.write(ended.filter((id) => id !== undefined));
  const views = new Map(read.map((build) => [build.id as string, build]));
  return ended.map((id) => (id === undefined ? undefined : views.get(id)) ?? 'stale');
}

function end(builds: HeldBuilds, build: HeldBuild, publication: Publication): boolean {
  const { row, jobs } = build;
  const open = row.publish_until !== null && !isFinal(phaseOf(row.phase));
  if (publication.kind === 'failed') {
    if (!open) return false;
    // A manager that was stopped while it tried has no say: another one is publishing.
    if (publication.publisher !== undefined && publication.publisher !== row.publisher) return false;
    const verdict: Verdict = row.desired === 'cancel' ? 'cancelled' : 'publish-failed';
    builds.changeBuild(build, { verdict, fault_json: JSON.stringify(publication.fault) });
    builds.settle(build);
    return true;
  }
  const current = jobs.every(
    ({ attempt }) =>
      outcomeOf(attempt)?.kind === 'complete' &&
      publication.epochs.some(({ id, epoch }) => id === attempt.id && epoch === attempt.epoch),
  );
  if (!current) return false;
  // Told twice: the answer of the first time was lost.
  if (row.phase === 'complete') return true;
  if (!open) return false;
  const { image } = publication;
  const verdict: Verdict = 'published';
  builds.changeBuild(build, { verdict, digest: image?.digest ?? null, image_size: image?.size ?? null });
  builds.settle(build);
  return true;
}

/** Nothing is taken from `living` managers: how late it is for them is for their clock, and they take up again themselves. */
export async function takeUnpublished(
  step: Step,
  manager: string,
  lease: number,
  living: readonly string[],
): Promise<readonly BuildId[]> {
  const { sql, now, statements } = step;
  const ids = await statements.lockUnpublished(sql, now, { limit: takenAtOnce, living });
  if (ids.length === 0) return [];
  await step.sql
    .updateTable('builds')
    .set({ publisher: manager, publish_until: step.now + lease })
    .where('id', 'in', ids)
    .execute();
  return ids.map((id) => step.buildId(id));
}

/** One manager writes to another registry: it asks before each tag, and who has lost the build writes no more. */
export async function holdPublication(
  sql: Sql,
  { buildId, manager, until, takes }: { buildId: BuildId; manager: string; until: number; takes: boolean },
): Promise<PublicationHold> {
  const row = await sql
    .updateTable('builds')
    .set({ publisher: manager, publish_until: until })
    .where('id', '=', buildId)
    .where('publish_until', 'is not', null)
    .$if(!takes, (query) => query.where('publisher', '=', manager))
    .returning('desired')
    .executeTakeFirst();
  if (row === undefined) return 'lost';
  return row.desired === 'cancel' ? 'cancel' : 'held';
}
