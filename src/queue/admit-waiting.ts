import { sql } from 'kysely';
import { sendTogether } from '../db/pipeline.ts';
import { among } from '../db/row-set.ts';
import type { Build } from '../model/build.ts';
import { admitNext } from './places.ts';
import { assembled, loadBuilds, readTogether } from './read-builds.ts';
import type { Step } from './step.ts';

interface Admitted {
  readonly admitted: string | null;
  readonly namespace: string;
  readonly repository: string;
}

/**
 * Gives the places of builds that got final to those that wait for them, and reads builds after it. Mostly nobody waits,
 * which one statement finds out for all of them. The caller holds the locks of their namespaces.
 */
export async function admitAndRead(
  step: Step,
  finalBuildIds: readonly string[],
  read: readonly string[],
): Promise<readonly Build[]> {
  const { dialect } = step.statements;
  if (dialect === 'sqlite') {
    if (finalBuildIds.length > 0) await admitWaiting(step, finalBuildIds);
    return loadBuilds(step.sql, read);
  }
  const admit = sql<Admitted>`select * from slipway_admit(${finalBuildIds}::text[])`;
  if (finalBuildIds.length === 0 && read.length === 0) return [];
  const [admitted, found] = await sendTogether(step.sql, [admit, readTogether(read)]);
  for (const { admitted: buildId, namespace, repository } of admitted) {
    if (buildId === null) await admitNext(step, namespace, repository);
    else step.changes.push({ kind: 'queued', buildId: step.buildId(buildId) });
  }
  return assembled(found);
}

async function admitWaiting(step: Step, finalBuildIds: readonly string[]): Promise<void> {
  const { dialect } = step.statements;
  const { rows } = await sql<{ namespace: string; repository: string }>`
    select distinct ended.namespace, ended.repository from builds as ended
    where ${among(dialect, 'ended.id', finalBuildIds)} and (
      exists (select 1 from builds as next where next.namespace = ended.namespace
        and next.repository = ended.repository and next.admitted = 0 and next.finished_at is null)
      or exists (select 1 from namespaces where name = ended.namespace and max_running is not null))
  `.execute(step.sql);
  for (const { namespace, repository } of rows) await admitNext(step, namespace, repository);
}
