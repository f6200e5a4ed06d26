import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BlobRange, BlobStore } from './blob-store.ts';

export interface ScratchBlobs extends AsyncDisposable {
  readonly store: BlobStore;
  /** Names of everything that is stored, finished or not. */
  everything(): Promise<readonly string[]>;
}

/** What every blob store must do. `open` gives an empty one; the suite disposes of it. */
export function blobStoreSuite(name: string, open: () => Promise<ScratchBlobs>): void {
  describe(`blob store in ${name}`, () => {
    let blobs: ScratchBlobs;
    let store: BlobStore;

    beforeEach(async () => {
      blobs = await open();
      store = blobs.store;
    });

    afterEach(async () => {
      await blobs[Symbol.asyncDispose]();
    });

    const limit = 1 << 20;

    async function content(key: string, range?: BlobRange): Promise<Buffer | undefined> {
      const found = await store.get(key, range);
      return found === undefined ? undefined : buffer(found.stream);
    }

    it('gives back what was put', async () => {
      const bytes = randomBytes(300_000);
      const pieces = Readable.from([bytes.subarray(0, 1000), bytes.subarray(1000)]);
      expect(await store.put('uploads/a-1', pieces, { limit })).toEqual({
        size: bytes.length,
        sha256: createHash('sha256').update(bytes).digest('hex'),
      });
      const found = await store.get('uploads/a-1');
      expect(found?.size).toBe(bytes.length);
      found?.stream.destroy();
      expect(await content('uploads/a-1')).toEqual(bytes);
      expect(await content('uploads/a-1', { start: 299_990 })).toEqual(bytes.subarray(299_990));
    });

    it('gives any part of a blob, and the size of the whole', async () => {
      const bytes = randomBytes(1000);
      await store.put('ranges', Readable.from([bytes]), { limit });
      for (const [range, part] of [
        [{ start: 0, end: 1 }, bytes.subarray(0, 1)],
        [{ start: 10, end: 990 }, bytes.subarray(10, 990)],
        [{ end: 5 }, bytes.subarray(0, 5)],
        [{ start: 990, end: 5000 }, bytes.subarray(990)],
        [{ start: 1000 }, Buffer.alloc(0)],
        [{ start: 5000 }, Buffer.alloc(0)],
        [{ start: 20, end: 20 }, Buffer.alloc(0)],
      ] as const) {
        const found = await store.get('ranges', range);
        expect(found?.size).toBe(1000);
        expect(found && (await buffer(found.stream)), JSON.stringify(range)).toEqual(part);
      }
      expect(await store.get('nothing', { start: 10 })).toBeUndefined();
    });

    it('lets a reader leave at any time', async () => {
      await store.put('left', Readable.from([randomBytes(500_000)]), { limit });
      for (let read = 0; read < 20; read += 1) {
        const found = await store.get('left');
        if (read % 2 === 0) for await (const piece of found?.stream ?? []) if (piece.length > 0) break;
        found?.stream.destroy();
      }
      expect(await content('left')).toHaveLength(500_000);
    });

    it('stores nothing at all, and exactly as much as is allowed', async () => {
      expect(await store.put('empty', Readable.from([]), { limit: 0 })).toMatchObject({ size: 0 });
      expect(await content('empty')).toHaveLength(0);
      expect(await store.put('full', Readable.from([randomBytes(10)]), { limit: 10 })).toMatchObject({
        size: 10,
      });
    });

    it('refuses what is too large as soon as it is, and keeps nothing of it', async () => {
      let sent = 0;
      const endless = Readable.from(
        (function* () {
          for (;;) {
            sent += 1000;
            yield Buffer.alloc(1000);
          }
        })(),
      );
      await expect(store.put('big', endless, { limit: 5000 })).rejects.toMatchObject({ code: 'too-large' });
      expect(sent).toBeLessThan(100_000);
      expect(endless.destroyed).toBe(true);
      expect(await store.get('big')).toBeUndefined();
      expect(await blobs.everything()).toEqual([]);
    });

    it('keeps nothing of a source that breaks off', async () => {
      const broken = Readable.from(
        (function* () {
          yield Buffer.alloc(10);
          throw new Error('connection lost');
        })(),
      );
      await expect(store.put('part', broken, { limit })).rejects.toMatchObject({ code: 'interrupted' });
      expect(await blobs.everything()).toEqual([]);
    });

    it('ends with its signal', async () => {
      const leaving = new AbortController();
      const silent = new Readable({ read() {} });
      const put = store.put('never', silent, { limit, signal: leaving.signal });
      const reason = new Error('the client left');
      silent.push(Buffer.alloc(10));
      leaving.abort(reason);
      await expect(put).rejects.toBe(reason);
      expect(await blobs.everything()).toEqual([]);
    });

    it('replaces a blob as a whole', async () => {
      await store.put('a', Readable.from([Buffer.from('old and long')]), { limit });
      await store.put('a', Readable.from([Buffer.from('new')]), { limit });
      expect((await content('a'))?.toString()).toBe('new');
    });

    it('removes, also what is not there', async () => {
      await store.put('x/a', Readable.from([Buffer.from('a')]), { limit });
      await store.remove('x/a');
      await store.remove('x/a');
      await store.remove('y/b/c');
      expect(await store.get('x/a')).toBeUndefined();
      expect(await store.get('x')).toBeUndefined();
      expect(await store.get('x/a/b')).toBeUndefined();
    });

    it.each([
      '',
      '/',
      '..',
      '../a',
      'a/../b',
      '/a',
      'a/',
      'a//b',
      'A',
      'a.b',
      'a\0',
      'a b',
      'ä',
      'x'.repeat(600),
    ])('refuses the key %j', async (key) => {
      const source = () => Readable.from([Buffer.from('a')]);
      await expect(store.put(key, source(), { limit })).rejects.toMatchObject({ code: 'bad-key' });
      await expect(store.get(key)).rejects.toMatchObject({ code: 'bad-key' });
      await expect(store.remove(key)).rejects.toMatchObject({ code: 'bad-key' });
    });
  });
}
