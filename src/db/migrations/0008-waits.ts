import { type Kysely, sql } from 'kysely';
import type { ColumnTypes, DialectName } from '../column-types.ts';

/** As in 0002-managers.ts, where the reasons are. */
const plans = `set plan_cache_mode = force_generic_plan
  set jit = off
  set enable_seqscan = off
  set enable_bitmapscan = off
  set enable_hashjoin = off
  set enable_mergejoin = off`;

/**
 * A claim in one round trip; what it does is told in src/queue/claim.ts. The one of 0002-managers.ts let an attempt wait
 * for as long as the clock of whoever queued it was ahead.
 */
const claim = `create or replace function slipway_claim(
    claimer text, wanted bigint, capacity bigint, lease bigint, at bigint)
  returns table (
    id text, job_id text, build_id text, epoch bigint,
    namespace text, repository text, platform text, tries_left bigint)
  language plpgsql
  ${plans}
  set enable_sort = off
as $claim$
#variable_conflict use_column
declare
  room bigint;
  seen text[];
  taken text[];
  taken_jobs text[];
  taken_builds text[];
begin
  perform pg_advisory_xact_lock(20763, 0);
  select least(wanted, capacity - count(*)) into room from attempts where lease_until is not null;
  if room <= 0 then
    return;
  end if;
  seen := array(
    select a.id
      from attempts a join builds b on b.id = a.build_id
      where a.ready = 1 and (a.available_at <= at or a.delayed_at > at)
      order by a.priority desc, a.turn, a.queued_at, a.id
      limit room
      for update of b skip locked);
  if cardinality(seen) = 0 then
    return;
  end if;
  with moved as (
    update attempts a
      set state = 'scheduled', ready = 0, manager = claimer, lease_until = at + lease, scheduled_at = at
      where a.id = any (seen) and a.ready + 0 = 1
      returning a.id, a.job_id, a.build_id)
    select array_agg(moved.id), array_agg(moved.job_id), array_agg(moved.build_id)
      into taken, taken_jobs, taken_builds from moved;
  if taken is null then
    return;
  end if;
  update jobs j set tries_left = j.tries_left - 1 where j.id = any (taken_jobs);
  update builds b
    set started_at = coalesce(b.started_at, at),
        phase = case when (
            select 1 from attempts o
              where o.build_id = b.id and o.scheduled_at is null and o.done_at is null limit 1) = 1
          then b.phase else 'build-scheduled' end
    where b.id = any (taken_builds);
  insert into queue_clocks as c (priority, turn)
    select a.priority, max(a.turn) from attempts a where a.id = any (taken) group by a.priority
    on conflict (priority) do update set turn = excluded.turn where c.turn < excluded.turn;
  insert into queue_turns as t (namespace, priority, next_turn)
    select a.namespace, a.priority,
        max(a.turn) + 1 / coalesce((select n.weight from namespaces n where n.name = a.namespace), 1)
      from attempts a where a.id = any (taken) group by a.namespace, a.priority
    on conflict (namespace, priority) do update
      set next_turn = excluded.next_turn where t.next_turn < excluded.next_turn;
  return query
    select a.id, a.job_id, a.build_id, a.epoch, a.namespace::text, b.repository::text, j.platform, j.tries_left
      from attempts a
        cross join lateral (
          select e.platform, e.tries_left from jobs e where e.id = a.job_id offset 0) as j
        cross join lateral (select e.repository from builds e where e.id = a.build_id offset 0) as b
      where a.id = any (taken)
      order by array_position(seen, a.id);
end
$claim$`;

/** Attempts wait for as long as they were told to, also when a manager's time of day is wrong. */
export async function waits(db: Kysely<unknown>, { int }: ColumnTypes, dialect: DialectName): Promise<void> {
  const statements = [
    `alter table attempts add column delayed_at ${int} not null default 0`,
    ...(dialect === 'postgres' ? [claim] : []),
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}
