import { sql } from 'kysely';
import type { Database } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import { type DeliveryWork, workOf } from './delivery-rows.ts';

/** Any number that no other advisory lock has. */
const lockKey = 0x54_52_49_47;

/**
 * Takes deliveries that wait, in the order of their arrival; until `lease` milliseconds have passed nobody else gets them.
 * Of one trigger and ref a delivery is taken only together with, or after, all before it: builds of a branch are asked for
 * in the order of its pushes, whoever does it.
 */
export async function claimDeliveries(
  database: Database,
  { now, lease, limit }: { readonly now: number; readonly lease: number; readonly limit: number },
): Promise<readonly DeliveryWork[]> {
  return await database.transaction(async (db) => {
    // One claim at a time, over all managers: otherwise each could take one of two that belong in an order.
    if (database.dialect === 'postgres')
      await sql`select pg_advisory_xact_lock(${sql.lit(lockKey)})`.execute(db);
    const { rows } = await sql<Row<'trigger_deliveries'>>`
      update trigger_deliveries set due_at = ${now + lease}, tries = tries + 1
      where number in (
        select d.number from trigger_deliveries as d
        where d.outcome = 'waiting' and d.due_at <= ${now}
          and not exists (
            select 1 from trigger_deliveries as earlier
            where earlier.trigger_id = d.trigger_id and earlier.ref = d.ref and earlier.outcome = 'waiting'
              and earlier.number < d.number and earlier.due_at > ${now})
        order by d.due_at, d.number limit ${limit})
      returning *
    `.execute(db);
    return rows.sort((a, b) => a.number - b.number).map(workOf);
  });
}
