import { type Kysely, sql } from 'kysely';
import type { ColumnTypes, DialectName } from '../column-types.ts';

/** Several managers on one queue, and builds that a newer one makes needless. */
export async function managers(
  db: Kysely<unknown>,
  { int, text, end }: ColumnTypes,
  dialect: DialectName,
): Promise<void> {
  const statements = [
    `create table managers (
      name ${text} primary key,
      beats ${int} not null,
      joined_at ${int} not null
    ) ${end}`,
    `create index builds_publishing on builds (publisher) where publisher is not null`,
    `alter table builds add column newest_key text`,
    `alter table builds add column superseded_by text`,
    // No index names the phase of a build or the state of an attempt, which change most often: PostgreSQL then
    // writes a change of them into the row's own page, and no index at all.
    `drop index builds_waiting`,
    `create index builds_unstarted on builds (namespace) where started_at is null and finished_at is null`,
    `create index builds_newest on builds (namespace, repository, newest_key)
      where newest_key is not null and started_at is null and finished_at is null`,
    `create index builds_finished on builds (namespace, finished_at) where finished_at is not null`,
    `drop index attempts_queued`,
    `create index attempts_waiting on attempts (build_id) where scheduled_at is null and done_at is null`,
    ...(dialect === 'postgres' ? postgresOnly : []),
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}

/** Room in the pages for the next versions of rows, and rows that are over cleared away before they are in the way. */
const vacuum = `autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500,
  autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0`;

/**
 * Plans must not depend on statistics, which know nothing of a queue that was empty a minute ago, nor on how large the
 * tables were when a plan was made and kept. So rows are found by their ids in an array or by the index that fits, other
 * tables are looked up row by row (`lateral … offset 0`, `limit 1`), no other index is offered (`ready + 0`), and what
 * would read whole tables is switched off.
 */
const plans = `set plan_cache_mode = force_generic_plan
  set jit = off
  set enable_seqscan = off
  set enable_bitmapscan = off
  set enable_hashjoin = off
  set enable_mergejoin = off`;

/** A claim in one round trip; what it does is told in src/queue/claim.ts. */
const claim = `create function slipway_claim(
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
      where a.ready = 1 and a.available_at <= at
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

/**
 * Gives the places of builds that ended to those that wait in their repositories, in one round trip: what `admitNext` in
 * src/queue/places.ts does. Where a namespace has a limit of its own nothing is done, and the repository is named instead.
 */
const admit = `create function slipway_admit(ended text[])
  returns table (admitted text, namespace text, repository text)
  language plpgsql
  ${plans}
as $admit$
#variable_conflict use_column
declare
  lane record;
  next record;
  waiting record;
  own record;
  one double precision;
  turn_at double precision;
  room bigint;
begin
  for lane in select distinct e.namespace, e.repository from builds e where e.id = any (ended) loop
    namespace := lane.namespace;
    repository := lane.repository;
    select n.weight, n.max_running into own from namespaces n where n.name = lane.namespace;
    if own.max_running is not null then
      admitted := null;
      return next;
      continue;
    end if;
    one := 1 / coalesce(own.weight, 1);
    select coalesce((select r.concurrency from repositories r
            where r.namespace = lane.namespace and r.name = lane.repository), 1)
        - (select count(*) from builds b
            where b.namespace = lane.namespace and b.repository = lane.repository and b.admitted = 1)
      into room;
    continue when room <= 0;
    for next in
      select b.id, b.priority from builds b
        where b.namespace = lane.namespace and b.repository = lane.repository
          and b.admitted = 0 and b.finished_at is null
        order by b.priority desc, b.number
        limit room
    loop
      update builds b set admitted = 1 where b.id = next.id;
      select greatest(0,
          (select c.turn from queue_clocks c where c.priority = next.priority),
          (select t.next_turn from queue_turns t
            where t.namespace = lane.namespace and t.priority = next.priority),
          (select max(a.turn) + one from attempts a
            where a.namespace = lane.namespace and a.priority = next.priority and a.ready = 1))
        into turn_at;
      for waiting in
        select a.id from attempts a where a.build_id = next.id and a.state = 'queued' order by a.id
      loop
        update attempts a set ready = 1, turn = turn_at where a.id = waiting.id;
        turn_at := turn_at + one;
      end loop;
      admitted := next.id;
      return next;
    end loop;
  end loop;
end
$admit$`;

/**
 * Locks builds and their attempts and reads them, in one round trip: by ids of builds, or of attempts that run. The locks
 * and their order are those of src/queue/queue-statements.ts; `may_end`: the builds' namespaces too. Each statement
 * sees what was committed while the one before it waited.
 */
const hold = `create function slipway_hold(attempt_ids text[], build_ids text[], may_end boolean)
  returns table (builds json, parts json)
  language plpgsql
  ${plans}
as $hold$
#variable_conflict use_column
declare
  ids text[] := build_ids;
  latest text[];
begin
  if attempt_ids is not null then
    ids := array(select distinct a.build_id from attempts a
      where a.id = any (attempt_ids) and a.lease_until is not null);
  end if;
  if may_end then
    perform pg_advisory_xact_lock(20763, key) from (
      select distinct case hashtext(b.namespace) when 0 then 1 else hashtext(b.namespace) end as key
        from builds b where b.id = any (ids) order by key offset 0) as keys;
  end if;
  select json_agg(held) into builds from (
    select b.id, b.namespace, b.repository, b.priority, b.phase, b.desired, b.cancelled_by, b.verdict, b.admitted,
        b.finished_at, b.fault_json, b.digest, b.image_size, b.commit_sha, b.publisher, b.publish_until,
        case when b.request_json::json ->> 'push' = 'false' then 0 else 1 end as pushes
      from builds b where b.id = any (ids) order by b.id for update) as held;
  latest := array(select j.attempt_id from jobs j where j.build_id = any (ids));
  select json_agg(held) into parts from (
    select a.*, a.job_id as of_job, j.ordinal, j.platform, j.tries_left
      from attempts a
        cross join lateral (
          select e.ordinal, e.platform, e.tries_left from jobs e where e.id = a.job_id offset 0) as j
      where a.id = any (latest) order by a.id for update of a) as held;
  return next;
end
$hold$`;

const postgresOnly = [
  `alter table builds set (fillfactor = 70, ${vacuum})`,
  `alter table jobs set (fillfactor = 80, ${vacuum})`,
  `alter table attempts set (fillfactor = 60, ${vacuum})`,
  `alter table queue_clocks set (fillfactor = 10, autovacuum_vacuum_threshold = 50)`,
  `alter table queue_turns set (fillfactor = 50)`,
  claim,
  admit,
  hold,
];
