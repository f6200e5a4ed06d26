import { type RawBuilder, sql } from 'kysely';
import type { Database } from './database.ts';
import { allSealedColumns, type SealedColumn } from './sealed-columns.ts';
import { type SecretBox, SecretBoxError } from './secret-box.ts';

export interface SealAnewOptions {
  readonly database: Database;
  /** Its current key seals; its former ones are what rows are looked through for. */
  readonly secretBox: SecretBox;
  /** Counts, and changes nothing. */
  readonly dryRun?: boolean;
  readonly columns?: readonly SealedColumn[];
  /** Rows that are read at once. */
  readonly batch?: number;
  readonly signal?: AbortSignal;
  /** Told after each batch. */
  readonly onBatch?: () => Promise<void> | void;
}

/** A row whose secret does not open, by its primary key. */
export interface LockedRow {
  readonly table: string;
  readonly column: string;
  readonly key: Readonly<Record<string, unknown>>;
  /** Sealed with a key that is not configured; or the bytes were changed, or moved here from another row. */
  readonly why: 'unknown-key' | 'tampered';
}

export interface SealedCount {
  readonly what: string;
  /** Sealed with the current key, before or by this run. */
  current: number;
  /** Of these, what this run has sealed anew. */
  anew: number;
  /** Still sealed with a former key. */
  former: number;
  /** Sealed with the current or a former key, or one that is not there, and does not open. */
  locked: number;
}

export interface SealAnewResult {
  readonly counts: readonly SealedCount[];
  /** The first of the rows that do not open. */
  readonly locked: readonly LockedRow[];
}

const batchSize = 200;
const mostNamed = 100;
/** Somebody who changes a row at every moment does not keep us from the others. */
const tries = 5;
/** More do not help against a server that goes on to seal with a former key; what it has left is counted then. */
const mostPasses = 5;

/**
 * Seals with the current key what was sealed with a former one. A row is changed only if it holds what was read, so that
 * what somebody else writes meanwhile stays; each change is whole by itself, so this may be ended at any moment, and be run
 * again, and by several at once. Passes are made until one finds nothing to do.
 */
export async function sealAnew(options: SealAnewOptions): Promise<SealAnewResult> {
  const anew = new Map<SealedColumn, number>();
  for (let pass = 1; ; pass += 1) {
    const counts: SealedCount[] = [];
    const locked: LockedRow[] = [];
    let changed = 0;
    const dryRun = options.dryRun === true || pass > mostPasses;
    for (const column of options.columns ?? allSealedColumns) {
      const count: SealedCount = { what: column.what, current: 0, anew: 0, former: 0, locked: 0 };
      for await (const row of rowsOf(column, options)) await treat(row, column, count);
      changed += count.anew;
      count.anew += anew.get(column) ?? 0;
      anew.set(column, count.anew);
      counts.push(count);
    }
    if (changed === 0) return { counts, locked };

    async function treat(row: SealedRow, column: SealedColumn, count: SealedCount): Promise<void> {
      const outcome = await sealRow(row, column, { ...options, dryRun });
      if (outcome === 'gone') return;
      if (typeof outcome === 'object') {
        count.locked += 1;
        if (locked.length < mostNamed) locked.push(outcome);
        return;
      }
      if (outcome === 'anew') count.anew += 1;
      count[outcome === 'former' ? 'former' : 'current'] += 1;
    }
  }
}

interface SealedRow {
  readonly key: Readonly<Record<string, unknown>>;
  /** As it is stored. */
  readonly stored: unknown;
}

async function sealRow(
  read: SealedRow,
  column: SealedColumn,
  { database, secretBox, dryRun = false }: SealAnewOptions,
): Promise<'current' | 'former' | 'anew' | 'gone' | LockedRow> {
  let row = read;
  for (let attempt = 1; ; attempt += 1) {
    const bytes = sealedBytes(row.stored, column);
    const purpose = column.purpose(row.key);
    let secret: Uint8Array;
    try {
      secret = secretBox.open(bytes, purpose);
    } catch (error) {
      if (!(error instanceof SecretBoxError) || error.code === 'bad-key') throw error;
      return { table: column.table, column: column.column, key: row.key, why: error.code };
    }
    if (secretBox.isCurrent(bytes)) return 'current';
    if (dryRun || attempt > tries) return 'former';
    const changed = await database.statement((on) =>
      sql`update ${sql.table(column.table)}
          set ${sql.ref(column.column)} = ${storedForm(secretBox.seal(secret, purpose), column)}
          where ${isRow(row.key, column)} and ${sql.ref(column.column)} = ${row.stored}`.execute(on),
    );
    if (changed.numAffectedRows === 1n) return 'anew';
    const [now] = await readRows(column, isRow(row.key, column), 1, database);
    if (now === undefined) return 'gone';
    row = now;
  }
}

/** All rows with a secret, in the order of their keys, a batch at a time. */
async function* rowsOf(
  column: SealedColumn,
  { database, batch = batchSize, signal, onBatch }: SealAnewOptions,
): AsyncGenerator<SealedRow> {
  const keys = sql.join(column.key.map((name) => sql.ref(name)));
  const [first = ''] = column.key;
  const wanted =
    column.only === undefined ? sql<boolean>`1 = 1` : sql<boolean>`${sql.ref(first)} = ${column.only}`;
  let after = wanted;
  for (;;) {
    signal?.throwIfAborted();
    const rows = await readRows(column, after, batch, database);
    yield* rows;
    const last = rows.at(-1);
    if (last !== undefined) await onBatch?.();
    if (last === undefined || rows.length < batch) return;
    const values = sql.join(column.key.map((name) => last.key[name]));
    after = sql<boolean>`${wanted} and (${keys}) > (${values})`;
  }
}

async function readRows(
  column: SealedColumn,
  where: RawBuilder<boolean>,
  limit: number,
  database: Database,
): Promise<readonly SealedRow[]> {
  const keys = sql.join(column.key.map((name) => sql.ref(name)));
  const { rows } = await sql<Record<string, unknown>>`
    select ${keys}, ${sql.ref(column.column)} as stored from ${sql.table(column.table)}
    where ${where} and ${sql.ref(column.column)} is not null order by ${keys} limit ${limit}
  `.execute(database.sql);
  return rows.map(({ stored, ...key }) => ({ key, stored }));
}

function isRow(key: Readonly<Record<string, unknown>>, column: SealedColumn): RawBuilder<boolean> {
  return sql.join(
    column.key.map((name) => sql<boolean>`${sql.ref(name)} = ${key[name]}`),
    sql` and `,
  );
}

/** What is no sealed secret in form is empty here, and so does not open. */
function sealedBytes(stored: unknown, { form }: SealedColumn): Uint8Array {
  if (form === 'bytes') return stored instanceof Uint8Array ? stored : new Uint8Array();
  try {
    const text: unknown = JSON.parse(String(stored));
    return typeof text === 'string' ? Buffer.from(text, 'base64') : new Uint8Array();
  } catch {
    return new Uint8Array();
  }
}

function storedForm(sealed: Uint8Array, { form }: SealedColumn): Uint8Array | string {
  return form === 'bytes' ? sealed : JSON.stringify(Buffer.from(sealed).toString('base64'));
}
