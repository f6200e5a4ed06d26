import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import type { OpenScratch } from '../../test/harness/scratch-database.ts';
import type { Database } from './database.ts';
import { allSealedColumns } from './sealed-columns.ts';

interface Column {
  readonly table: string;
  readonly name: string;
  /** Place in the primary key, from 1; 0: not part of it. */
  readonly inKey: number;
}

async function columnsOf({ dialect, sql: on }: Database): Promise<readonly Column[]> {
  const query =
    dialect === 'sqlite'
      ? sql<Column>`
          select t.name as "table", c.name as name, c.pk as "inKey"
          from sqlite_schema t join pragma_table_info(t.name) c where t.type = 'table'`
      : sql<Column>`
          select c.relname as "table", a.attname as name,
            coalesce(array_position(i.indkey::int2[], a.attnum), -1) + 1 as "inKey"
          from pg_class c
          join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
          left join pg_index i on i.indrelid = c.oid and i.indisprimary
          where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p')`;
  const { rows } = await query.execute(on);
  return rows.map(({ table, name, inKey }) => ({ table, name, inKey: Number(inKey) }));
}

/** The register of sealed columns says what the database has. */
export function sealedColumnsSuite(name: string, open: OpenScratch): void {
  describe(`the register of sealed columns on ${name}`, () => {
    it('has every column that is named as one: else rotate-key would leave its secrets behind', async () => {
      await using scratch = await open();
      const named = (await columnsOf(scratch.database)).filter(({ name: column }) =>
        /(^|_)sealed$/.test(column),
      );
      expect(named.length).toBeGreaterThan(0);
      const registered = new Set(allSealedColumns.map(({ table, column }) => `${table}.${column}`));
      const missing = named.map(({ table, name: column }) => `${table}.${column}`);
      expect(
        missing.filter((each) => !registered.has(each)),
        'add them to src/db/sealed-columns.ts',
      ).toEqual([]);
    });

    it('knows the whole primary key of each, and names each as one that is sealed', async () => {
      await using scratch = await open();
      const columns = await columnsOf(scratch.database);
      for (const { table, column, key, form } of allSealedColumns) {
        const own = columns.filter((each) => each.table === table);
        expect(own.map((each) => each.name)).toContain(column);
        const primary = own.filter(({ inKey }) => inKey > 0).map((each) => each.name);
        expect([...key].sort(), `the primary key of ${table}`).toEqual(primary.sort());
        if (form === 'bytes') expect(column).toMatch(/(^|_)sealed$/);
      }
    });
  });
}
