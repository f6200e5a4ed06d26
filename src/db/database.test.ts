import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import { scratchFile, scratchMemory } from '../../test/harness/scratch-database.ts';
import { databaseSuite } from './database.suite.ts';
import { Database } from './database.ts';

databaseSuite('SQLite in memory', scratchMemory);
databaseSuite('SQLite in a file', scratchFile);

async function folder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'slipway-database-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

describe('a SQLite file', () => {
  it('can be read by its owner only', async () => {
    await using place = await folder();
    const file = join(place.path, 'a.db');
    await writeFile(file, '', { mode: 0o644 });
    await using database = await Database.open({ provider: 'sqlite', file });
    await database.sql.selectFrom('users').selectAll().execute();
    for (const suffix of ['', '-wal', '-shm']) {
      expect((await stat(file + suffix)).mode & 0o777).toBe(0o600);
    }
  });

  it('survives a full disk: a clear error, nothing half done, and it goes on when there is room', async () => {
    await using place = await folder();
    const file = join(place.path, 'a.db');
    const note = (database: Database, name: string) =>
      database.transaction(async (transaction) => {
        const text = 'x'.repeat(50_000);
        await transaction.insertInto('settings').values({ name, value_json: text }).execute();
        await transaction
          .insertInto('settings')
          .values({ name: `${name}-too`, value_json: text })
          .execute();
      });
    let written = 0;
    {
      await using small = await Database.open({ provider: 'sqlite', file, maxPages: 250 });
      const filling = async () => {
        for (; written < 100; written += 1) await note(small, `n${written}`);
      };
      await expect(filling()).rejects.toMatchObject({ code: 'disk-full' });
      // The connection is of use still.
      const rows = await small.sql.selectFrom('settings').select('name').execute();
      expect(rows).toHaveLength(2 * written);
      await expect(note(small, 'again')).rejects.toMatchObject({ code: 'disk-full' });
    }
    await using large = await Database.open({ provider: 'sqlite', file });
    await note(large, 'more');
    const rows = await large.sql.selectFrom('settings').select('name').execute();
    expect(rows).toHaveLength(2 * written + 2);
    expect((await sql`pragma integrity_check`.execute(large.sql)).rows).toEqual([{ integrity_check: 'ok' }]);
  });

  it('is shared with a second opener without holding up the first', async () => {
    await using place = await folder();
    const file = join(place.path, 'a.db');
    await using one = await Database.open({ provider: 'sqlite', file });
    await using two = await Database.open({ provider: 'sqlite', file });
    const add = (database: Database, name: string) =>
      database.transaction(async (transaction) => {
        await transaction.insertInto('settings').values({ name, value_json: '1' }).execute();
        await new Promise((resolve) => setImmediate(resolve));
      });
    await Promise.all(
      Array.from({ length: 10 }, (_, n) => [add(one, `one-${n}`), add(two, `two-${n}`)]).flat(),
    );
    expect(await one.sql.selectFrom('settings').select('name').execute()).toHaveLength(20);
  });

  it('says what is wrong with a file that is none, and with a folder that is not there', async () => {
    await using place = await folder();
    const file = join(place.path, 'a.db');
    await writeFile(file, 'this is no database, but it is long enough to be looked at'.repeat(20));
    await expect(Database.open({ provider: 'sqlite', file })).rejects.toMatchObject({ code: 'corrupt' });
    await expect(
      Database.open({ provider: 'sqlite', file: join(place.path, 'none', 'a.db') }),
    ).rejects.toMatchObject({ code: 'unavailable' });
  });
});
