import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type CompiledQuery,
  type DatabaseConnection,
  type DatabaseIntrospector,
  type Dialect,
  type DialectAdapter,
  type Driver,
  type Kysely,
  type QueryCompiler,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely';
import { Checkpoints } from './checkpoints.ts';
import { fromSqlite, SqlError } from './sql-error.ts';

export interface SqliteOptions {
  /** A path, or ":memory:". */
  readonly file: string;
  /** At most so many pages of 4096 bytes; over it writes fail with `disk-full`. */
  readonly maxPages?: number;
}

/**
 * Kysely over node:sqlite. There is one connection, and it is handed to one user at a time, first come first
 * served: a transaction is never seen half done and never shares its connection. WAL with synchronous=FULL, so
 * what is committed survives a power cut. Every error thrown is an SqlError.
 */
export class SqliteDialect implements Dialect {
  readonly #options: SqliteOptions;

  constructor(options: SqliteOptions) {
    this.#options = options;
  }

  createDriver(): Driver {
    return new SqliteDriver(this.#options);
  }

  createQueryCompiler(): QueryCompiler {
    return new SqliteQueryCompiler();
  }

  createAdapter(): DialectAdapter {
    return new TransactionalSqliteAdapter();
  }

  createIntrospector(db: Kysely<unknown>): DatabaseIntrospector {
    return new SqliteIntrospector(db);
  }
}

/**
 * The schema changes in transactions, as SQLite can and Kysely does not take for granted: an upgrade that is broken off
 * leaves nothing behind, and is done from the start the next time.
 */
class TransactionalSqliteAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

class SqliteDriver implements Driver {
  readonly #options: SqliteOptions;
  readonly #waiting: ((connection: SqliteConnection) => void)[] = [];
  #connection: SqliteConnection | undefined;
  #checkpoints: Checkpoints | undefined;
  #taken = false;

  constructor(options: SqliteOptions) {
    this.#options = options;
  }

  async init(): Promise<void> {
    const connection = new SqliteConnection(this.#options);
    this.#connection = connection;
    this.#checkpoints = new Checkpoints(() => connection.checkpoint());
  }

  acquireConnection(): Promise<SqliteConnection> {
    const connection = this.#connection;
    if (connection === undefined) {
      return Promise.reject(new SqlError('unavailable', 'The database was stopped.'));
    }
    if (!this.#taken) {
      this.#taken = true;
      this.#checkpoints?.used();
      return Promise.resolve(connection);
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async releaseConnection(connection: SqliteConnection): Promise<void> {
    const next = this.#waiting.shift();
    if (next === undefined) {
      this.#taken = false;
      this.#checkpoints?.free();
    } else next(connection);
  }

  /** IMMEDIATE: a second process can make it wait here, but never fail half-way. */
  async beginTransaction(connection: SqliteConnection): Promise<void> {
    await connection.begin();
  }

  async commitTransaction(connection: SqliteConnection): Promise<void> {
    connection.run('commit');
    this.#checkpoints?.committed();
  }

  async rollbackTransaction(connection: SqliteConnection): Promise<void> {
    // SQLite has rolled back by itself after some errors, a full disk among them.
    if (connection.inTransaction) connection.run('rollback');
  }

  async destroy(): Promise<void> {
    this.#checkpoints?.used();
    this.#checkpoints = undefined;
    this.#connection?.close();
    this.#connection = undefined;
  }
}

/** Milliseconds between two looks at a file that another process has, and how long that is done. */
const busyPause = 5;
const busyPatience = 10_000;

/** How many prepared statements are kept; the product has fewer, but lists (`in (?, ?, …)`) make variants. */
const statementCacheSize = 300;

/**
 * 32 MB of the log, half of what its file may keep. What checkpoints.ts does is sooner as a rule; this one holds up somebody, for
 * 30 ms or so, and costs half of what as many pages cost in checkpoints of SQLite's own 1,000.
 */
const pagesBeforeCheckpoint = 8_000;

class SqliteConnection implements DatabaseConnection {
  readonly #database: DatabaseSync;
  /** In order of use, the longest unused first. */
  readonly #statements = new Map<string, { statement: StatementSync; returnsRows: boolean }>();

  constructor({ file, maxPages }: SqliteOptions) {
    try {
      this.#database = new DatabaseSync(file, { enableForeignKeyConstraints: true, timeout: 0 });
      this.#database.exec(`
        pragma busy_timeout = 5000;
        pragma journal_mode = wal;
        pragma synchronous = full;
        pragma temp_store = memory;
        pragma cache_size = -16000;
        pragma journal_size_limit = 67108864;
        pragma wal_autocheckpoint = ${pagesBeforeCheckpoint};
        ${maxPages === undefined ? '' : `pragma max_page_count = ${Math.trunc(maxPages)};`}
        pragma busy_timeout = 0;
      `);
    } catch (thrown) {
      throw fromSqlite(thrown);
    }
  }

  get inTransaction(): boolean {
    return this.#database.isTransaction;
  }

  begin(): Promise<void> {
    return this.#patiently(() => this.run('begin immediate'));
  }

  run(sql: string): void {
    try {
      this.#database.exec(sql);
    } catch (thrown) {
      throw fromSqlite(thrown);
    }
  }

  /** Copies what it can of the log into the file. What stands in its way will be told by a write, to who can be told of it. */
  checkpoint(): void {
    try {
      this.#database.exec('pragma wal_checkpoint(passive)');
    } catch {}
  }

  async executeQuery<Row>({ sql, parameters }: CompiledQuery): Promise<QueryResult<Row>> {
    return this.#patiently(() => {
      try {
        const { statement, returnsRows } = this.#prepare(sql);
        const values = parameters as readonly SQLInputValue[];
        if (returnsRows) return { rows: statement.all(...values) as Row[] };
        const { changes, lastInsertRowid } = statement.run(...values);
        return { rows: [], numAffectedRows: BigInt(changes), insertId: BigInt(lastInsertRowid) };
      } catch (thrown) {
        throw fromSqlite(thrown);
      }
    });
  }

  /** Waits for another process that has the file, without holding up this one: SQLite's own wait would. */
  async #patiently<T>(work: () => T): Promise<T> {
    for (let waited = 0; ; waited += busyPause) {
      try {
        return work();
      } catch (thrown) {
        const busy = thrown instanceof SqlError && thrown.code === 'serialization';
        if (!busy || this.inTransaction || waited >= busyPatience) throw thrown;
        await sleep(busyPause);
      }
    }
  }

  // biome-ignore lint/correctness/useYield: streaming is not offered; reads are paged instead
  async *streamQuery<Row>(): AsyncIterableIterator<QueryResult<Row>> {
    throw new SqlError('failed', 'Streaming is not offered over SQLite; read in pages instead.');
  }

  #prepare(sql: string) {
    const known = this.#statements.get(sql);
    if (known !== undefined) {
      this.#statements.delete(sql);
      this.#statements.set(sql, known);
      return known;
    }
    const statement = this.#database.prepare(sql);
    const made = { statement, returnsRows: statement.columns().length > 0 };
    this.#statements.set(sql, made);
    if (this.#statements.size > statementCacheSize) {
      const oldest = this.#statements.keys().next().value;
      if (oldest !== undefined) this.#statements.delete(oldest);
    }
    return made;
  }

  close(): void {
    this.#statements.clear();
    this.#database.close();
  }
}
