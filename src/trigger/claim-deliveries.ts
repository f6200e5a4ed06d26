import { sql } from 'kysely';
import type { Database, Sql } from '../db/database.ts';
import { rowSet } from '../db/row-set.ts';
import type { Row } from '../db/schema.ts';
import { type DeliveryWork, workOf } from './delivery-rows.ts';

/** Any number that no other advisory lock has. */
const lockKey = 0x54_52_49_47;

type Place = Pick<Row<'trigger_deliveries'>, 'number' | 'trigger_id' | 'ref'>;

export interface ClaimedDelivery extends DeliveryWork {
  /** Of its trigger. */
  readonly service: string;
}

/** Of whom none is taken. */
export interface Full {
  readonly triggers: readonly string[];
  readonly services: readonly string[];
}

/**
 * Takes deliveries that wait, in the order of their arrival; until `lease` milliseconds have passed nobody else gets them.
 * Of one trigger and ref a delivery is taken only together with, or after, all before it: builds of a branch are asked for
 * in the order of its pushes, whoever does it. So the first that wait of each ref are chosen, and then those behind them.
 */
export async function claimDeliveries(
  database: Database,
  {
    now,
    lease,
    limit,
    without,
  }: {
    readonly now: number;
    readonly lease: number;
    readonly limit: number;
    readonly without?: Full | undefined;
  },
): Promise<readonly ClaimedDelivery[]> {
  return await database.transaction(async (db) => {
    // One claim at a time, over all managers: otherwise each could take one of two that belong in an order.
    if (database.dialect === 'postgres')
      await sql`select pg_advisory_xact_lock(${sql.lit(lockKey)})`.execute(db);
    const { rows: first } = await sql<Place>`
      select d.number, d.trigger_id, d.ref from trigger_deliveries as d
      where d.outcome = 'waiting' and d.due_at <= ${now}
        and not exists (
          select 1 from trigger_deliveries as earlier
          where earlier.trigger_id = d.trigger_id and earlier.ref = d.ref and earlier.outcome = 'waiting'
            and earlier.number < d.number)
        ${exceptOf(without)}
      order by d.due_at, d.number limit ${limit}
    `.execute(db);
    const taken = first.map(({ number }) => number);
    if (first.length > 0 && first.length < limit)
      taken.push(...(await behind(db, database, first, { now, limit: limit - first.length })));
    if (taken.length === 0) return [];
    const { rows } = await sql<Row<'trigger_deliveries'> & { readonly service: string | null }>`
      update trigger_deliveries set due_at = ${now + lease}, tries = tries + 1
      where number in (select taken.number from ${rowSet(
        database.dialect,
        'taken',
        { number: 'int' },
        taken.map((number) => ({ number })),
      )})
      returning *,
        (select triggers.service from triggers where triggers.id = trigger_deliveries.trigger_id) as service
    `.execute(db);
    return rows
      .sort((a, b) => a.number - b.number)
      .map(({ service, ...row }) => ({ ...workOf(row), service: service ?? '' }));
  });
}

function exceptOf({ triggers, services }: Full = { triggers: [], services: [] }) {
  const ofTriggers = triggers.length === 0 ? sql`` : sql`and d.trigger_id not in (${sql.join(triggers)})`;
  return services.length === 0
    ? ofTriggers
    : sql`${ofTriggers} and not exists (
          select 1 from triggers as t where t.id = d.trigger_id and t.service in (${sql.join(services)}))`;
}

/** Those that come after the first of each ref, up to the one that is not due: `limit` in all. */
async function behind(
  db: Sql,
  { dialect }: Database,
  first: readonly Place[],
  { now, limit }: { readonly now: number; readonly limit: number },
): Promise<readonly number[]> {
  const { rows } = await sql<Place & Pick<Row<'trigger_deliveries'>, 'due_at'>>`
    select d.number, d.trigger_id, d.ref, d.due_at
    from ${rowSet(dialect, 'head', { number: 'int', trigger_id: 'text', ref: 'text' }, first)}
      join trigger_deliveries as d on d.trigger_id = head.trigger_id and d.ref = head.ref
    where d.outcome = 'waiting' and d.number > head.number and d.number <= (
      select max(near.number) from (
        select n.number from trigger_deliveries as n
        where n.trigger_id = head.trigger_id and n.ref = head.ref and n.outcome = 'waiting' and n.number > head.number
        order by n.number limit ${limit}) as near)
    order by d.number
  `.execute(db);
  const held = new Set<string>();
  const found: number[] = [];
  for (const { number, trigger_id, ref, due_at } of rows) {
    const lane = `${trigger_id} ${ref}`;
    if (due_at > now) held.add(lane);
    if (found.length < limit && !held.has(lane)) found.push(number);
  }
  return found;
}
