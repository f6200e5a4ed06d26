import type { PostgresPool, PostgresPoolClient } from 'kysely';
import type { Pool, PoolClient } from 'pg';

/** A statement that comes this often over a connection is prepared there: what comes once would be kept for nothing. */
const usesBefore = 3;
/** Statements a connection keeps prepared, and texts it counts. Those of the product are some hundred. */
const most = 512;

/** The server no longer has the statement, or its columns have changed since (a newer server migrated the schema). */
const outdated: ReadonlySet<unknown> = new Set(['26000', '0A000']);

interface Known {
  uses: number;
  name?: string;
}

/**
 * The pool as Kysely sees it, with statements prepared by themselves: to read and plan one of ours again costs more than
 * to carry it out.
 */
export function preparing(pool: Pool): PostgresPool {
  const clients = new WeakMap<PoolClient, PreparingClient>();
  return {
    options: pool.options,
    async connect() {
      const client = await pool.connect();
      const known = clients.get(client) ?? new PreparingClient(client);
      clients.set(client, known);
      // Its type has a second form, for cursors, which nothing here uses.
      return known as unknown as PostgresPoolClient;
    },
    end: () => pool.end(),
  };
}

class PreparingClient {
  readonly #client: PoolClient;
  readonly #known = new Map<string, Known>();
  #names = 0;
  #inTransaction = false;

  constructor(client: PoolClient) {
    this.#client = client;
  }

  async query(text: string, values: unknown[]): Promise<unknown> {
    if (values.length === 0) {
      this.#note(text);
      return this.#client.query(text);
    }
    const name = this.#nameOf(text);
    // As it is now: when the answer comes, the commit may be on its way.
    const inTransaction = this.#inTransaction;
    if (name === undefined) return this.#client.query(text, values);
    try {
      return await this.#client.query({ name, text, values });
    } catch (thrown) {
      if (!outdated.has((thrown as { code?: unknown } | null)?.code)) throw thrown;
      this.#known.delete(text);
      // In a transaction that has failed with it nothing more can be done: who runs it begins again.
      if (inTransaction) throw new OutdatedStatement(thrown);
      return this.#client.query(text, values);
    }
  }

  /** With true the connection is not used again: a rollback failed, so nobody knows what it holds. */
  release(destroy?: boolean): void {
    this.#client.release(destroy);
  }

  #note(text: string): void {
    if (/^(begin|start transaction)/.test(text)) this.#inTransaction = true;
    else if (text === 'commit' || text === 'rollback') this.#inTransaction = false;
  }

  /** Absent: not prepared. A statement's name is never given again on its connection. */
  #nameOf(text: string): string | undefined {
    let known = this.#known.get(text);
    if (known === undefined) {
      if (this.#known.size >= most) return undefined;
      known = { uses: 0 };
      this.#known.set(text, known);
    }
    known.uses += 1;
    if (known.name === undefined && known.uses > usesBefore) {
      this.#names += 1;
      known.name = `slipway_${this.#names}`;
    }
    return known.name;
  }
}

/** A transaction was begun with a statement that has to be prepared again; it may be repeated. */
export class OutdatedStatement extends Error {
  constructor(cause: unknown) {
    super('a prepared statement is out of date', { cause });
    this.name = 'OutdatedStatement';
  }
}
