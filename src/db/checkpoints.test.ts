import { statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'kysely';
import { describe, expect, test, vi } from 'vitest';
import { Checkpoints } from './checkpoints.ts';
import { Database } from './database.ts';

const kibibyte = 1024;

describe('a checkpoint', () => {
  function watched() {
    let copied = 0;
    const checkpoints = new Checkpoints(
      () => {
        copied += 1;
      },
      { transactions: 3, quiet: 20 },
    );
    return { checkpoints, copies: () => copied };
  }

  function transactions(checkpoints: Checkpoints, count: number): void {
    for (let n = 0; n < count; n += 1) {
      checkpoints.used();
      checkpoints.committed();
      checkpoints.free();
    }
  }

  test('is made once nobody has used the database for a while, and once for what was written', async () => {
    const { checkpoints, copies } = watched();
    transactions(checkpoints, 5);
    expect(copies()).toBe(0);
    await vi.waitFor(() => expect(copies()).toBe(1));
    transactions(checkpoints, 2);
    await sleep(60);
    expect(copies()).toBe(1);
    transactions(checkpoints, 1);
    await vi.waitFor(() => expect(copies()).toBe(2));
  });

  test('is not made while somebody has the database', async () => {
    const { checkpoints, copies } = watched();
    transactions(checkpoints, 5);
    checkpoints.used();
    await sleep(60);
    expect(copies()).toBe(0);
    checkpoints.free();
    await vi.waitFor(() => expect(copies()).toBe(1));
  });
});

test('what is written goes from the log to the file in quiet moments, and the log is used anew', async () => {
  await using folder = await scratch();
  const file = join(folder.path, 'x.db');
  {
    await using database = await Database.open({ provider: 'sqlite', file });
    await sql`create table bulk (n integer primary key, bytes blob)`.execute(database.sql);
    const written = 30 * 10 * kibibyte;
    const write = async () => {
      for (let n = 0; n < 30; n += 1) {
        await database.transaction(async (transaction) => {
          await sql`insert into bulk (bytes) values (${Buffer.alloc(10 * kibibyte)})`.execute(transaction);
        });
      }
    };
    const before = statSync(file).size;
    await write();
    await vi.waitFor(() => expect(statSync(file).size).toBeGreaterThan(before + written / 2), 10_000);
    const log = statSync(`${file}-wal`).size;
    for (let n = 0; n < 4; n += 1) {
      await write();
      await sleep(50);
    }
    // Far below SQLite's own checkpoint, and yet it does not grow with what is written.
    expect(statSync(`${file}-wal`).size).toBeLessThan(log + 2 * written);
  }
  using after = new DatabaseSync(file);
  expect(after.prepare('select count(*) as n from bulk').get()).toEqual({ n: 150 });
  expect(after.prepare('pragma integrity_check').get()).toEqual({ integrity_check: 'ok' });
});

async function scratch() {
  const path = await mkdtemp(join(tmpdir(), 'slipway-checkpoints-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
