import { sql } from 'kysely';
import type { Row } from '../db/schema.ts';
import { limitsOf, seekPlace } from './places.ts';
import type { Step } from './step.ts';
import { supersede } from './supersede.ts';

/**
 * After an attempt of a build was given back unstarted: a build has started when an attempt of it has. One that has not is
 * as any other that waits, so what was asked for meanwhile counts against it. A newer one under its key supersedes it, and
 * one of higher priority gets its place. The caller holds the locks of the namespace and the build.
 */
export async function unstart(
  step: Step,
  { id, namespace, repository }: Pick<Row<'builds'>, 'id' | 'namespace' | 'repository'>,
): Promise<void> {
  const build = await step.sql
    .updateTable('builds')
    .set((set) => ({
      started_at: set
        .selectFrom('attempts')
        .select((select) => select.fn.min('scheduled_at').as('first'))
        .whereRef('attempts.build_id', '=', 'builds.id'),
    }))
    .where('id', '=', id)
    .returning(['number', 'priority', 'newest_key', 'started_at'])
    .executeTakeFirst();
  if (build === undefined || build.started_at !== null) return;
  if (build.newest_key !== null) {
    const newest = await step.sql
      .selectFrom('builds')
      .select(['id', 'namespace', 'repository', 'newest_key'])
      .where('namespace', '=', namespace)
      .where('repository', '=', repository)
      .where('newest_key', '=', build.newest_key)
      .where('number', '>', build.number)
      .where('finished_at', 'is', null)
      .orderBy('number', 'desc')
      .limit(1)
      .executeTakeFirst();
    if (newest !== undefined) await supersede(step, newest, []);
  }
  const { maxRunning } = await limitsOf(step, namespace);
  const urgent = await step.sql
    .selectFrom('builds')
    .select(['repository', 'priority'])
    .where('namespace', '=', namespace)
    // Where the namespace has a limit, the place may serve any of its repositories.
    .$if(maxRunning === undefined, (query) => query.where('repository', '=', repository))
    .where('admitted', '=', sql.lit(0))
    .where('finished_at', 'is', null)
    .where('priority', '>', build.priority)
    .orderBy('priority', 'desc')
    .orderBy('number')
    .limit(1)
    .executeTakeFirst();
  if (urgent !== undefined) await seekPlace(step, namespace, urgent.repository, urgent.priority);
}
