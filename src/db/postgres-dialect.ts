import {
  type CompiledQuery,
  type DatabaseConnection,
  type Driver,
  PostgresDialect as KyselyPostgresDialect,
  type QueryResult,
  type TransactionSettings,
} from 'kysely';
import { type CustomTypesConfig, types } from 'pg';
import { bundleOf, needsNoAnswer } from './pipeline.ts';
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

  constructor(driver: Driver) {
    this.#driver = driver;
  }

  init(): Promise<void> {
    return translated(this.#driver.init());
  }

  async acquireConnection(): Promise<DatabaseConnection> {
    const inner = await translated(this.#driver.acquireConnection());
    return new TranslatingConnection(inner);
  }

  /** Not waited for: what comes next goes right behind it. */
  async beginTransaction(connection: DatabaseConnection, settings: TransactionSettings): Promise<void> {
    const own = partsOf(connection);
    own.ahead(this.#driver.beginTransaction(own.inner, settings));
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    const own = partsOf(connection);
    await own.first(this.#driver.commitTransaction(own.inner));
  }

  rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    return translated(this.#driver.rollbackTransaction(partsOf(connection).inner));
  }

  releaseConnection(connection: DatabaseConnection): Promise<void> {
    return this.#driver.releaseConnection(partsOf(connection).inner);
  }

  destroy(): Promise<void> {
    return this.#driver.destroy();
  }
}

/** Taken from the pool for one transaction, or one statement. */
class TranslatingConnection implements DatabaseConnection {
  readonly inner: DatabaseConnection;
  /** The first failure of what was sent without waiting for its answer. */
  #failed: { readonly thrown: unknown } | undefined;

  constructor(inner: DatabaseConnection) {
    this.inner = inner;
  }

  async executeQuery<Row>(query: CompiledQuery): Promise<QueryResult<Row>> {
    if (needsNoAnswer(query)) {
      this.ahead(this.inner.executeQuery(query));
      return { rows: [] };
    }
    const bundle = bundleOf(query);
    if (bundle === undefined) return this.first(this.inner.executeQuery<Row>(query));
    const sent = bundle.map((each) => this.inner.executeQuery(each));
    // All of them first: the others fail after the first one, and it is the one that is told.
    await Promise.allSettled(sent);
    const all = await this.first(Promise.all(sent));
    return { rows: all.map((each) => each.rows as Row) };
  }

  ahead(work: Promise<unknown>): void {
    work.catch((thrown: unknown) => {
      this.#failed ??= { thrown };
    });
  }

  /** What `work` gives, once all that was sent before it is known to have been done. */
  async first<T>(work: Promise<T>): Promise<T> {
    const [result] = await Promise.allSettled([work]);
    if (this.#failed !== undefined) throw fromPostgres(this.#failed.thrown);
    if (result.status === 'rejected') throw fromPostgres(result.reason);
    return result.value;
  }

  streamQuery<Row>(query: CompiledQuery, chunkSize: number): AsyncIterableIterator<QueryResult<Row>> {
    return this.inner.streamQuery<Row>(query, chunkSize);
  }
}

function partsOf(connection: DatabaseConnection): TranslatingConnection {
  if (connection instanceof TranslatingConnection) return connection;
  throw new TypeError('a connection of another driver');
}

async function translated<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (thrown) {
    throw fromPostgres(thrown);
  }
}
