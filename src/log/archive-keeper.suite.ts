import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OpenScratch, ScratchDatabase } from '../../test/harness/scratch-database.ts';
import { ManualClock, systemClock } from '../base/clock.ts';
import { BlobError } from '../blob/blob-error.ts';
import type { BlobRange, BlobStore } from '../blob/blob-store.ts';
import { FolderBlobStore } from '../blob/folder-blob-store.ts';
import { type BuildId, newBuildId } from '../model/ids.ts';
import { StrayBlobs } from '../retention/stray-blobs.ts';
import { ArchiveKeeper, type ArchiveKeeperOptions } from './archive-keeper.ts';
import { archiveLog } from './archive-log.ts';
import {
  claimArchives,
  claimedArchives,
  countUnarchived,
  freeArchives,
  giveUpArchive,
  renewArchives,
  settleArchives,
} from './archive-rows.ts';
import type { LogRun } from './log-store.ts';
import { SqlLogStore } from './sql-log-store.ts';
import { StoredChunks } from './stored-chunks.ts';

const manager = { kind: 'manager' } as const;
const never = new AbortController().signal;

function run(text: string | Uint8Array, more: Partial<LogRun> = {}): LogRun {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  const count = bytes.reduce((sum, byte) => sum + (byte === 0x0a ? 1 : 0), 1);
  return { text: bytes, count, time: 1_700_000_000_000, ...more };
}

/** A real store that does what a test says before it does its work. */
class WilfulBlobStore implements BlobStore {
  before: (call: 'put' | 'get' | 'remove', key: string) => Promise<void> | void = () => {};
  /** Changes what is stored. */
  spoil = (source: Readable): Readable => source;
  readonly #store: BlobStore;

  constructor(store: BlobStore) {
    this.#store = store;
  }

  async put(
    key: string,
    source: Readable,
    options: { readonly limit: number; readonly signal?: AbortSignal },
  ) {
    await this.before('put', key);
    return await this.#store.put(key, source, options);
  }

  async get(key: string, range?: BlobRange) {
    await this.before('get', key);
    const found = await this.#store.get(key, range);
    return found === undefined ? undefined : { ...found, stream: this.spoil(found.stream) };
  }

  async remove(key: string): Promise<void> {
    await this.before('remove', key);
    await this.#store.remove(key);
  }
}

/** What must hold of the archive on any database. */
export function archiveSuite(name: string, open: OpenScratch): void {
  describe(`log archive on ${name}`, () => {
    let scratch: ScratchDatabase;
    let folder: string;
    let blobs: WilfulBlobStore;
    let logs: SqlLogStore;
    let errors: unknown[];
    const keepers: ArchiveKeeper[] = [];

    beforeEach(async () => {
      scratch = await open();
      folder = await mkdtemp(join(tmpdir(), 'slipway-archive-'));
      const store = new FolderBlobStore({ folder });
      await store.start();
      blobs = new WilfulBlobStore(store);
      logs = new SqlLogStore(scratch.database, { archives: blobs });
      await logs.start();
      errors = [];
    });

    afterEach(async () => {
      for (const keeper of keepers.splice(0)) await keeper.stop();
      await logs.stop();
      await scratch[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    });

    function keep(options: Partial<ArchiveKeeperOptions> = {}): ArchiveKeeper {
      const keeper = new ArchiveKeeper({
        database: scratch.database,
        blobs,
        clock: systemClock,
        poll: 200,
        retry: { first: 20, cap: 100 },
        onClosed: (wake) => logs.onClosed(wake),
        onError: (error) => errors.push(error),
        ...options,
      });
      keepers.push(keeper);
      keeper.start();
      return keeper;
    }

    async function closedLog(runs: readonly LogRun[], { batch = 3 } = {}): Promise<BuildId> {
      const id = newBuildId();
      for (let at = 0; at < runs.length; at += batch) {
        await logs.append(id, manager, runs.slice(at, at + batch));
        if (at % 2 === 0)
          await logs.appendEntry(id, { type: 'phase', message: `phase ${at}`, data: { at, ä: '\u0000' } });
      }
      await logs.close(id, [{ type: 'phase', message: 'complete', data: { digest: 'sha256:…' } }]);
      return id;
    }

    async function archived(id: BuildId): Promise<void> {
      const row = await scratch.database.sql
        .selectFrom('log_heads')
        .select('archived_at')
        .where('build_id', '=', id)
        .executeTakeFirst();
      if ((row?.archived_at ?? null) !== null) return;
      await new Promise((resolve) => setTimeout(resolve, 10));
      await archived(id);
    }

    async function rowsOf(table: 'log_chunks' | 'log_archives' | 'stray_blobs' | 'log_remainders') {
      return await scratch.database.sql.selectFrom(table).selectAll().execute();
    }

    async function files(): Promise<readonly string[]> {
      const entries = await readdir(folder, { recursive: true, withFileTypes: true });
      return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    }

    /** All that readers can see: pages of several sizes, what follows, the download. */
    async function views(id: BuildId): Promise<unknown> {
      const { total } = await logs.read(id, 0, 0);
      const pages = [];
      for (const [start, limit] of [
        [0, 10_000],
        [0, 1],
        [Math.floor(total / 2), 7],
        [total - 1, 5],
        [total + 3, 5],
      ] as const) {
        const { archived: _moved, ...page } = await logs.read(id, start, limit);
        pages.push(page);
      }
      const tails = [];
      for (const start of [0, Math.floor(total / 3), total]) tails.push(await followed(id, start));
      return { total, pages, tails, text: (await downloaded(id)).toString('base64') };
    }

    async function followed(id: BuildId, start: number): Promise<string> {
      const parts: Buffer[] = [];
      for await (const page of logs.tail(id, start, never))
        if (page.count > 0) parts.push(page.json(parts.length === 0 ? '' : ',', ''));
      return Buffer.concat(parts).toString();
    }

    async function downloaded(id: BuildId): Promise<Buffer> {
      const parts: Uint8Array[] = [];
      for await (const part of logs.download(id, never)) parts.push(part);
      return Buffer.concat(parts);
    }

    it('moves a log at once, and readers see the same', async () => {
      const id = await closedLog([
        run('one\ntwo'),
        run('RUN make', { type: 'command' }),
        run(Buffer.from([0xff, 0x00, 0x1b, 0x5b, 0xc3])),
        run('the begin of a ', { partial: true }),
        run('long line'),
        run('no!', { type: 'error', time: 0 }),
        run(''),
      ]);
      const before = await views(id);
      expect((await logs.read(id, 0, 1)).archived).toBeUndefined();
      expect(await countUnarchived(scratch.database)).toBe(1);
      keep();
      await archived(id);
      expect(await countUnarchived(scratch.database)).toBe(0);
      expect(await rowsOf('log_chunks')).toEqual([]);
      expect(await rowsOf('stray_blobs')).toEqual([]);
      expect((await logs.read(id, 0, 1)).archived).toBe(true);
      expect(await views(id)).toEqual(before);
      expect(errors).toEqual([]);
    });

    it('writes gzip of the very text, and notes its size and checksum', async () => {
      keep();
      const id = await closedLog([run('one\ntwo'), run(Buffer.from([0xff, 0xfe])), run('x'.repeat(600_000))]);
      const text = await downloaded(id);
      await archived(id);
      const [archive] = await rowsOf('log_archives');
      const key = (archive as { blob_key: string }).blob_key;
      const found = await blobs.get(key);
      const bytes = found === undefined ? Buffer.alloc(0) : await buffer(found.stream);
      expect(gunzipSync(bytes).equals(text)).toBe(true);
      expect(archive).toMatchObject({
        build_id: id,
        size: bytes.length,
        sha256: createHash('sha256').update(bytes).digest('hex'),
      });
    });

    it('moves any log so that nobody notices', async () => {
      keep();
      const line = fc.uint8Array({ maxLength: 30 });
      const runs = fc.array(
        fc.record(
          {
            text: line,
            count: fc.constant(1),
            time: fc.integer({ min: 0, max: 2 ** 41 }),
            type: fc.constantFrom('command' as const, 'error' as const),
            partial: fc.boolean(),
          },
          { requiredKeys: ['text', 'count', 'time'] },
        ),
        { maxLength: 12 },
      );
      await fc.assert(
        fc.asyncProperty(runs, fc.integer({ min: 1, max: 4 }), async (given, batch) => {
          const id = newBuildId();
          for (let at = 0; at < given.length; at += batch)
            await logs.append(id, manager, given.slice(at, at + batch));
          const open = await logs.read(id, 0, 10_000);
          await logs.close(id);
          await archived(id);
          const closed = await logs.read(id, 0, 10_000);
          expect(closed.entries).toEqual(open.entries);
          const position = Math.floor(open.total / 2);
          expect((await logs.read(id, position, 3)).entries).toEqual(
            open.entries.slice(position, position + 3),
          );
        }),
        { numRuns: 25 },
      );
      expect(errors).toEqual([]);
    });

    it('moves an empty log', async () => {
      keep();
      const id = newBuildId();
      await logs.close(id);
      await archived(id);
      expect(await logs.read(id, 0, 10)).toMatchObject({ total: 0, entries: [], closed: true });
      expect(await downloaded(id)).toHaveLength(0);
    });

    it('archives 500 logs that close at once, each once, beside another manager', async () => {
      const moved: BuildId[] = [];
      const onArchived = (id: BuildId) => moved.push(id);
      keep({ onArchived });
      keep({ onArchived });
      const ids = Array.from({ length: 500 }, newBuildId);
      await Promise.all(
        ids.map(async (id, n) => {
          await logs.append(id, manager, [run(`build ${n}\ndone`)]);
          await logs.close(id);
        }),
      );
      for (const id of ids) await archived(id);
      for (const keeper of keepers.splice(0)) await keeper.stop();
      expect(moved.sort()).toEqual([...ids].sort());
      expect(await rowsOf('log_chunks')).toEqual([]);
      expect(await rowsOf('stray_blobs')).toEqual([]);
      expect(await files()).toHaveLength(500);
      for (const n of [0, 250, 499]) {
        const id = ids[n] ?? newBuildId();
        expect((await downloaded(id)).toString()).toBe(`build ${n}\ndone\n`);
      }
      expect(errors).toEqual([]);
    });

    it('lets a reader who is in the middle of a log read on in the archive', async () => {
      const text = Array.from({ length: 4_000 }, (_, n) => `${n} ${randomBytes(400).toString('hex')}`);
      const id = await closedLog(
        Array.from({ length: 40 }, (_, n) => run(text.slice(n * 100, (n + 1) * 100).join('\n'))),
        { batch: 1 },
      );
      const whole = await downloaded(id);
      const reading = logs.download(id, never)[Symbol.asyncIterator]();
      const following = logs.tail(id, 0, never)[Symbol.asyncIterator]();
      const parts = [(await reading.next()).value as Uint8Array];
      let next = 0;
      const begin = await following.next();
      if (begin.done !== true) next = begin.value.start + begin.value.count;
      keep();
      await archived(id);
      for (let more = await reading.next(); more.done !== true; more = await reading.next())
        parts.push(more.value);
      expect(Buffer.concat(parts).equals(whole)).toBe(true);
      for (let more = await following.next(); more.done !== true; more = await following.next()) {
        expect(more.value.start).toBe(next);
        next += more.value.count;
      }
      expect(next).toBe((await logs.read(id, 0, 0)).total);
    });

    it('removes the rows of a large log a few at a time, and it can be read meanwhile', async () => {
      const id = await closedLog(
        Array.from({ length: 48 }, () => run(randomBytes(100_000).toString('hex'))),
        { batch: 1 },
      );
      const whole = await downloaded(id);
      const [claim] = await claimArchives(scratch.database, claimNow());
      if (claim === undefined) throw new Error('nothing was claimed');
      const chunks = new StoredChunks(scratch.database, undefined);
      const archive = await archiveLog({ chunks, blobs }, claim, never);
      expect(await settleArchives(scratch.database, [{ claim, archive }], Date.now())).toEqual([true]);
      expect((await rowsOf('log_chunks')).length).toBeGreaterThan(40);
      expect(await rowsOf('log_remainders')).toEqual([{ build_id: id }]);
      keep({ poll: 5 });
      for (let left = 1; left > 0; ) {
        left = (await rowsOf('log_chunks')).length;
        expect((await downloaded(id)).equals(whole)).toBe(true);
      }
      while ((await rowsOf('log_remainders')).length > 0)
        await new Promise((resolve) => setImmediate(resolve));
      expect(errors).toEqual([]);
    });

    const longestWait = 600_000;

    function claimNow(now = Date.now()) {
      return {
        now,
        longestWait,
        most: 10,
        token: randomBytes(6).toString('hex'),
        strayUntil: now + 24 * 3_600_000,
      };
    }

    it('loses nothing when a manager dies between the upload and the removal of the rows', async () => {
      const id = await closedLog([run('a\nb'), run('c')]);
      const before = await views(id);
      const clock = new ManualClock(Date.now());
      // What a manager does up to its death.
      const [claim] = await claimArchives(scratch.database, claimNow(clock.now()));
      if (claim === undefined) throw new Error('nothing was claimed');
      const chunks = new StoredChunks(scratch.database, undefined);
      const archive = await archiveLog({ chunks, blobs }, claim, never);
      expect(await files()).toHaveLength(1);
      expect(await views(id)).toEqual(before);
      // Nobody takes it from one that may live.
      for (const later of [30_000, 3 * 3_600_000])
        expect(await claimArchives(scratch.database, claimNow(clock.now() + later))).toEqual([]);
      // Once it was seen to stand still another one does, and the blob of the dead one is removed.
      await freeArchives(scratch.database, await claimedArchives(scratch.database));
      const [again] = await claimArchives(scratch.database, claimNow(clock.now() + 61_000));
      if (again === undefined) throw new Error('nothing was claimed again');
      const second = await archiveLog({ chunks, blobs }, again, never);
      const now = clock.now() + 61_000;
      expect(await settleArchives(scratch.database, [{ claim: again, archive: second }], now)).toEqual([
        true,
      ]);
      // Should it come back to life, it finds that it lost.
      expect(await settleArchives(scratch.database, [{ claim, archive }], now)).toEqual([false]);
      expect(await views(id)).toEqual(before);
      expect(await files()).toHaveLength(2);
      const strays = new StrayBlobs({
        database: scratch.database,
        stores: { logs: blobs, uploads: blobs },
        clock: new ManualClock(now + 1),
        onError: (error) => errors.push(error),
      });
      expect(await strays.sweep(never)).toBe(1);
      expect(await files()).toHaveLength(1);
      expect(await views(id)).toEqual(before);
      expect(errors).toEqual([]);
    });

    describe('beside managers with wrong clocks', () => {
      const lease = 60_000;
      const threeHours = 3 * 3_600_000;
      let monotonic: number;
      let clocks: ManualClock[];

      beforeEach(() => {
        monotonic = 0;
        clocks = [];
      });

      function keepBy(offset: number): ArchiveKeeper {
        const clock = new ManualClock(Date.now() + offset);
        clocks.push(clock);
        return keep({ clock, monotonic: () => monotonic, lease, poll: 10_000 });
      }

      /** Until each keeper has looked again and waits for the next time to look, and to be woken. */
      async function pass(looks: number): Promise<void> {
        for (let n = 0; n < looks; n += 1) {
          monotonic += lease / 6;
          for (const clock of clocks) {
            await clock.advance(lease / 6);
            while (clock.sleeping < 2) await new Promise((resolve) => setImmediate(resolve));
          }
        }
      }

      for (const offset of [threeHours, 0, -threeHours])
        it(`takes a log from one that died with its clock off by ${offset / 3_600_000} h after a lease`, async () => {
          const id = await closedLog([run('a')]);
          await claimArchives(scratch.database, claimNow(Date.now() + offset));
          const seen = await claimedArchives(scratch.database);
          expect(seen).toMatchObject([{ buildId: id }]);
          keepBy(0);
          await pass(6);
          expect(await claimedArchives(scratch.database)).toEqual(seen);
          await pass(2);
          await archived(id);
          expect(errors).toEqual([]);
        });

      for (const offset of [threeHours, -threeHours])
        it(`keeps a log that takes longer than a lease from one with its clock off by ${offset / 3_600_000} h`, async () => {
          const reached = Promise.withResolvers<void>();
          const gate = Promise.withResolvers<void>();
          let puts = 0;
          blobs.before = async (call) => {
            if (call !== 'put') return;
            puts += 1;
            reached.resolve();
            await gate.promise;
          };
          const id = await closedLog([run('a')]);
          keepBy(0);
          await reached.promise;
          const [{ key } = { key: '' }] = await claimedArchives(scratch.database);
          keepBy(offset);
          await pass(20);
          expect(await claimedArchives(scratch.database)).toMatchObject([{ buildId: id, key }]);
          gate.resolve();
          await archived(id);
          expect(puts).toBe(1);
          expect(errors).toEqual([]);
        });

      it('frees nothing that moved meanwhile', async () => {
        await closedLog([run('a')]);
        const claims = await claimArchives(scratch.database, claimNow());
        const seen = await claimedArchives(scratch.database);
        await renewArchives(scratch.database, claims);
        await freeArchives(scratch.database, seen);
        expect(await claimArchives(scratch.database, claimNow())).toEqual([]);
        await freeArchives(scratch.database, await claimedArchives(scratch.database));
        expect(await claimArchives(scratch.database, claimNow())).toHaveLength(1);
      });

      it('waits after a failure, but never for longer than one waits', async () => {
        await closedLog([run('a')]);
        const now = Date.now();
        const failed = async (at: number, again: number) => {
          const [claim] = await claimArchives(scratch.database, claimNow(at));
          if (claim === undefined) throw new Error('nothing was claimed');
          await giveUpArchive(scratch.database, claim, { now: at, again });
        };
        await failed(now, now + longestWait);
        expect(await claimArchives(scratch.database, claimNow(now))).toEqual([]);
        const ahead = now + threeHours;
        await failed(ahead, ahead + 1_000);
        expect(await claimArchives(scratch.database, claimNow(now))).toHaveLength(1);
      });
    });

    it('goes on at once after a death when it is alone', async () => {
      const id = await closedLog([run('a')]);
      expect(await claimArchives(scratch.database, claimNow(Date.now() + 3_600_000))).toHaveLength(1);
      keep({ alone: true });
      await archived(id);
      expect((await downloaded(id)).toString()).toContain('a\n');
    });

    it('is done by the next life when it is stopped in the middle', async () => {
      const id = await closedLog([run('a')]);
      const reached = Promise.withResolvers<void>();
      const gate = Promise.withResolvers<void>();
      blobs.before = async (call) => {
        if (call !== 'get') return;
        reached.resolve();
        await gate.promise;
      };
      const first = keep();
      await reached.promise;
      const stopped = first.stop();
      gate.resolve();
      await stopped;
      expect((await logs.read(id, 0, 0)).archived).toBeUndefined();
      blobs.before = () => {};
      expect((await downloaded(id)).toString()).toContain('a\n');
      keep();
      await archived(id);
      expect(errors).toEqual([]);
    });

    it('tries again when the store fails, one at a time, and keeps the rows until then', async () => {
      let failing = true;
      let calls = 0;
      let most = 0;
      let at = 0;
      blobs.before = async (call) => {
        if (call !== 'put' || !failing) return;
        calls += 1;
        at += 1;
        most = Math.max(most, calls > 20 ? at : 0);
        await new Promise((resolve) => setImmediate(resolve));
        at -= 1;
        if (calls > 30) failing = false;
        throw new BlobError('unavailable', 'the store is away');
      };
      keep();
      const ids = await Promise.all(Array.from({ length: 20 }, (_, n) => closedLog([run(`log ${n}`)])));
      for (const id of ids) {
        const before = await downloaded(id);
        await archived(id);
        expect((await downloaded(id)).equals(before)).toBe(true);
      }
      expect(errors.length).toBeGreaterThan(20);
      expect(errors).toSatisfy((all: unknown[]) => all.every((error) => error instanceof BlobError));
      expect(most).toBe(1);
    });

    it('believes only what it reads back', async () => {
      let spoiled = 0;
      blobs.spoil = (source) => {
        if (spoiled === 2) return source;
        spoiled += 1;
        source.push(Buffer.from('x'));
        return source;
      };
      const id = await closedLog([run('precious')]);
      keep();
      await archived(id);
      expect(errors).toEqual([
        expect.objectContaining({ code: 'damaged' }),
        expect.objectContaining({ code: 'damaged' }),
      ]);
      expect((await downloaded(id)).toString()).toContain('precious\n');
    });

    it('says that the blob is gone, or was changed', async () => {
      keep();
      const id = await closedLog([run('precious')]);
      await archived(id);
      const [file] = await files();
      if (file === undefined) throw new Error('no blob was written');
      await truncate(file, 30);
      await expect(logs.read(id, 0, 10)).rejects.toMatchObject({ code: 'damaged' });
      await rm(file);
      await expect(logs.read(id, 0, 10)).rejects.toMatchObject({ code: 'lost' });
      await expect(downloaded(id)).rejects.toMatchObject({ code: 'lost' });
      // Its length is still known.
      expect(await logs.read(id, 0, 0)).toMatchObject({ closed: true });
    });

    it('leaves nothing of a log that is removed, archived or while it is', async () => {
      keep();
      const first = await closedLog([run('one')]);
      await archived(first);
      await logs.remove(first);
      const removed = Promise.withResolvers<void>();
      blobs.before = async (call) => {
        if (call !== 'get') return;
        await logs.remove(second);
        removed.resolve();
      };
      const second = await closedLog([run('two')]);
      await removed.promise;
      for (const keeper of keepers.splice(0)) await keeper.stop();
      blobs.before = () => {};
      expect(await logs.read(second, 0, 10)).toMatchObject({ total: 0, closed: false });
      const strays = new StrayBlobs({
        database: scratch.database,
        stores: { logs: blobs, uploads: blobs },
        clock: new ManualClock(Date.now() + 25 * 3_600_000),
        onError: (error) => errors.push(error),
      });
      await strays.sweep(never);
      expect(await files()).toEqual([]);
      for (const table of ['log_chunks', 'log_archives', 'stray_blobs', 'log_remainders'] as const)
        expect(await rowsOf(table)).toEqual([]);
      expect(errors).toEqual([]);
    });
  });
}
