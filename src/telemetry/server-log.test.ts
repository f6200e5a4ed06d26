import { mkdtemp, readFile, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openServerLog } from './server-log.ts';

test('messages go to a file of its owner alone', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'slipway-log-'));
  try {
    const file = join(folder, 'logs', 'server.log');
    openServerLog(file).info({ build: 'a' }, 'begun');
    expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({ build: 'a', msg: 'begun' });
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('a disk without room ends nothing', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'slipway-log-'));
  try {
    // Whatever is written there fails with ENOSPC.
    await symlink('/dev/full', join(folder, 'server.log'));
    const log = openServerLog(join(folder, 'server.log'));
    for (let count = 0; count < 1000; count += 1)
      expect(() => log.error({ count }, 'x'.repeat(10_000))).not.toThrow();
    // An error of the stream itself would come in a later turn.
    await new Promise((resolve) => setImmediate(resolve));
    expect((await stat(join(folder, 'server.log'))).isCharacterDevice()).toBe(true);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
