import { sql } from 'kysely';
import { among } from '../db/row-set.ts';
import { admitNext } from './places.ts';
import type { Step } from './step.ts';

/**
 * Gives the places of builds that got final to those that wait for them. Mostly nobody does, which one statement finds
 * out for all of them. The caller holds the locks of their namespaces.
 */
export async function admitWaiting(step: Step, finalBuildIds: readonly string[]): Promise<void> {
  const { dialect } = step.statements;
  if (dialect === 'postgres') {
    const { rows } = await sql<{ admitted: string | null; namespace: string; repository: string }>`
      select * from slipway_admit(${finalBuildIds}::text[])
    `.execute(step.sql);
    for (const { admitted, namespace, repository } of rows) {
      if (admitted === null) await admitNext(step, namespace, repository);
      else step.changes.push({ kind: 'queued', buildId: step.buildId(admitted) });
    }
    return;
  }
  const { rows } = await sql<{ namespace: string; repository: string }>`
    select distinct ended.namespace, ended.repository from builds as ended
    where ${among(dialect, 'ended.id', finalBuildIds)} and (
      exists (select 1 from builds as next where next.namespace = ended.namespace
        and next.repository = ended.repository and next.admitted = 0 and next.finished_at is null)
      or exists (select 1 from namespaces where name = ended.namespace and max_running is not null))
  `.execute(step.sql);
  for (const { namespace, repository } of rows) await admitNext(step, namespace, repository);
}
