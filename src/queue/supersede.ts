import type { Row } from '../db/schema.ts';
import type { HeldBuild } from './held-build.ts';
import { HeldBuilds } from './held-builds.ts';
import type { Step } from './step.ts';

/** Who cancels a build that a newer one made needless. */
export const supersededBy = 'superseded';

/**
 * Ends the builds that have the same key as `newest`, came before it and have not started: nobody needs them any more.
 * They are not deleted; each says which build came in its place. One that a manager is claiming right now has started.
 * `later`: builds made after `newest` in the same transaction. The caller holds the lock of the namespace. Gives the ids
 * of those that ended.
 */
export async function supersede(
  step: Step,
  newest: Pick<Row<'builds'>, 'id' | 'namespace' | 'repository' | 'newest_key'>,
  later: readonly string[],
): Promise<readonly string[]> {
  const found = await step.sql
    .selectFrom('builds')
    .select('id')
    .where('namespace', '=', newest.namespace)
    .where('repository', '=', newest.repository)
    .where('newest_key', '=', newest.newest_key)
    .where('started_at', 'is', null)
    .where('finished_at', 'is', null)
    .execute();
  const older = found.map(({ id }) => id).filter((id) => id !== newest.id && !later.includes(id));
  if (older.length === 0) return [];
  const free = await step.statements.lockFreeBuilds(step.sql, older);
  const builds = await HeldBuilds.hold(step, [...free], true);
  const ended: string[] = [];
  for (const id of free) {
    const build = builds.build(id);
    if (build === undefined || hasStarted(build)) continue;
    for (const { attempt } of build.jobs) {
      builds.changeAttempt(attempt, { desired: 'cancel', cancelled_by: supersededBy, ready: 0 });
    }
    builds.changeBuild(build, { verdict: 'cancelled', desired: 'cancel', cancelled_by: supersededBy });
    builds.settle(build);
    ended.push(id);
  }
  if (ended.length === 0) return [];
  await step.sql.updateTable('builds').set({ superseded_by: newest.id }).where('id', 'in', ended).execute();
  await builds.write();
  return ended;
}

/** Its phase does not say: a build for several platforms waits as long as one of its jobs does. */
function hasStarted({ jobs }: HeldBuild): boolean {
  return jobs.some(({ attempt }) => attempt.state !== 'queued' || attempt.epoch > 1);
}
