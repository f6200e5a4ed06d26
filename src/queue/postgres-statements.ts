import { sql as raw } from 'kysely';
import { Client } from 'pg';
import { backOff } from '../base/back-off.ts';
import { type Clock, systemClock } from '../base/clock.ts';
import type { SqlTransaction } from '../db/database.ts';
import { sendAhead } from '../db/pipeline.ts';
import { among } from '../db/row-set.ts';
import { fromPostgres } from '../db/sql-error.ts';
import { parseBuildId } from '../model/ids.ts';
import { type ClaimedRow, claimedAttempt } from './claim.ts';
import type { QueueChange, QueueChanges, QueueStatements } from './queue-statements.ts';

/**
 * First key of the advisory locks, so that they are ours among those of the database. The second is a namespace's hash,
 * or 0 for the lock of claims (src/db/migrations/0002-managers.ts).
 */
const lockSpace = 0x51_1b;

export const postgresStatements: QueueStatements = {
  /** Made by src/db/migrations/0002-managers.ts. */
  async claim({ sql }, now, { manager, limit, capacity, lease }) {
    const { rows } = await raw<ClaimedRow>`
      select * from slipway_claim(${manager}, ${limit}, ${Math.min(capacity, Number.MAX_SAFE_INTEGER)}, ${lease}, ${now})
    `.execute(sql);
    return rows.map((row) => claimedAttempt(row, { manager, now, lease }));
  },

  dialect: 'postgres',

  /** Two namespaces may share a hash: then they wait for each other, no more. 0 is the lock of claims. */
  async lockNamespace(sql, namespace) {
    await sendAhead(
      sql,
      raw`select pg_advisory_xact_lock(${raw.lit(lockSpace)},
        case hashtext(${namespace}) when 0 then 1 else hashtext(${namespace}) end)`,
    );
  },

  async lockNamespaces(sql, namespaces) {
    if (namespaces.length === 0) return;
    await sendAhead(
      sql,
      raw`select pg_advisory_xact_lock(${raw.lit(lockSpace)}, key) from (
        select distinct case hashtext(name) when 0 then 1 else hashtext(name) end as key
        from unnest(${namespaces}::text[]) as name order by key) as keys`,
    );
  },

  async lockBuild(sql, buildId) {
    await sql.selectFrom('builds').select('id').where('id', '=', buildId).forUpdate().execute();
  },

  async lockFreeBuilds(sql, buildIds) {
    const rows = await sql
      .selectFrom('builds')
      .select('id')
      .where('id', 'in', buildIds)
      .forUpdate()
      .skipLocked()
      .execute();
    return new Set(rows.map(({ id }) => id));
  },

  async lockUnpublished(sql, now, { limit, living }) {
    const rows = await sql
      .selectFrom('builds')
      .select('id')
      .where('publish_until', '<=', now)
      .where(raw<boolean>`not ${among('postgres', 'publisher', living)}`)
      .orderBy('publish_until')
      .limit(limit)
      .forUpdate()
      .skipLocked()
      .execute();
    return rows.map(({ id }) => id);
  },
};

const channel = 'slipway_queue';
const kinds = ['queued', 'cancel', 'finished', 'ended'] as const;

/**
 * LISTEN and NOTIFY. Listens on a connection of its own, which is made again when it breaks; what happened in
 * between is not heard, so callers also poll.
 */
export class PostgresChanges implements QueueChanges {
  readonly #url: string;
  readonly #clock: Clock;
  readonly #onError: (error: unknown) => void;
  readonly #listeners = new Set<(change: QueueChange) => void>();
  readonly #stopping = new AbortController();
  #client: Client | undefined;
  #reconnecting: Promise<void> = Promise.resolve();

  constructor({
    url,
    clock = systemClock,
    onError = () => {},
  }: {
    readonly url: string;
    readonly clock?: Clock;
    readonly onError?: (error: unknown) => void;
  }) {
    this.#url = url;
    this.#clock = clock;
    this.#onError = onError;
  }

  async start(): Promise<void> {
    await this.#connect();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#listeners.clear();
    await this.#reconnecting;
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(this.#onError);
  }

  async announce(sql: SqlTransaction, changes: readonly QueueChange[]): Promise<void> {
    const payloads = [...new Set(changes.map(({ kind, buildId }) => `${kind} ${buildId}`))];
    if (payloads.length === 0) return;
    await sendAhead(
      sql,
      raw`select pg_notify(${raw.lit(channel)}, payload) from unnest(${payloads}::text[]) as payload`,
    );
  }

  committed(): void {}

  listen(wake: (change: QueueChange) => void): () => void {
    const listener = (change: QueueChange) => wake(change);
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #connect(): Promise<void> {
    const client = new Client({
      connectionString: this.#url,
      application_name: 'slipway listen',
      keepAlive: true,
    });
    client.on('notification', ({ payload = '' }) => this.#hear(payload));
    client.on('error', (error) => this.#lost(client, error));
    client.on('end', () => this.#lost(client, undefined));
    try {
      await client.connect();
      await client.query(`listen ${channel}`);
    } catch (thrown) {
      client.end().catch(() => {});
      throw fromPostgres(thrown);
    }
    this.#client = client;
  }

  #lost(client: Client, error: unknown): void {
    if (this.#client !== client || this.#stopping.signal.aborted) return;
    this.#client = undefined;
    client.end().catch(() => {});
    if (error !== undefined) this.#onError(fromPostgres(error));
    this.#reconnecting = this.#reconnect();
  }

  async #reconnect(): Promise<void> {
    for (let n = 0; !this.#stopping.signal.aborted; n += 1) {
      try {
        await this.#clock.sleep(backOff(n, { first: 100, cap: 5000 }), this.#stopping.signal);
        await this.#connect();
        return;
      } catch (thrown) {
        if (!this.#stopping.signal.aborted) this.#onError(thrown);
      }
    }
  }

  #hear(payload: string): void {
    const [word, id = ''] = payload.split(' ');
    const kind = kinds.find((each) => each === word);
    const buildId = parseBuildId(id);
    if (kind === undefined || buildId === undefined) return;
    for (const listener of [...this.#listeners]) listener({ kind, buildId });
  }
}
