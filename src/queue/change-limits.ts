import type { Sql } from '../db/database.ts';
import type { RepositoryName } from '../model/repository-name.ts';
import { admitNext } from './places.ts';
import type { NamespaceLimits } from './queue-limits.ts';
import type { Step } from './step.ts';

/** Undefined: there is no such namespace. One exists when it is somebody's, or has a repository. */
export async function namespaceLimits(sql: Sql, name: string): Promise<NamespaceLimits | undefined> {
  const row = await sql
    .selectFrom('namespaces')
    .select(['weight', 'max_running'])
    .where('name', '=', name)
    .executeTakeFirst();
  if (row !== undefined) return { weight: row.weight, maxRunning: row.max_running ?? undefined };
  const repository = await sql
    .selectFrom('repositories')
    .select('name')
    .where('namespace', '=', name)
    .limit(1)
    .executeTakeFirst();
  return repository === undefined ? undefined : { weight: 1, maxRunning: undefined };
}

/** What is not given stays. Whoever waits and now has a place gets it. */
export async function changeNamespaceLimits(
  step: Step,
  name: string,
  change: Partial<NamespaceLimits>,
): Promise<NamespaceLimits | undefined> {
  await step.statements.lockNamespace(step.sql, name);
  const before = await namespaceLimits(step.sql, name);
  if (before === undefined) return undefined;
  const after = { ...before, ...change };
  const row = { weight: after.weight, max_running: after.maxRunning ?? null };
  await step.sql
    .insertInto('namespaces')
    .values({ name, ...row, created_at: step.now })
    .onConflict((on) => on.column('name').doUpdateSet(row))
    .execute();
  await admitNext(step, name);
  return after;
}

/** Builds of the repository that may run at once. Undefined: there is no such repository. */
export async function repositoryConcurrency(
  sql: Sql,
  { namespace, name }: RepositoryName,
): Promise<number | undefined> {
  const row = await sql
    .selectFrom('repositories')
    .select('concurrency')
    .where('namespace', '=', namespace)
    .where('name', '=', name)
    .executeTakeFirst();
  return row?.concurrency;
}

/** False: there is no such repository. Whoever waits and now has a place gets it. */
export async function changeRepositoryConcurrency(
  step: Step,
  { namespace, name }: RepositoryName,
  concurrency: number,
): Promise<boolean> {
  await step.statements.lockNamespace(step.sql, namespace);
  const { numUpdatedRows } = await step.sql
    .updateTable('repositories')
    .set({ concurrency })
    .where('namespace', '=', namespace)
    .where('name', '=', name)
    .executeTakeFirst();
  if (numUpdatedRows === 0n) return false;
  await admitNext(step, namespace, name);
  return true;
}
