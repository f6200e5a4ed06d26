import { sql as raw } from 'kysely';
import type { Sql } from '../db/database.ts';
import type { BuildId } from '../model/ids.ts';

/**
 * Where a build stands. With a place in its repository: the attempts whose turn is before its own. Without: the
 * builds of its repository that have to end first; others may come in between.
 */
export async function positionOf(
  sql: Sql,
  buildId: BuildId,
): Promise<{ readonly ahead: number; readonly running: number } | undefined> {
  const build = await sql
    .selectFrom('builds')
    .select(['number', 'namespace', 'repository', 'priority', 'phase', 'admitted'])
    .where('id', '=', buildId)
    .executeTakeFirst();
  if (build === undefined || build.phase !== 'waiting') return undefined;
  const running = await countRunning(sql);
  if (build.admitted === 0) {
    const { ahead } = await sql
      .selectFrom('builds')
      .select((select) => select.fn.countAll<number>().as('ahead'))
      .where('namespace', '=', build.namespace)
      .where('repository', '=', build.repository)
      .where('finished_at', 'is', null)
      .where((where) =>
        where.or([
          where('admitted', '=', raw.lit(1)),
          where('priority', '>', build.priority),
          where.and([where('priority', '=', build.priority), where('number', '<', build.number)]),
        ]),
      )
      .executeTakeFirstOrThrow();
    return { ahead, running };
  }
  const first = await sql
    .selectFrom('attempts')
    .select(['priority', 'turn', 'queued_at', 'id'])
    .where('build_id', '=', buildId)
    .where('ready', '=', raw.lit(1))
    .orderBy('turn')
    .orderBy('queued_at')
    .orderBy('id')
    .limit(1)
    .executeTakeFirst();
  if (first === undefined) return { ahead: 0, running };
  const { ahead } = await sql
    .selectFrom('attempts')
    .select((select) => select.fn.countAll<number>().as('ahead'))
    .where('ready', '=', raw.lit(1))
    .where('build_id', '!=', buildId)
    .where((where) =>
      where.or([
        where('priority', '>', first.priority),
        where.and([
          where('priority', '=', first.priority),
          where.or([
            where('turn', '<', first.turn),
            where.and([
              where('turn', '=', first.turn),
              where.or([
                where('queued_at', '<', first.queued_at),
                where.and([where('queued_at', '=', first.queued_at), where('id', '<', first.id)]),
              ]),
            ]),
          ]),
        ]),
      ]),
    )
    .executeTakeFirstOrThrow();
  return { ahead, running };
}

export async function countRunning(sql: Sql): Promise<number> {
  const { running } = await sql
    .selectFrom('attempts')
    .select((select) => select.fn.countAll<number>().as('running'))
    .where('lease_until', 'is not', null)
    .executeTakeFirstOrThrow();
  return running;
}

export async function countQueue(
  sql: Sql,
  now: number,
): Promise<{ readonly queued: number; readonly running: number; readonly ownerless: number }> {
  const { queued } = await sql
    .selectFrom('attempts')
    .select((select) => select.fn.countAll<number>().as('queued'))
    .where('scheduled_at', 'is', null)
    .where('done_at', 'is', null)
    .executeTakeFirstOrThrow();
  const { ownerless } = await sql
    .selectFrom('attempts')
    .select((select) => select.fn.countAll<number>().as('ownerless'))
    .where('lease_until', 'is not', null)
    .where('lease_until', '<=', now)
    .executeTakeFirstOrThrow();
  return { queued, running: await countRunning(sql), ownerless };
}
