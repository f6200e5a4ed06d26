import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import { scratchPostgres } from '../../test/harness/scratch-database.ts';
import { databaseSuite } from './database.suite.ts';
import { Database, type Sql } from './database.ts';
import { sendAhead, sendTogether } from './pipeline.ts';

databaseSuite('PostgreSQL', scratchPostgres);

describe('a PostgreSQL server', () => {
  it('may be gone, refuse a password, or end a connection: each has its code', async () => {
    await using scratch = await scratchPostgres();
    if (scratch.options.provider !== 'postgres') throw new Error('not PostgreSQL');
    const wrong = new URL(scratch.options.url);
    wrong.password = 'wrong';
    await expect(Database.open({ provider: 'postgres', url: wrong.href })).rejects.toMatchObject({
      code: 'refused',
    });
    await expect(
      Database.open({ provider: 'postgres', url: 'postgres://a:b@127.0.0.1:1/none' }),
    ).rejects.toMatchObject({ code: 'unavailable' });
    const ended = scratch.database.transaction(async (transaction) => {
      await sql`select pg_terminate_backend(pg_backend_pid())`.execute(transaction);
    });
    await expect(ended).rejects.toMatchObject({ code: 'unavailable' });
    expect(await scratch.database.sql.selectFrom('users').selectAll().execute()).toEqual([]);
  });

  it('says of a text that it does not take that it is the text', async () => {
    await using scratch = await scratchPostgres();
    const { sql: db } = scratch.database;
    const found = (value: string) =>
      db.selectFrom('users').select('username').where('username', '=', value).execute();
    await expect(found('a\0b')).rejects.toMatchObject({ name: 'SqlError', code: 'bad-text' });
    await expect(
      scratch.database.statement(async (on) => await sql`select ${'"a\\u0000b"'}::jsonb`.execute(on)),
    ).rejects.toMatchObject({ code: 'bad-text' });
  });

  it('is migrated by several managers at once', async () => {
    await using scratch = await scratchPostgres();
    await sql`drop schema public cascade`.execute(scratch.database.sql);
    await sql`create schema public`.execute(scratch.database.sql);
    const opened = await Promise.all([1, 2, 3].map(() => Database.open(scratch.options)));
    for (const database of opened) {
      expect(await database.sql.selectFrom('builds').selectAll().execute()).toEqual([]);
      await database.stop();
    }
  });

  it('is asked on with statements that a newer server made out of date', async () => {
    await using scratch = await scratchPostgres();
    if (scratch.options.provider !== 'postgres') throw new Error('not PostgreSQL');
    const database = await Database.open({ ...scratch.options, connections: 1 });
    const anns = (sql: Sql) => sql.selectFrom('users').selectAll().where('username', '=', 'ann').execute();
    const prepared = async () => {
      const { rows } = await sql<{ name: string }>`
        select name from pg_prepared_statements where statement like '%from "users"%' and ${1} = 1
      `.execute(database.sql);
      return rows.map(({ name }) => name);
    };
    for (let n = 0; n < 5; n += 1) expect(await anns(database.sql)).toEqual([]);
    const before = await prepared();
    expect(before).toHaveLength(1);

    await sql`alter table users add column nickname text`.execute(scratch.database.sql);
    expect(await anns(database.sql)).toEqual([]);
    for (let n = 0; n < 5; n += 1) await anns(database.sql);
    await sql`alter table users add column shoe_size text`.execute(scratch.database.sql);
    let tries = 0;
    const inTransaction = await database.transaction(async (transaction) => {
      tries += 1;
      return await anns(transaction);
    });
    expect({ inTransaction, tries }).toEqual({ inTransaction: [], tries: 2 });

    // As a pool in between does, or an administrator.
    for (let n = 0; n < 5; n += 1) await anns(database.sql);
    await sql`deallocate all`.execute(database.sql);
    expect(await anns(database.sql)).toEqual([]);
    await database.stop();
  });

  it('tells the first failure of what is sent together, and nothing of it has happened', async () => {
    await using scratch = await scratchPostgres();
    const { database } = scratch;
    const clock = (turn: string) =>
      sql`insert into queue_clocks (priority, turn) values (1, ${turn}::float8)`;
    for (const statements of [
      [sql`select 1 / ${0}::int`, sql`select pg_sleep(0.05)`, clock('1')],
      [clock('1'), sql`select 1 / ${0}::int`, sql`select pg_sleep(0.05)`],
    ] as const) {
      const failing = database.transaction(async (transaction) => {
        await sendTogether(transaction, statements);
      });
      await expect(failing).rejects.toMatchObject({ message: expect.stringContaining('division by zero') });
    }
    const ahead = database.transaction(async (transaction) => {
      await sendAhead(transaction, sql`select 1 / ${0}::int`);
      await sql`select ${1}::int`.execute(transaction);
    });
    await expect(ahead).rejects.toMatchObject({ message: expect.stringContaining('division by zero') });
    const atCommit = database.transaction(async (transaction) => {
      await clock('1').execute(transaction);
      await sendAhead(transaction, sql`select 1 / ${0}::int`);
    });
    await expect(atCommit).rejects.toMatchObject({ message: expect.stringContaining('division by zero') });
    expect(await database.sql.selectFrom('queue_clocks').selectAll().execute()).toEqual([]);
    expect(
      await sendTogether(database.sql, [sql`select ${1}::int as a`, sql`select ${2}::int as b`]),
    ).toEqual([[{ a: 1 }], [{ b: 2 }]]);
  });

  it('repeats a transaction whole whose last statement is no longer prepared', async () => {
    await using scratch = await scratchPostgres();
    if (scratch.options.provider !== 'postgres') throw new Error('not PostgreSQL');
    const database = await Database.open({ ...scratch.options, connections: 1 });
    const step = (row: string) =>
      database.transaction(async (transaction) => {
        await sql`select 1`.execute(transaction);
        await sendAhead(transaction, sql`insert into queue_clocks (priority, turn) values (${row}::int, 1)`);
        await sendAhead(
          transaction,
          sql`update queue_clocks set turn = turn + ${1}::int where priority = ${row}::int`,
        );
      });
    for (let n = 0; n < 5; n += 1) await step(`${n}`);
    await sql`deallocate all`.execute(database.sql);
    await step('5');
    const rows = await database.sql.selectFrom('queue_clocks').selectAll().orderBy('priority').execute();
    expect(rows).toEqual([0, 1, 2, 3, 4, 5].map((priority) => ({ priority, turn: 2 })));
    await database.stop();
  });
});
