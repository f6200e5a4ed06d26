import { type Kysely, sql } from 'kysely';
import type { ColumnTypes, DialectName } from '../column-types.ts';

/**
 * Many appends to logs in one round trip, for PostgreSQL; who calls it and what it is given stands in
 * src/log/append-many.ts. When a log is not plain, nothing happens, and SW001 names those in its detail.
 *
 * Attempts are locked in the order of their ids, as an index is read for an array of them (connections have bitmap scans
 * switched off), logs in the order of theirs, so that groups do not wait for each other. Those of workers come before those
 * of stages: two managers that each write both, each for the other's build too, may meet; then one of them tries again.
 *
 * Rows of tables are found by such arrays and their keys only; what joins is what was given, in memory, so that the plan
 * stays good however the tables grow. The function has no settings of its own: those are a fifth of what a small group
 * costs.
 */
const append = `create function slipway_append(
    given json, workers text[], stages text[], cut json, payload bytea, most bigint)
  returns json
  language plpgsql
as $append$
declare
  answer json;
  odd json;
begin
  with item as materialized (
    select * from json_to_recordset(given) as i (n bigint, build_id text, attempt_id text, epoch bigint,
      sequence bigint, stage bigint, closed_at bigint,
      entries bigint, bytes bigint, at int, length int)
  ),
  counted as (
    update attempts a set log_sequence = a.log_sequence + 1
      where a.id = any (workers) and a.lease_until is not null
        and (a.id, a.build_id, a.epoch, a.log_sequence + 1) in (
          select attempt_id, build_id, epoch, sequence from item where sequence is not null)
      returning a.id
  ),
  entered as (
    update attempts a set log_stage = (select i.stage from item i where i.attempt_id = a.id)
      where a.id = any (stages) and (a.id, a.build_id, a.epoch) in (
          select attempt_id, build_id, epoch from item where stage is not null)
        and a.log_stage < (select i.stage from item i where i.attempt_id = a.id)
      returning a.id
  ),
  good as materialized (
    select item.n, item.build_id, item.closed_at, item.entries, item.bytes, item.at, item.length from item
      where item.attempt_id is null or item.attempt_id in (select id from counted union all select id from entered)
  ),
  head as (
    insert into log_heads as known (build_id, total, bytes, closed_at)
      select build_id, entries, bytes, closed_at from good order by build_id
      on conflict (build_id) do update set total = known.total + excluded.total,
        bytes = known.bytes + excluded.bytes, closed_at = excluded.closed_at
      where known.closed_at is null and known.cut_at is null and known.carry is null
        and known.bytes + excluded.bytes <= most
      returning build_id, total
  ),
  done as materialized (
    select good.n, good.build_id, good.entries, good.bytes, good.at, good.length, head.total
      from good left join head on head.build_id = good.build_id
  ),
  stored as (
    insert into log_chunks (build_id, first_index, entries, bytes, data)
      select done.build_id, done.total - done.entries, done.entries, done.bytes,
          substring(payload from done.at for done.length)
        from done where done.total is not null and done.at is not null
      union all
      select done.build_id, done.total - done.entries + p.before, p.entries, p.bytes,
          substring(payload from p.at for p.length)
        from json_to_recordset(cut) as p (n bigint, before bigint, entries bigint, bytes bigint, at int, length int)
          join done on done.n = p.n
        where done.total is not null
  )
  select json_agg(json_build_array(done.n, done.total)), json_agg(done.n) filter (where done.total is null)
    into answer, odd from done;
  if odd is not null then
    raise exception 'not all of these logs are plain' using errcode = 'SW001', detail = odd::text;
  end if;
  return coalesce(answer, '[]'::json);
end
$append$`;

export async function appendFunction(
  db: Kysely<unknown>,
  _types: ColumnTypes,
  dialect: DialectName,
): Promise<void> {
  if (dialect === 'postgres') await sql.raw(append).execute(db);
}
