import { type Kysely, sql } from 'kysely';
import type { ColumnTypes } from '../column-types.ts';

/** What is kept of a delivery that is gone from the list, so that whoever saw it cannot send it again: the SHA-256 of its body. */
export async function pastDeliveries(db: Kysely<unknown>, { text, int, end }: ColumnTypes): Promise<void> {
  for (const statement of [
    `create table past_deliveries (
      trigger_id text not null references triggers (id) on delete cascade,
      digest ${text} not null,
      received_at ${int} not null,
      primary key (trigger_id, digest)
    ) ${end}`,
    `create index past_deliveries_of_trigger on past_deliveries (trigger_id, received_at)`,
    `create index past_deliveries_by_age on past_deliveries (received_at)`,
  ])
    await sql.raw(statement).execute(db);
}
