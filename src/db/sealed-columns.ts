import type { Row, Schema } from './schema.ts';

/**
 * A column that holds what a SecretBox sealed. A row's secret is bound to the row by its purpose, which is made of the
 * primary key alone: that never changes.
 */
export interface SealedColumn {
  readonly table: keyof Schema;
  readonly column: string;
  /** The whole primary key. */
  readonly key: readonly string[];
  /** In the plural, for people. */
  readonly what: string;
  /** How it is stored: as bytes, or as JSON text with their base64. */
  readonly form: 'bytes' | 'json';
  /** Of a table whose other rows hold no secret: the value of `key` that does. */
  readonly only?: string;
  purpose(row: Readonly<Record<string, unknown>>): string;
}

/** One that knows what its rows are, for the store that seals. */
type SealedColumnOf<Table extends keyof Schema, Key extends keyof Row<Table>> = Omit<
  SealedColumn,
  'purpose'
> & { purpose(row: Readonly<Pick<Row<Table>, Key>>): string };

function sealed<const Table extends keyof Schema, const Key extends keyof Row<Table> & string>(
  what: string,
  table: Table,
  column: keyof Row<Table> & string,
  key: readonly Key[],
  purpose: (row: Readonly<Pick<Row<Table>, Key>>) => string,
  more: { readonly form?: 'json'; readonly only?: string } = {},
): SealedColumnOf<Table, Key> {
  return { what, table, column, key, purpose, form: 'bytes', ...more };
}

/**
 * All of them: what `slipway admin rotate-key` seals anew. A new one is a line here; it holds bytes, and is named `sealed`
 * or `…_sealed` (null: no secret). Stores take the purpose from here. A purpose that is changed makes what is stored unreadable.
 */
export const sealedColumns = {
  buildSecrets: sealed(
    'build secrets',
    'build_secrets',
    'sealed',
    ['build_id', 'id'],
    (row) => `build-secret ${row.build_id} ${row.id}`,
  ),
  registryPasswords: sealed(
    'passwords of registries',
    'registries',
    'password_sealed',
    ['namespace', 'name'],
    (row) => `registry password ${row.namespace}/${row.name}`,
  ),
  signingKeys: sealed('signing keys', 'settings', 'value_json', ['name'], (row) => row.name, {
    form: 'json',
    only: 'signing-keys',
  }),
};

export const allSealedColumns: readonly SealedColumn[] = Object.values(sealedColumns);
