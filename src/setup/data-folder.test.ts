import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openDataFolder } from './data-folder.ts';

let root: string;
beforeEach(async () => {
  root = join(await mkdtemp(join(tmpdir(), 'slipway-data-')), 'data');
});
afterEach(async () => {
  await rm(join(root, '..'), { recursive: true });
});

const modeOf = async (path: string) => (await stat(path)).mode & 0o777;

it('gives absolute paths for a relative one', async () => {
  const folder = await openDataFolder(relative(process.cwd(), root));
  folder.release();
  expect(folder).toMatchObject({
    root,
    registry: join(root, 'registry'),
    database: join(root, 'slipway.db'),
  });
});

it('lets others pass to the workers and look at nothing', async () => {
  const folder = await openDataFolder(root);
  folder.release();
  expect(await modeOf(folder.root)).toBe(0o711);
  expect(await modeOf(folder.workers)).toBe(0o711);
  for (const part of [folder.keys, folder.blobs, folder.registry, folder.run])
    expect(await modeOf(part)).toBe(0o700);
});

it('is for one server at a time, and says which one has it', async () => {
  const folder = await openDataFolder(root);
  const second = await openDataFolder(root).catch((error: unknown) => error);
  expect(second).toMatchObject({ code: 'already-running' });
  expect(String(second)).toContain(`process ${process.pid}`);
  folder.release();
  (await openDataFolder(root)).release();
});
