import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { beginRotation, endRotation, loadSecretKeys } from './secret-key-files.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-keys-'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

describe('the key files of a data folder', () => {
  it('are one key at first, and keep the former one until the rotation is done', async () => {
    const { key: first, former } = await loadSecretKeys(folder);
    expect(first).toHaveLength(32);
    expect(former).toEqual([]);
    const begun = await beginRotation(folder);
    expect(begun.key).not.toEqual(first);
    expect(begun.former).toEqual([first]);
    expect(await loadSecretKeys(folder)).toEqual(begun);
    for (const file of await readdir(folder))
      expect((await stat(join(folder, file))).mode & 0o777, file).toBe(0o600);
    await endRotation(folder);
    expect(await loadSecretKeys(folder)).toEqual({ key: begun.key, former: [] });
    expect(await readdir(folder)).toEqual(['database-secret-key']);
  });

  it('are the same when a rotation that did not end is begun again', async () => {
    await loadSecretKeys(folder);
    const begun = await beginRotation(folder);
    expect(await beginRotation(folder)).toEqual(begun);
  });

  it('lose no key when the process dies between keeping the former one and making the new one', async () => {
    const { key: first } = await loadSecretKeys(folder);
    const file = await readFile(join(folder, 'database-secret-key'), 'utf8');
    await writeFile(join(folder, 'database-secret-key.former'), file);
    await writeFile(join(folder, 'database-secret-key.4242'), 'half of a ke');
    expect(await loadSecretKeys(folder)).toEqual({ key: first, former: [] });
    const begun = await beginRotation(folder);
    expect(begun.key).not.toEqual(first);
    expect(begun.former).toEqual([first]);
  });

  it('leave no copy of a key that a killed rotation was writing once another one is done', async () => {
    await loadSecretKeys(folder);
    for (const name of ['database-secret-key.4242', 'database-secret-key.former.4243', 'signing-key.4244'])
      await writeFile(join(folder, name), 'a key\n');
    await beginRotation(folder);
    await endRotation(folder);
    expect((await readdir(folder)).sort()).toEqual(['database-secret-key', 'signing-key.4244']);
  });
});
