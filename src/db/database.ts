import { chmodSync, closeSync, openSync } from 'node:fs';
import { Kysely, type Transaction } from 'kysely';
import { Pool, type PoolConfig } from 'pg';
import { messageOf } from '../base/coded-error.ts';
import type { DialectName } from './column-types.ts';
import { migrate } from './migrations.ts';
import { PostgresDialect, postgresTypes } from './postgres-dialect.ts';
import { preparing } from './prepared-statements.ts';
import type { Schema } from './schema.ts';
import { fromPostgres, SqlError } from './sql-error.ts';
import { SqliteDialect } from './sqlite-dialect.ts';

export type DatabaseOptions =
  | {
      readonly provider: 'sqlite';
      /** A path, or ":memory:". A new file can be read by its owner only. */
      readonly file: string;
      readonly maxPages?: number;
    }
  | {
      readonly provider: 'postgres';
      /** postgresql://user:password@host:port/database */
      readonly url: string;
      /** Connections at most; 10 unless given. */
      readonly connections?: number;
      /** Told when a connection breaks; it is replaced by itself. */
      readonly onError?: (error: SqlError) => void;
    };

export type Sql = Kysely<Schema>;
export type SqlTransaction = Transaction<Schema>;

/**
 * Every statement has its index. After a burst of new rows the statistics are behind, and then PostgreSQL would read
 * whole tables, or compile code for a statement that takes a millisecond. An index is read in its order, for rows that
 * are locked are locked in that order.
 */
const planning = 'set enable_seqscan = off; set enable_bitmapscan = off; set jit = off';

/** How often a transaction that lost against another one is tried in all. */
const transactionTries = 10;

/**
 * An open database with an up-to-date schema. Whoever opens it stops it, after everything that uses it has
 * stopped. All errors are SqlErrors.
 */
export class Database implements AsyncDisposable {
  readonly dialect: DialectName;
  readonly sql: Sql;
  /** For the connections that listen; PostgreSQL only. */
  readonly url: string | undefined;
  readonly #pool: Pool | undefined;

  private constructor(dialect: DialectName, sql: Sql, url?: string, pool?: Pool) {
    this.dialect = dialect;
    this.sql = sql;
    this.url = url;
    this.#pool = pool;
  }

  /** Opens and migrates. Throws SqlError `unavailable`, `refused`, `corrupt`, `newer-schema`, `disk-full`. */
  static async open(options: DatabaseOptions): Promise<Database> {
    const database = options.provider === 'sqlite' ? openSqlite(options) : openPostgres(options);
    try {
      await migrate(database.sql as Kysely<unknown>, database.dialect);
      return database;
    } catch (thrown) {
      await database.stop();
      throw thrown;
    }

    function openSqlite({ file, maxPages }: Extract<DatabaseOptions, { provider: 'sqlite' }>): Database {
      if (file !== ':memory:') makePrivate(file);
      const dialect = new SqliteDialect({ file, ...(maxPages === undefined ? {} : { maxPages }) });
      return new Database('sqlite', new Kysely<Schema>({ dialect }));
    }

    function openPostgres(given: Extract<DatabaseOptions, { provider: 'postgres' }>): Database {
      const pool = new Pool({
        connectionString: given.url,
        max: given.connections ?? 10,
        // A new connection costs more than hundreds of statements: logging in, and making plans again.
        idleTimeoutMillis: 300_000,
        types: postgresTypes,
        application_name: 'slipway',
        connectionTimeoutMillis: 10_000,
        // Statements of one connection may follow each other without waiting: see pipeline.ts.
        pipeline: true,
      } as PoolConfig);
      const tell = (thrown: unknown) => given.onError?.(fromPostgres(thrown));
      pool.on('error', tell);
      // A connection that breaks while it is in use says so here as well as to the query.
      pool.on('connect', (client) => {
        client.on('error', tell);
        client.query(planning).catch(tell);
      });
      return new Database(
        'postgres',
        new Kysely<Schema>({ dialect: new PostgresDialect({ pool: preparing(pool) }) }),
        given.url,
        pool,
      );
    }
  }

  /**
   * Runs `work` in one transaction: all of it happens, or nothing. `work` may run more than once, when it lost
   * against another transaction, so it touches nothing but the database.
   */
  async transaction<T>(work: (transaction: SqlTransaction) => Promise<T>): Promise<T> {
    return this.statement((sql) => sql.transaction().execute(work));
  }

  /** Runs one statement, a transaction of its own without the round trips of one; repeated as `transaction` is. */
  async statement<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await work(this.sql);
      } catch (thrown) {
        const again = thrown instanceof SqlError && thrown.code === 'serialization';
        if (!again || attempt >= transactionTries) throw thrown;
      }
    }
  }

  /** How the connections of the pool are used; undefined for SQLite, which has no pool. */
  connections(): { readonly idle: number; readonly busy: number; readonly waiting: number } | undefined {
    if (this.#pool === undefined) return undefined;
    const { totalCount, idleCount, waitingCount } = this.#pool;
    return { idle: idleCount, busy: totalCount - idleCount, waiting: waitingCount };
  }

  async stop(): Promise<void> {
    await this.sql.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** The database holds password hashes and sealed secrets, and its -wal and -shm files take over its mode. */
function makePrivate(file: string): void {
  try {
    closeSync(openSync(file, 'a', 0o600));
    chmodSync(file, 0o600);
  } catch (thrown) {
    throw new SqlError(
      'unavailable',
      `The database file ${file} cannot be opened (${messageOf(thrown)}). Check that its folder exists and can be written.`,
      thrown,
    );
  }
}
