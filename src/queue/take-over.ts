import { sql as raw } from 'kysely';
import { among } from '../db/row-set.ts';
import type { Outcome } from '../model/attempt.ts';
import type { AttemptId, BuildId } from '../model/ids.ts';
import type { RunningAttempt } from './build-queue.ts';
import { type HeldAttempt, holdAttempt } from './finish.ts';
import type { SeenLease } from './lease-watch.ts';
import { loadAttempts } from './read-builds.ts';
import type { Step } from './step.ts';

/** How the attempts end whose manager is gone and whose worker nobody has a record of. */
export const managerLost: Outcome = {
  kind: 'internal-error',
  refunded: true,
  fault: { code: 'managerlost', message: 'The build manager was lost while it had a worker started.' },
};

/** What nobody looks after: all that managers have who are gone, and attempts whose lease stands still. */
export interface Lost {
  readonly managers: readonly string[];
  readonly leases: readonly SeenLease[];
}

export function isNothing({ managers, leases }: Lost): boolean {
  return managers.length === 0 && leases.length === 0;
}

interface Held {
  readonly id: string;
  readonly manager: string | null;
  readonly lease_until: number | null;
}

/** Still: a lease that was extended meanwhile, by whomever, is not lost. */
function isLost({ managers, leases }: Lost, { id, manager, lease_until }: Held): boolean {
  if (manager === null) return false;
  return (
    managers.includes(manager) ||
    leases.some((seen) => seen.id === id && seen.manager === manager && seen.leaseUntil === lease_until)
  );
}

function selectLost({ sql, statements: { dialect } }: Step, { managers, leases }: Lost) {
  const ids = leases.map(({ id }) => id);
  return sql
    .selectFrom('attempts')
    .select(['id', 'epoch', 'manager', 'lease_until'])
    .where('lease_until', 'is not', null)
    .where(raw<boolean>`(${among(dialect, 'manager', managers)} or ${among(dialect, 'id', ids)})`);
}

/** Claimed, and no worker recorded: the manager that is gone may yet start one. */
export async function unrecorded(
  step: Step,
  lost: Lost,
): Promise<readonly { readonly id: string; readonly epoch: number }[]> {
  const rows = await selectLost(step, lost)
    .where('state', '=', 'scheduled')
    .where('worker', 'is', null)
    .execute();
  return rows.filter((row) => isLost(lost, row));
}

/** One of those, if nothing has changed about it. */
export async function holdUnrecorded(
  step: Step,
  { id, epoch }: { readonly id: string; readonly epoch: number },
  lost: Lost,
): Promise<HeldAttempt | undefined> {
  const held = await holdAttempt(step, id as AttemptId, epoch, { mayEndBuild: true });
  if (held === undefined) return undefined;
  const { state, worker } = held.attempt;
  return state === 'scheduled' && worker === null && isLost(lost, held.attempt) ? held : undefined;
}

/** All else of it is supervised and published by `manager` from now on. */
export async function takeOver(
  step: Step,
  lost: Lost,
  manager: string,
  lease: number,
): Promise<{ readonly attempts: readonly RunningAttempt[]; readonly unpublished: readonly BuildId[] }> {
  const { dialect } = step.statements;
  // Locked in the order of their ids, as everybody locks several.
  const rows = await selectLost(step, lost)
    .where((where) => where.or([where('state', '!=', raw.lit('scheduled')), where('worker', 'is not', null)]))
    .orderBy('id')
    .$if(dialect === 'postgres', (query) => query.forUpdate())
    .execute();
  const ids = rows.filter((row) => isLost(lost, row)).map(({ id }) => id);
  await step.sql
    .updateTable('attempts')
    .set({ manager, lease_until: step.now + lease })
    .where(among(dialect, 'id', ids))
    .execute();
  const builds = await step.sql
    .updateTable('builds')
    .set({ publisher: manager, publish_until: step.now + lease })
    .where('publisher', 'is not', null)
    .where(among(dialect, 'publisher', lost.managers))
    .returning('id')
    .execute();
  return {
    attempts: await loadAttempts(step.sql, ids),
    unpublished: builds.map(({ id }) => step.buildId(id)),
  };
}
