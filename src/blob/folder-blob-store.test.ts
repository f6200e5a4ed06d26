import { mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { blobStoreSuite, type ScratchBlobs } from './blob-store.suite.ts';
import { FolderBlobStore } from './folder-blob-store.ts';

async function scratch(): Promise<
  ScratchBlobs & { readonly folder: string; readonly store: FolderBlobStore }
> {
  const parent = await mkdtemp(join(tmpdir(), 'slipway-blobs-'));
  const folder = join(parent, 'blobs');
  const store = new FolderBlobStore({ folder });
  await store.start();
  return {
    folder,
    store,
    async everything() {
      const entries = await readdir(folder, { recursive: true, withFileTypes: true });
      return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
    },
    [Symbol.asyncDispose]: () => rm(parent, { recursive: true }),
  };
}

blobStoreSuite('a folder', scratch);

describe('a folder of blobs', () => {
  it('is cleared of what a crash left half written, and of nothing else', async () => {
    await using blobs = await scratch();
    await blobs.store.put('uploads/a', Readable.from([Buffer.from('a')]), { limit: 10 });
    await writeFile(join(blobs.folder, '.unfinished', 'half'), 'x');
    await new FolderBlobStore({ folder: blobs.folder }).start();
    expect(await blobs.everything()).toEqual(['a']);
  });

  it('keeps what others who share it are writing', async () => {
    await using blobs = await scratch();
    const dayBefore = new Date(Date.now() - 25 * 3_600_000);
    for (const name of ['now', 'abandoned']) await writeFile(join(blobs.folder, '.unfinished', name), 'x');
    await utimes(join(blobs.folder, '.unfinished', 'abandoned'), dayBefore, dayBefore);
    await new FolderBlobStore({ folder: blobs.folder, shared: true }).start();
    expect(await blobs.everything()).toEqual(['now']);
  });

  it('can be read by its owner only', async () => {
    await using blobs = await scratch();
    await blobs.store.put('uploads/a', Readable.from([Buffer.from('a')]), { limit: 10 });
    for (const [path, mode] of [
      ['', 0o700],
      ['uploads', 0o700],
      ['uploads/a', 0o600],
    ] as const) {
      expect((await stat(join(blobs.folder, path))).mode & 0o777).toBe(mode);
    }
  });

  it('says that it cannot be written', async () => {
    await using blobs = await scratch();
    await writeFile(join(blobs.folder, 'file'), 'x');
    const put = blobs.store.put('file/a', Readable.from([Buffer.from('a')]), { limit: 10 });
    await expect(put).rejects.toMatchObject({ code: 'unavailable' });
  });
});
