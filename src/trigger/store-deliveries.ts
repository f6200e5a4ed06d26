import { sql } from 'kysely';
import type { Database, Sql } from '../db/database.ts';
import { rowSet } from '../db/row-set.ts';
import { deliveryIdOf, outcomeColumns } from './delivery-rows.ts';
import { refRemovedBy } from './later-delivery.ts';
import type { NewDelivery, StoredDelivery } from './new-delivery.ts';
import { newDeliveryId } from './trigger.ts';

const columns = {
  id: 'text',
  trigger_id: 'text',
  delivery_key: 'text',
  name: 'text',
  came_by: 'text',
  received_at: 'int',
  event: 'text',
  ref: 'text',
  commit_sha: 'text',
  event_json: 'text',
  redelivery_of: 'text',
  asked_by: 'text',
  trace_parent: 'text',
  outcome: 'text',
  reason: 'text',
  build_id: 'text',
  due_at: 'int',
} as const;

/** Not kept with the delivery. */
const besides = { once_digest: 'text' } as const;

type Values = { readonly [name in keyof typeof columns | keyof typeof besides]: string | number | null } & {
  readonly id: string;
};

/** Milliseconds after which an equal body may be another delivery; see `NewDelivery.mayRecur`. */
const sameFor = 24 * 3_600_000;

/**
 * Keeps deliveries, each once. When all are new, as nearly always, it is one statement. `undefined`: its trigger was removed
 * meanwhile.
 */
export async function storeDeliveries(
  database: Database,
  all: readonly NewDelivery[],
  now: number,
): Promise<readonly (StoredDelivery | undefined)[]> {
  const rows = all.map((delivery) => valuesOf(delivery, now));
  const made = await database.statement((db) => insert(db, database, rows));
  const left = rows.flatMap((row, index) => (made.has(row.id) ? [] : [{ row, delivery: all[index] }]));
  const repeats =
    left.length === 0
      ? new Map<string, StoredDelivery>()
      : await database.transaction(async (db) => {
          const answers = new Map<string, StoredDelivery>();
          for (const { row, delivery } of left) {
            const answer = await again(db, database, row, delivery?.mayRecur ?? false, now);
            if (answer !== undefined) answers.set(row.id, answer);
          }
          return answers;
        });
  return rows.map(({ id }) => (made.has(id) ? { id: deliveryIdOf(id), repeated: false } : repeats.get(id)));
}

async function insert(db: Sql, { dialect }: Database, rows: readonly Values[]): Promise<ReadonlySet<string>> {
  const list = sql.join(Object.keys(columns).map((name) => sql.ref(name)));
  const taken = sql.join(Object.keys(columns).map((name) => sql.ref(`new.${name}`)));
  // Those of triggers that are gone are left out, and do not take the others with them.
  const { rows: made } = await sql<{ id: string }>`
    insert into trigger_deliveries (${list})
    select ${taken} from ${rowSet(dialect, 'new', { ...columns, ...besides }, rows)}
    where exists (select 1 from triggers where triggers.id = new.trigger_id)
      and not exists (
        select 1 from past_deliveries as past
        where past.trigger_id = new.trigger_id and past.digest = new.once_digest)
    on conflict do nothing returning id
  `.execute(db);
  return new Set(made.map(({ id }) => id));
}

/** The delivery was there before: it is counted there, unless it is new all the same. */
async function again(
  db: Sql,
  database: Database,
  row: Values,
  mayRecur: NewDelivery['mayRecur'],
  now: number,
): Promise<StoredDelivery | undefined> {
  if (mayRecur !== false) {
    const old = mayRecur === 'or-a-day' ? now - sameFor : -1;
    const otherName = row.name === null ? sql`true` : sql`(name is null or name <> ${row.name})`;
    // The old one makes room for the key.
    await sql`
      update trigger_deliveries set delivery_key = delivery_key || ' ' || id
      where trigger_id = ${row.trigger_id} and delivery_key = ${row.delivery_key}
        and ${otherName}
        and (received_at < ${old} or exists (
          select 1 from trigger_deliveries as later
          where later.trigger_id = trigger_deliveries.trigger_id and later.ref = trigger_deliveries.ref
            and later.number > trigger_deliveries.number
            and (later.commit_sha <> trigger_deliveries.commit_sha and later.outcome in ('waiting', 'queued')
              or ${refRemovedBy('later')})))
    `.execute(db);
    if ((await insert(db, database, [row])).has(row.id)) return { id: deliveryIdOf(row.id), repeated: false };
  }
  const { rows } = await sql<{ id: string }>`
    update trigger_deliveries set repeats = repeats + 1
    where number = (
      select number from trigger_deliveries where trigger_id = ${row.trigger_id}
        and (delivery_key = ${row.delivery_key} or name = ${row.name}) order by number limit 1)
    returning id
  `.execute(db);
  const [first] = rows;
  if (first !== undefined) return { id: deliveryIdOf(first.id), repeated: true };
  return (await isPast(db, row)) ? { repeated: true } : undefined;
}

async function isPast(db: Sql, row: Values): Promise<boolean> {
  const { rows } = await sql`
    select 1 from past_deliveries where trigger_id = ${row.trigger_id} and digest = ${row.once_digest}
  `.execute(db);
  return rows.length > 0;
}

function valuesOf(delivery: NewDelivery, now: number): Values {
  return {
    id: newDeliveryId(),
    trigger_id: delivery.triggerId,
    delivery_key: delivery.key,
    name: delivery.name ?? null,
    came_by: delivery.by,
    received_at: now,
    event: delivery.eventName ?? null,
    ref: delivery.ref ?? '',
    commit_sha: delivery.commit ?? null,
    event_json: delivery.event === undefined ? null : JSON.stringify(delivery.event),
    redelivery_of: delivery.redeliveryOf ?? null,
    asked_by: delivery.askedBy ?? null,
    trace_parent: delivery.traceParent ?? null,
    ...outcomeColumns(delivery.outcome),
    due_at: now,
    once_digest: delivery.onceDigest ?? null,
  };
}
