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
 * What the function of 0002-managers.ts does, with as many statements for many builds as for one: that one took a third
 * of the time of an end. The attempts of a namespace and a priority get their turns one after another, as if they had been
 * admitted one by one; none of them may begin before its namespace's last one.
 */
const admit = `create or replace function slipway_admit(ended text[])
  returns table (admitted text, namespace text, repository text)
  language plpgsql
  ${plans}
as $admit$
#variable_conflict use_column
declare
  chosen text[];
  moved text[];
  turns double precision[];
begin
  return query
    select distinct null::text, e.namespace::text, e.repository::text
      from builds e
        cross join lateral (
          select 1 from namespaces n where n.name = e.namespace and n.max_running is not null offset 0) as own
      where e.id = any (ended);
  chosen := array(
    select next.id
      from (select distinct e.namespace, e.repository from builds e where e.id = any (ended) offset 0) as lane
        cross join lateral (
          select b.id, b.priority, b.number from builds b
            where b.namespace = lane.namespace and b.repository = lane.repository
              and b.admitted = 0 and b.finished_at is null
            order by b.priority desc, b.number
            limit greatest(0,
              coalesce((select r.concurrency from repositories r
                  where r.namespace = lane.namespace and r.name = lane.repository), 1)
              - (select count(*) from builds o
                  where o.namespace = lane.namespace and o.repository = lane.repository and o.admitted = 1))) as next
      where not exists (
          select 1 from namespaces n where n.name = lane.namespace and n.max_running is not null)
      order by lane.namespace, next.priority desc, lane.repository, next.number);
  if cardinality(chosen) = 0 then
    return;
  end if;
  update builds b set admitted = 1 where b.id = any (chosen);
  select array_agg(placed.id), array_agg(placed.base + (placed.nth - 1) * placed.one)
    into moved, turns
    from (
      select mine.id,
          row_number() over (
            partition by mine.namespace, mine.priority order by mine.place, mine.id) as nth,
          1 / coalesce((select n.weight from namespaces n where n.name = mine.namespace), 1) as one,
          greatest(0,
            (select c.turn from queue_clocks c where c.priority = mine.priority),
            (select t.next_turn from queue_turns t
              where t.namespace = mine.namespace and t.priority = mine.priority),
            (select max(r.turn) + 1 / coalesce((select n.weight from namespaces n where n.name = mine.namespace), 1)
              from attempts r
              where r.namespace = mine.namespace and r.priority = mine.priority and r.ready = 1)) as base
        from (
          select a.id, a.namespace, a.priority, array_position(chosen, a.build_id) as place
            from attempts a where a.build_id = any (chosen) and a.state = 'queued' offset 0) as mine) as placed;
  update attempts a set ready = 1, turn = turns[array_position(moved, a.id)] where a.id = any (moved);
  return query
    select b.id::text, b.namespace::text, b.repository::text from builds b where b.id = any (chosen);
end
$admit$`;

/** Places of many builds that ended go to those that wait for them at once. */
export async function admitTogether(
  db: Kysely<unknown>,
  _types: ColumnTypes,
  dialect: DialectName,
): Promise<void> {
  if (dialect === 'postgres') await sql.raw(admit).execute(db);
}
