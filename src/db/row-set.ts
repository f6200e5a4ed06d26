import { type RawBuilder, sql } from 'kysely';
import type { DialectName } from './column-types.ts';

/** What a column of a row set holds. */
export type RowSetColumn = 'text' | 'int' | 'real';

const postgresType: Readonly<Record<RowSetColumn, string>> = {
  text: 'text',
  int: 'bigint',
  real: 'double precision',
};

/**
 * Values as rows, for statements that change or read many rows at once: `… from ${rowSet(…)}`. It is one parameter, so
 * the statement's text stays the same however many rows there are, and a prepared one fits always.
 */
export function rowSet<Columns extends Readonly<Record<string, RowSetColumn>>>(
  dialect: DialectName,
  alias: string,
  columns: Columns,
  rows: readonly { readonly [name in keyof Columns]: string | number | null }[],
): RawBuilder<unknown> {
  const json = JSON.stringify(rows);
  const names = Object.keys(columns);
  if (dialect === 'postgres') {
    const typed = names.map(
      (name) => sql`${sql.ref(name)} ${sql.raw(postgresType[columns[name] ?? 'text'])}`,
    );
    return sql`json_to_recordset(${json}::json) as ${sql.ref(alias)} (${sql.join(typed)})`;
  }
  const taken = names.map((name) => sql`value ->> ${sql.lit(name)} as ${sql.ref(name)}`);
  return sql`(select ${sql.join(taken)} from json_each(${json})) as ${sql.ref(alias)}`;
}

/** `column in (…)` with one parameter for the whole list. */
export function among(dialect: DialectName, column: string, values: readonly string[]): RawBuilder<boolean> {
  return dialect === 'postgres'
    ? sql<boolean>`${sql.ref(column)} = any(${values}::text[])`
    : sql<boolean>`${sql.ref(column)} in (select value from json_each(${JSON.stringify(values)}))`;
}
