import { type RawBuilder, sql } from 'kysely';
import type { Clock } from '../base/clock.ts';
import { cutText } from '../base/cut-text.ts';
import { GroupCommit } from '../base/group-commit.ts';
import type { Database } from '../db/database.ts';
import { rowSet } from '../db/row-set.ts';
import { SqlError } from '../db/sql-error.ts';
import { type ClaimedDelivery, claimDeliveries, type Full } from './claim-deliveries.ts';
import { type DeliveryWork, deliveryOf, longestReason, outcomeColumns, workOf } from './delivery-rows.ts';
import { noOtherLater } from './later-delivery.ts';
import { bodyKey, type NewDelivery, type StoredDelivery } from './new-delivery.ts';
import { storeDeliveries } from './store-deliveries.ts';
import type { DeliveryId, TriggerId } from './trigger.ts';
import type { Delivery, DeliveryOutcome } from './triggers.ts';

interface Finish {
  readonly id: DeliveryId;
  readonly outcome: DeliveryOutcome;
  /** The build's commit, when the host is to be told how it goes. */
  readonly report?: { readonly triggerId: TriggerId; readonly build: string; readonly commit: string };
}

const finishColumns = { id: 'text', outcome: 'text', reason: 'text', build_id: 'text' } as const;
const reportColumns = { build_id: 'text', trigger_id: 'text', commit_sha: 'text', now: 'int' } as const;

/** Deliveries of one trigger that stay, and for how long they do; none goes within the last hour. */
const kept = 200;
const keptFor = 30 * 24 * 3_600_000;
const youngest = 3_600_000;

/**
 * Of what goes, bodies that are new once only are remembered: for so many milliseconds since they came, and so many of one
 * trigger.
 */
const remembered = { for: 365 * 24 * 3_600_000, most: 10_000 };

/** Deliveries in the database. What many ask for at once is written together. */
export class SqlDeliveryStore {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #stores: GroupCommit<NewDelivery, StoredDelivery | undefined>;
  readonly #finishes: GroupCommit<Finish, undefined>;

  constructor({ database, clock }: { readonly database: Database; readonly clock: Clock }) {
    this.#database = database;
    this.#clock = clock;
    const mayDivide = (thrown: unknown) =>
      thrown instanceof SqlError && ['failed', 'bad-text', 'constraint', 'foreign-key'].includes(thrown.code);
    this.#stores = new GroupCommit({
      commit: (all) => storeDeliveries(database, all, clock.now()),
      // One delivery has up to some hundred kilobytes.
      weight: { of: (delivery) => JSON.stringify(delivery.event ?? null).length, most: 4 * 1024 * 1024 },
      mayDivide,
    });
    this.#finishes = new GroupCommit({
      commit: (all) => this.#finishAll(all),
      mayDivide,
      // Nobody waits for it.
      gather: { milliseconds: 25, busy: 3, enough: 16 },
    });
  }

  /** Durable when it resolves. Undefined: the trigger is gone. */
  async store(delivery: NewDelivery): Promise<StoredDelivery | undefined> {
    return await this.#stores.submit(delivery);
  }

  async claim(limit: number, lease: number, without?: Full): Promise<readonly ClaimedDelivery[]> {
    return await claimDeliveries(this.#database, { now: this.#clock.now(), lease, limit, without });
  }

  async finish(finish: Finish): Promise<void> {
    await this.#finishes.submit(finish);
  }

  /** Gives a claimed delivery back, for somebody to take at `dueAt`. */
  async postpone(id: DeliveryId, dueAt: number, reason: string | undefined): Promise<void> {
    await this.#database.sql
      .updateTable('trigger_deliveries')
      .set({ due_at: dueAt, ...(reason === undefined ? {} : { reason: cutText(reason, longestReason) }) })
      .where('id', '=', id)
      .where('outcome', '=', 'waiting')
      .execute();
  }

  async list(id: TriggerId, limit: number, before: DeliveryId | undefined): Promise<readonly Delivery[]> {
    let rows = this.#database.sql
      .selectFrom('trigger_deliveries')
      .selectAll()
      .where('trigger_id', '=', id)
      .orderBy('number', 'desc')
      .limit(limit);
    if (before !== undefined)
      rows = rows.where('number', '<', (from) =>
        from
          .selectFrom('trigger_deliveries as cursor')
          .select('cursor.number')
          .where('cursor.id', '=', before),
      );
    return (await rows.execute()).map(deliveryOf);
  }

  async find(id: DeliveryId): Promise<Delivery | undefined> {
    const row = await this.#row(id);
    return row === undefined ? undefined : deliveryOf(row);
  }

  /** What it asks to be built; undefined: nothing, or it is not there. */
  async work(id: DeliveryId): Promise<DeliveryWork | undefined> {
    const row = await this.#row(id);
    return row === undefined || row.event_json === null ? undefined : workOf(row);
  }

  /**
   * Whether a commit of a ref was found by looking since then, is built, and no other one came after it. What was found and
   * waits may fail yet: its delivery has to stand on its own then.
   */
  async foundBefore(id: TriggerId, ref: string, commit: string, since: number): Promise<boolean> {
    const row = await this.#database.sql
      .selectFrom('trigger_deliveries')
      .select('id')
      .where('trigger_id', '=', id)
      .where('ref', '=', ref)
      .where('commit_sha', '=', commit)
      .where('came_by', '=', 'poll')
      .where('outcome', '=', 'queued')
      .where('received_at', '>=', since)
      .where(noOtherLater)
      .limit(1)
      .executeTakeFirst();
    return row !== undefined;
  }

  /**
   * Whether, of the same ref, something that came after a delivery waits to be built. What somebody sent again is as old as
   * what it was sent again of.
   */
  async isOvertaken(id: DeliveryId): Promise<boolean> {
    const { rows } = await sql`
      with recursive origin (number, trigger_id, ref, commit_sha, redelivery_of) as (
        select number, trigger_id, ref, commit_sha, redelivery_of from trigger_deliveries where id = ${id}
        union all
        select coalesce(d.number, 0), origin.trigger_id, origin.ref, origin.commit_sha, d.redelivery_of
        from origin left join trigger_deliveries as d on d.id = origin.redelivery_of
        where origin.redelivery_of is not null)
      select 1 from trigger_deliveries as later join origin
        on later.trigger_id = origin.trigger_id and later.ref = origin.ref
      where origin.redelivery_of is null and later.number > origin.number and later.came_by <> 'person'
        and (later.commit_sha is null or origin.commit_sha is null or later.commit_sha <> origin.commit_sha)
        and (later.outcome = 'waiting' or later.outcome = 'queued' and exists (
          select 1 from builds
          where builds.id = later.build_id and builds.started_at is null and builds.finished_at is null))
      limit 1
    `.execute(this.#database.sql);
    return rows.length > 0;
  }

  /** Builds of a namespace that have not started, counted up to `most`. */
  async unstarted(namespace: string, most: number): Promise<number> {
    const rows = await this.#database.sql
      .selectFrom('builds')
      .select('id')
      .where('namespace', '=', namespace)
      .where('started_at', 'is', null)
      .where('finished_at', 'is', null)
      .limit(most)
      .execute();
    return rows.length;
  }

  /** Removes what is old, of every trigger; says how much that was. */
  async prune(signal: AbortSignal): Promise<number> {
    const now = this.#clock.now();
    const { sql: db } = this.#database;
    let removed = await this.#remove(sql`received_at < ${now - keptFor}`);
    await db
      .deleteFrom('past_deliveries')
      .where('received_at', '<', now - remembered.for)
      .execute();
    for (let after = ''; !signal.aborted; ) {
      const triggers = await db
        .selectFrom('triggers')
        .select('id')
        .where('id', '>', after)
        .orderBy('id')
        .limit(500)
        .execute();
      for (const { id } of triggers) {
        if (signal.aborted) break;
        removed += await this.#pruneTrigger(id, now);
      }
      const last = triggers.at(-1);
      if (last === undefined) break;
      after = last.id;
    }
    return removed;
  }

  async #pruneTrigger(id: string, now: number): Promise<number> {
    const { sql: db } = this.#database;
    const first = await db
      .selectFrom('trigger_deliveries')
      .select('number')
      .where('trigger_id', '=', id)
      .orderBy('number', 'desc')
      .offset(kept)
      .limit(1)
      .executeTakeFirst();
    if (first === undefined) return 0;
    const removed = await this.#remove(
      sql`trigger_id = ${id} and number <= ${first.number} and received_at < ${now - youngest}
        and outcome <> 'waiting'`,
    );
    if (removed > 0)
      await sql`
        delete from past_deliveries where trigger_id = ${id} and received_at < (
          select received_at from past_deliveries where trigger_id = ${id}
          order by received_at desc limit 1 offset ${remembered.most - 1})
      `.execute(db);
    return removed;
  }

  async #remove(which: RawBuilder<unknown>): Promise<number> {
    const { sql: db } = this.#database;
    const digest = sql`substr(delivery_key, ${sql.lit(bodyKey.length + 1)}, 64)`;
    const isOnce = sql`(came_by = 'hook' and delivery_key like ${`${bodyKey}%`}
      and trigger_id in (select id from triggers where service in ('github', 'custom-git')))`;
    // Committed before the rows go: who waits for the key of a row that is being removed must find the digest.
    await sql`
      insert into past_deliveries (trigger_id, digest, received_at)
      select trigger_id, ${digest}, received_at from trigger_deliveries
      where ${which} and ${isOnce}
      on conflict do nothing
    `.execute(db);
    // A row that is to go only since a moment ago has its turn the next time.
    const { numAffectedRows } = await sql`
      delete from trigger_deliveries
      where ${which} and (not ${isOnce} or exists (
        select 1 from past_deliveries as past
        where past.trigger_id = trigger_deliveries.trigger_id and past.digest = ${digest}))
    `.execute(db);
    return Number(numAffectedRows ?? 0);
  }

  async #finishAll(all: readonly Finish[]): Promise<undefined[]> {
    const { dialect } = this.#database;
    const now = this.#clock.now();
    const ends = all.map(({ id, outcome }) => ({ id, ...outcomeColumns(outcome) }));
    const reports = all.flatMap(({ report }) =>
      report === undefined
        ? []
        : [{ build_id: report.build, trigger_id: report.triggerId, commit_sha: report.commit, now }],
    );
    await this.#database.transaction(async (db) => {
      await sql`
        update trigger_deliveries set outcome = new.outcome, reason = new.reason, build_id = new.build_id
        from ${rowSet(dialect, 'new', finishColumns, ends)}
        where trigger_deliveries.id = new.id and trigger_deliveries.outcome = 'waiting'
      `.execute(db);
      if (reports.length === 0) return;
      await sql`
        insert into host_reports (build_id, trigger_id, commit_sha, due_at, created_at)
        select new.build_id, new.trigger_id, new.commit_sha, new.now, new.now
        from ${rowSet(dialect, 'new', reportColumns, reports)}
        where exists (select 1 from triggers where triggers.id = new.trigger_id)
        on conflict do nothing
      `.execute(db);
    });
    return all.map(() => undefined);
  }

  async #row(id: DeliveryId) {
    return await this.#database.sql
      .selectFrom('trigger_deliveries')
      .selectAll()
      .where('id', '=', id)
      .executeTakeFirst();
  }
}
