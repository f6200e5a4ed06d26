import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  type OpenScratch,
  type ScratchDatabase,
  scratchMemory,
  scratchPostgres,
} from '../../test/harness/scratch-database.ts';
import { systemClock } from '../base/clock.ts';
import { Database } from '../db/database.ts';
import { SecretBox } from '../db/secret-box.ts';
import { clusterKeys } from './cluster-keys.ts';

const dialects: readonly (readonly [string, OpenScratch])[] = [
  ['SQLite', scratchMemory],
  ['PostgreSQL', scratchPostgres],
];

describe.each(dialects)('%s', (_name, openScratch) => {
  let scratch: ScratchDatabase;
  const secretBox = new SecretBox({ key: randomBytes(32) });

  beforeEach(async () => {
    scratch = await openScratch();
  });

  afterEach(async () => {
    await scratch[Symbol.asyncDispose]();
  });

  test('are made once, and are the same for all who ask, also at the same moment', async () => {
    const { database } = scratch;
    const all = await Promise.all(
      Array.from({ length: 8 }, () => clusterKeys(database, secretBox, systemClock)),
    );
    const [first] = all;
    for (const keys of [...all, await clusterKeys(database, secretBox, systemClock)]) {
      expect(keys.workerToken).toBe(first?.workerToken);
      expect(keys.urls).toEqual(first?.urls);
      expect(keys.registry.kid).toBe(first?.registry.kid);
      expect(keys.registry.certificatePem).toBe(first?.registry.certificatePem);
    }
    expect(first?.urls).toHaveLength(32);
    expect(first?.workerToken).toContain('PRIVATE KEY');
  });

  test('stand sealed in the database', async () => {
    const { database } = scratch;
    const keys = await clusterKeys(database, secretBox, systemClock);
    const rows = JSON.stringify(await database.sql.selectFrom('settings').selectAll().execute());
    expect(rows).not.toContain('PRIVATE');
    expect(rows).not.toContain(keys.urls.toString('base64'));
  });

  test('cannot be read with another key, which the error says, and are not replaced', async () => {
    const { database } = scratch;
    const keys = await clusterKeys(database, secretBox, systemClock);
    const other = new SecretBox({ key: randomBytes(32) });
    await expect(clusterKeys(database, other, systemClock)).rejects.toMatchObject({
      code: 'wrong-secret-key',
      message: expect.stringContaining('DATABASE_SECRET_KEY'),
    });
    expect((await clusterKeys(database, secretBox, systemClock)).workerToken).toBe(keys.workerToken);
  });
});

test('managers with connections of their own agree', async () => {
  const scratch = await scratchPostgres();
  const secretBox = new SecretBox({ key: randomBytes(32) });
  const databases = await Promise.all(Array.from({ length: 4 }, () => Database.open(scratch.options)));
  try {
    const all = await Promise.all(databases.map((each) => clusterKeys(each, secretBox, systemClock)));
    expect(new Set(all.map(({ workerToken }) => workerToken)).size).toBe(1);
  } finally {
    for (const database of databases) await database.stop();
    await scratch[Symbol.asyncDispose]();
  }
});
