import { sql as raw } from 'kysely';
import { among } from '../db/row-set.ts';
import type { Outcome } from '../model/attempt.ts';
import type { AttemptId, BuildId } from '../model/ids.ts';
import type { RunningAttempt } from './build-queue.ts';
import { type HeldAttempt, holdAttempt } from './finish.ts';
import { loadAttempts } from './read-builds.ts';
import type { Step } from './step.ts';

/** How the attempts end whose manager is gone and whose worker nobody has a record of. */
export const managerLost: Outcome = {
  kind: 'internal-error',
  refunded: true,
  fault: { code: 'managerlost', message: 'The build manager was lost while it had a worker started.' },
};

/** Claimed, and no worker recorded: the manager that is gone may yet start one. */
export async function unrecorded(
  step: Step,
  gone: readonly string[],
): Promise<readonly { readonly id: string; readonly epoch: number }[]> {
  return step.sql
    .selectFrom('attempts')
    .select(['id', 'epoch'])
    .where('lease_until', 'is not', null)
    .where('manager', 'in', gone)
    .where('state', '=', 'scheduled')
    .where('worker', 'is', null)
    .execute();
}

/** One of those, if nothing has changed about it. */
export async function holdUnrecorded(
  step: Step,
  { id, epoch }: { readonly id: string; readonly epoch: number },
  gone: readonly string[],
): Promise<HeldAttempt | undefined> {
  const held = await holdAttempt(step, id as AttemptId, epoch, { mayEndBuild: true });
  if (held === undefined) return undefined;
  const { manager, state, worker } = held.attempt;
  const same = state === 'scheduled' && worker === null && manager !== null && gone.includes(manager);
  return same ? held : undefined;
}

/** All else of those managers is supervised and published by `manager` from now on. */
export async function takeOver(
  step: Step,
  gone: readonly string[],
  manager: string,
  lease: number,
): Promise<{ readonly attempts: readonly RunningAttempt[]; readonly unpublished: readonly BuildId[] }> {
  // Locked in the order of their ids, as everybody locks several.
  const attempts = await step.sql
    .selectFrom('attempts')
    .select('id')
    .where('lease_until', 'is not', null)
    .where('manager', 'in', gone)
    .where((where) => where.or([where('state', '!=', raw.lit('scheduled')), where('worker', 'is not', null)]))
    .orderBy('id')
    .$if(step.statements.dialect === 'postgres', (query) => query.forUpdate())
    .execute();
  const ids = attempts.map(({ id }) => id);
  await step.sql
    .updateTable('attempts')
    .set({ manager, lease_until: step.now + lease })
    .where(among(step.statements.dialect, 'id', ids))
    .execute();
  const builds = await step.sql
    .updateTable('builds')
    .set({ publisher: manager, publish_until: step.now + lease })
    .where('publisher', 'in', gone)
    .returning('id')
    .execute();
  return {
    attempts: await loadAttempts(step.sql, ids),
    unpublished: builds.map(({ id }) => step.buildId(id)),
  };
}
