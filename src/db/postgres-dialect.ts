import {
  type CompiledQuery,
  type DatabaseConnection,
  type Driver,
  PostgresDialect as KyselyPostgresDialect,
  type QueryResult,
  type TransactionSettings,
} from 'kysely';
import { type CustomTypesConfig, types } from 'pg';
import { fromPostgres } from './sql-error.ts';

const bigintOid = 20;

/** bigint columns come as numbers: they hold milliseconds, bytes and counts, all far below 2⁵³. */
export const postgresTypes: CustomTypesConfig = {
  getTypeParser: ((oid: number, format: 'text' | 'binary') =>
    oid === bigintOid ? Number : types.getTypeParser(oid, format)) as CustomTypesConfig['getTypeParser'],
};

/** Kysely's PostgreSQL dialect, with every error made an SqlError. */
export class PostgresDialect extends KyselyPostgresDialect {
  override createDriver(): Driver {
    return new TranslatingDriver(super.createDriver());
  }
}

class TranslatingDriver implements Driver {
  readonly #driver: Driver;
  readonly #inner = new WeakMap<DatabaseConnection, DatabaseConnection>();

  constructor(driver: Driver) {
    this.#driver = driver;
  }

  init(): Promise<void> {
    return translated(this.#driver.init());
  }

  async acquireConnection(): Promise<DatabaseConnection> {
    const inner = await translated(this.#driver.acquireConnection());
    const outer = new TranslatingConnection(inner);
    this.#inner.set(outer, inner);
    return outer;
  }

  beginTransaction(connection: DatabaseConnection, settings: TransactionSettings): Promise<void> {
    return translated(this.#driver.beginTransaction(this.#unwrap(connection), settings));
  }

  commitTransaction(connection: DatabaseConnection): Promise<void> {
    return translated(this.#driver.commitTransaction(this.#unwrap(connection)));
  }

  rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    return translated(this.#driver.rollbackTransaction(this.#unwrap(connection)));
  }

  releaseConnection(connection: DatabaseConnection): Promise<void> {
    return this.#driver.releaseConnection(this.#unwrap(connection));
  }

  destroy(): Promise<void> {
    return this.#driver.destroy();
  }

  #unwrap(connection: DatabaseConnection): DatabaseConnection {
    return this.#inner.get(connection) ?? connection;
  }
}

class TranslatingConnection implements DatabaseConnection {
  readonly #connection: DatabaseConnection;

  constructor(connection: DatabaseConnection) {
    this.#connection = connection;
  }

  executeQuery<Row>(query: CompiledQuery): Promise<QueryResult<Row>> {
    return translated(this.#connection.executeQuery<Row>(query));
  }

  streamQuery<Row>(query: CompiledQuery, chunkSize: number): AsyncIterableIterator<QueryResult<Row>> {
    return this.#connection.streamQuery<Row>(query, chunkSize);
  }
}

async function translated<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (thrown) {
    throw fromPostgres(thrown);
  }
}
