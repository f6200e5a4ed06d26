import { Kysely, type KyselyPlugin, sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import { migrate } from './migrations.ts';
import { SqliteDialect } from './sqlite-dialect.ts';

/** Lets so many statements through, and then none. */
function stopAfter(statements: number): KyselyPlugin {
  let left = statements;
  return {
    transformQuery({ node }) {
      if (left === 0) throw new Error('the process ended here');
      left -= 1;
      return node;
    },
    transformResult: async ({ result }) => result,
  };
}

async function schemaOf(db: Kysely<unknown>): Promise<readonly { readonly name: string }[]> {
  const { rows } = await sql<{ name: string }>`
    select type, name, sql from sqlite_schema where name not like 'sqlite_%' order by type, name`.execute(db);
  return rows;
}

describe('an upgrade of a SQLite database', () => {
  it('that is broken off at any statement goes on the next time', async () => {
    const open = () => new Kysely<unknown>({ dialect: new SqliteDialect({ file: ':memory:' }) });
    const whole = open();
    await migrate(whole, 'sqlite');
    const wanted = await schemaOf(whole);
    const steps = await sql`select name from schema_migrations order by name`.execute(whole);
    await whole.destroy();
    const db = open();
    let stops = 0;
    for (let done = false; !done; stops += 1) {
      done = await migrate(db.withPlugin(stopAfter(stops)), 'sqlite').then(
        () => true,
        () => false,
      );
      const made = (await schemaOf(db)).filter(({ name }) => !name.startsWith('schema_migrations'));
      if (!done) expect(made, `after ${stops} statements`).toEqual([]);
    }
    expect(await schemaOf(db)).toEqual(wanted);
    expect((await sql`select name from schema_migrations order by name`.execute(db)).rows).toEqual(
      steps.rows,
    );
    // References are kept to as before.
    expect((await sql`pragma foreign_keys`.execute(db)).rows).toEqual([{ foreign_keys: 1 }]);
    await db.destroy();
    expect(stops).toBeGreaterThan(100);
  });
});
