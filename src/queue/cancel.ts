import type { BuildId } from '../model/ids.ts';
import { isFinal } from '../model/phase.ts';
import type { CancelVerdict } from './build-queue.ts';
import { phaseOf } from './build-rows.ts';
import { loadBuild } from './read-builds.ts';
import { settle } from './settle.ts';
import type { Step } from './step.ts';

/**
 * A build that nobody works at is over at once. Otherwise the wish is stored, and what waits of it is not started
 * any more; the build gets final when its manager has stopped a worker. While the tags are being published the wish
 * comes too late for a publisher that succeeds, and decides how the build ends if it fails.
 */
export async function cancel(step: Step, buildId: BuildId, by: string): Promise<CancelVerdict> {
  const { sql } = step;
  const found = await sql
    .selectFrom('builds')
    .select('namespace')
    .where('id', '=', buildId)
    .executeTakeFirst();
  if (found === undefined) return { kind: 'unknown' };
  await step.statements.lockNamespace(sql, found.namespace);
  await step.statements.lockBuild(sql, buildId);
  const build = await sql.selectFrom('builds').selectAll().where('id', '=', buildId).executeTakeFirst();
  if (build === undefined) return { kind: 'unknown' };
  if (isFinal(phaseOf(build.phase))) return { kind: 'already-final', build: await viewOf(step, buildId) };
  const running = await sql
    .selectFrom('attempts')
    .select('id')
    .where('build_id', '=', buildId)
    .where('lease_until', 'is not', null)
    .execute();
  const atOnce = running.length === 0 && build.publish_until === null;
  if (build.desired === 'run' || atOnce) {
    await sql
      .updateTable('builds')
      .set({
        desired: 'cancel',
        cancelled_by: build.cancelled_by ?? by,
        ...(atOnce ? { verdict: 'cancelled' } : {}),
      })
      .where('id', '=', buildId)
      .execute();
    await sql
      .updateTable('attempts')
      .set({ desired: 'cancel', cancelled_by: build.cancelled_by ?? by, ready: 0 })
      .where('build_id', '=', buildId)
      .where('state', '!=', 'done')
      .execute();
    step.changes.push({ kind: 'cancel', buildId });
  }
  await settle(step, [buildId]);
  return { kind: atOnce ? 'cancelled' : 'cancelling', build: await viewOf(step, buildId) };
}

async function viewOf(step: Step, buildId: BuildId) {
  const build = await loadBuild(step.sql, buildId);
  if (build === undefined) throw new TypeError(`build ${buildId} vanished while it was locked`);
  return build;
}
