import { statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'kysely';
import { expect, test, vi } from 'vitest';
import { Checkpoints } from './checkpoints.ts';
import { Database } from './database.ts';

const mebibyte = 1024 * 1024;

test('what is written goes from the log to the file by itself, and the log is used anew', async () => {
  await using folder = await scratch();
  const file = join(folder.path, 'x.db');
  {
    await using database = await Database.open({ provider: 'sqlite', file });
    await sql`create table bulk (n integer primary key, bytes blob)`.execute(database.sql);
    const write = () =>
      database.transaction(async (transaction) => {
        await sql`insert into bulk (bytes) values (${Buffer.alloc(mebibyte)})`.execute(transaction);
      });
    for (let n = 0; n < 6; n += 1) await write();
    await vi.waitFor(() => expect(statSync(file).size).toBeGreaterThan(6 * mebibyte), 10_000);
    const log = statSync(`${file}-wal`).size;
    // Six more have place where the first six were.
    for (let n = 0; n < 6; n += 1) await write();
    expect(statSync(`${file}-wal`).size).toBeLessThan(log + mebibyte);
  }
  using after = new DatabaseSync(file);
  expect(after.prepare('select count(*) as n, sum(length(bytes)) as size from bulk').get()).toEqual({
    n: 12,
    size: 12 * mebibyte,
  });
  expect(after.prepare('pragma integrity_check').get()).toEqual({ integrity_check: 'ok' });
});

test('a log of little size is left alone', async () => {
  await using folder = await scratch();
  const file = join(folder.path, 'x.db');
  await using database = await Database.open({ provider: 'sqlite', file });
  const size = statSync(file).size;
  await sql`create table little (n integer)`.execute(database.sql);
  await database.transaction(async (transaction) => {
    await sql`insert into little values (1)`.execute(transaction);
  });
  await sleep(1_500);
  expect(statSync(file).size).toBe(size);
});

test('a file that cannot be opened keeps nobody from the end', async () => {
  await using folder = await scratch();
  const file = join(folder.path, 'gone', 'x.db');
  const checkpoints = new Checkpoints(file, { worthAThread: 0, pause: 1 });
  checkpoints.changed();
  await sleep(500);
  checkpoints.changed();
  await checkpoints.close();
  await checkpoints.close();
});

async function scratch() {
  const path = await mkdtemp(join(tmpdir(), 'slipway-checkpoints-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
