import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OpenScratch, ScratchDatabase } from '../../test/harness/scratch-database.ts';
import { ManualClock } from '../base/clock.ts';
import { BlobError } from '../blob/blob-error.ts';
import { FolderBlobStore } from '../blob/folder-blob-store.ts';
import { SecretBox } from '../db/secret-box.ts';
import { archiveLog } from '../log/archive-log.ts';
import { claimArchives, settleArchives } from '../log/archive-rows.ts';
import { SqlLogStore } from '../log/sql-log-store.ts';
import { StoredChunks } from '../log/stored-chunks.ts';
import type { BuildRequest } from '../model/build.ts';
import type { BuildId, UploadId } from '../model/ids.ts';
import { expired, request } from '../queue/build-queue.suite.ts';
import type { RunningAttempt } from '../queue/build-queue.ts';
import { SqlBuildQueue } from '../queue/sql-build-queue.ts';
import { Uploads } from '../upload/uploads.ts';
import { UrlSigner } from '../upload/url-signer.ts';
import { RepositoryRemoval } from './repository-removal.ts';
import { nothing, Retention, sumOf } from './retention.ts';
import { RetentionKeeper } from './retention-keeper.ts';
import { StrayBlobs } from './stray-blobs.ts';

const hour = 3_600_000;
const day = 24 * hour;
const never = new AbortController().signal;
const text = 'a line\n'.repeat(10);

/** What must hold of the removal of old builds on any database. */
export function retentionSuite(name: string, open: OpenScratch): void {
  describe(`retention on ${name}`, () => {
    let scratch: ScratchDatabase;
    let folder: string;
    let blobs: FolderBlobStore;
    let clock: ManualClock;
    let queue: SqlBuildQueue;
    let logs: SqlLogStore;
    let uploads: Uploads;
    let strays: StrayBlobs;
    let retention: Retention;
    let errors: unknown[];
    let repositories = 0;

    beforeEach(async () => {
      scratch = await open();
      const { database } = scratch;
      folder = await mkdtemp(join(tmpdir(), 'slipway-retention-'));
      blobs = new FolderBlobStore({ folder });
      await blobs.start();
      clock = new ManualClock();
      queue = new SqlBuildQueue(database, { clock, secretBox: new SecretBox({ key: randomBytes(32) }) });
      logs = new SqlLogStore(database, { clock, archives: blobs });
      await logs.start();
      uploads = new Uploads({ database, blobs, signer: new UrlSigner(randomBytes(32), clock), clock });
      errors = [];
      strays = new StrayBlobs({
        database,
        stores: { uploads: blobs, logs: blobs },
        clock,
        onError: (error) => errors.push(error),
      });
      retention = new Retention({ database, strays, clock });
    });

    afterEach(async () => {
      await logs.stop();
      await scratch[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    });

    /** Each in a repository of its own, so that none waits for another. */
    async function enqueued(more: Partial<BuildRequest> = {}): Promise<BuildId> {
      repositories += 1;
      return (await queue.enqueue(request(`team/app-${repositories}`, more))).id;
    }

    async function started(id: BuildId): Promise<readonly RunningAttempt[]> {
      const claimed = await queue.claim({ manager: 'm', limit: 1000, capacity: 100_000, lease: 365 * day });
      return claimed.filter((attempt) => attempt.buildId === id);
    }

    async function finished(id: BuildId): Promise<BuildId> {
      const verdict = await queue.cancel(id, 'somebody');
      expect(verdict.kind).toBe('cancelled');
      await logs.append(id, { kind: 'manager' }, [{ text: Buffer.from(text), count: 11, time: 1 }]);
      await logs.close(id);
      return id;
    }

    async function uploaded(): Promise<UploadId> {
      const { id } = await uploads.create('ada', 'application/gzip');
      await uploads.put(id, Readable.from([Buffer.alloc(1000)]), 10_000);
      return id;
    }

    async function buildOf(uploadId: UploadId): Promise<BuildId> {
      await uploads.use(uploadId, 'ada', { namespace: 'team', name: 'app' }, async () => true);
      return await enqueued({ source: { kind: 'upload', uploadId } });
    }

    async function archiveAll(): Promise<number> {
      const { database } = scratch;
      const now = clock.now();
      const given = { now, longestWait: hour, most: 1000, strayUntil: now + day };
      const claims = await claimArchives(database, { ...given, token: randomBytes(6).toString('hex') });
      for (const claim of claims) {
        const archive = await archiveLog(
          { chunks: new StoredChunks(database, undefined), blobs },
          claim,
          never,
        );
        await settleArchives(database, [{ claim, archive }], now);
      }
      return claims.length;
    }

    async function idsIn(table: 'builds' | 'uploads'): Promise<readonly string[]> {
      const rows = await scratch.database.sql.selectFrom(table).select('id').execute();
      return rows.map((row) => row.id).sort();
    }

    async function rowsIn(
      table: 'jobs' | 'attempts' | 'log_heads' | 'log_chunks' | 'log_archives' | 'stray_blobs',
    ) {
      const { count } = await scratch.database.sql
        .selectFrom(table)
        .select((on) => on.fn.countAll<number>().as('count'))
        .executeTakeFirstOrThrow();
      return Number(count);
    }

    async function files(): Promise<number> {
      const entries = await readdir(folder, { recursive: true, withFileTypes: true });
      return entries.filter((entry) => entry.isFile()).length;
    }

    it('removes all of one repository, in steps, and nothing of others or of what is not over', async () => {
      const name = { namespace: 'team', name: 'gone' };
      const its = async () => (await queue.enqueue(request('team/gone'))).id;
      const first = await finished(await its());
      await finished(await its());
      const other = await finished(await enqueued());
      expect(await archiveAll()).toBe(3);
      let images = 2;
      const asked: string[] = [];
      const removal = (patience?: number) =>
        new RepositoryRemoval({
          retention,
          images: {
            areKnown: async () => false,
            step: async (repository) => {
              asked.push(repository);
              images = Math.max(images - 1, -1);
              return images >= 0;
            },
          },
          clock,
          ...(patience === undefined ? {} : { patience }),
        });
      const waiting = await its();
      expect(await removal().remove(name, never)).toBe('held');
      expect(await idsIn('builds')).toEqual([other, waiting].sort());
      expect(asked).toEqual([]);
      await queue.cancel(waiting, 'somebody');
      const open = await its();
      await queue.cancel(open, 'somebody');
      await logs.append(open, { kind: 'manager' }, [{ text: Buffer.from(text), count: 11, time: 1 }]);
      // Its log is still being written.
      expect(await removal().remove(name, never)).toBe('held');
      await logs.close(open);
      // No time: each call does one step.
      const steps = [];
      do steps.push(await removal(0).remove(name, never));
      while (steps.at(-1) !== 'removed');
      expect(steps).toEqual(['more', 'more', 'more', 'removed']);
      expect(new Set(asked)).toEqual(new Set(['team/gone']));
      expect(await idsIn('builds')).toEqual([other]);
      expect([await rowsIn('log_heads'), await rowsIn('log_archives')]).toEqual([1, 1]);
      await strays.sweep(never);
      expect(await files()).toBe(1);
      expect(await queue.build(first)).toBeUndefined();
      expect(await removal().remove(name, never)).toBe('removed');
    });

    it('counts exactly what it removes, and removes what is old and over with all that is its own', async () => {
      const [ofOld, ofBoth, ofRunning, unused] = [
        await uploaded(),
        await uploaded(),
        await uploaded(),
        await uploaded(),
      ];
      const old = [
        await finished(await buildOf(ofOld)),
        await finished(await buildOf(ofOld)),
        await finished(await buildOf(ofBoth)),
        await finished(await buildOf(ofRunning)),
        await finished(await enqueued({ platforms: ['linux/amd64', 'linux/arm64'] })),
      ];
      // One with two attempts.
      const retried = await enqueued();
      for (const { id, epoch } of await started(retried)) await queue.finish(id, epoch, expired, 0);
      old.push(await finished(retried));
      expect(await archiveAll()).toBe(6);
      const runs = await buildOf(ofRunning);
      expect(await started(runs)).toHaveLength(1);
      const waits = await enqueued();
      await clock.advance(40 * day);
      const young = [await finished(await buildOf(ofBoth)), await finished(await enqueued())];
      await clock.advance(2 * day);

      const before = clock.now() - 30 * day;
      const counts = await retention.count(before);
      expect(counts).toEqual({
        builds: 6,
        jobs: 7,
        attempts: 8,
        logs: 6,
        logBytes: 6 * text.length,
        archives: 6,
        uploads: 1,
        uploadBytes: 1000,
      });
      // Counting changes nothing.
      expect(await idsIn('builds')).toHaveLength(10);

      expect(await retention.prune(before, never)).toEqual({ removed: counts, done: true });
      expect(await idsIn('builds')).toEqual([runs, waits, ...young].sort());
      expect(await idsIn('uploads')).toEqual([ofBoth, ofRunning, unused].sort());
      expect(await rowsIn('jobs')).toBe(4);
      expect(await rowsIn('attempts')).toBe(4);
      expect(await rowsIn('log_heads')).toBe(2);
      expect(await rowsIn('log_archives')).toBe(0);
      expect(await rowsIn('stray_blobs')).toBe(0);
      // The three uploads that are left.
      expect(await files()).toBe(3);
      for (const id of old) {
        expect(await queue.build(id)).toBeUndefined();
        expect((await logs.read(id, 0, 10)).total).toBe(0);
      }
      for (const id of young) expect((await logs.read(id, 0, 100)).total).toBe(11);
      expect(await retention.count(before)).toEqual(nothing);
      expect(await retention.prune(before, never)).toEqual({ removed: nothing, done: true });
      expect(errors).toEqual([]);
    });

    it('removes each build once when two do it, while others go on', async () => {
      const ids: BuildId[] = [];
      for (let n = 0; n < 130; n += 1) ids.push(await finished(await enqueued()));
      await clock.advance(2 * day);
      const other = new Retention({ database: scratch.database, strays, clock });
      const before = clock.now() - day;
      const fresh: BuildId[] = [];
      const [first, second] = await Promise.all([
        retention.prune(before, never),
        other.prune(before, never),
        (async () => {
          for (let n = 0; n < 10; n += 1) fresh.push(await finished(await enqueued()));
        })(),
      ]);
      // Of two, one may look while the other has what is left.
      const third = await retention.prune(before, never);
      const sum = sumOf(sumOf(first.removed, second.removed), third.removed);
      expect(sum).toMatchObject({ builds: 130, jobs: 130, attempts: 130, logs: 130 });
      expect(await idsIn('builds')).toEqual(fresh.sort());
      expect(await rowsIn('log_chunks')).toBe(10);
    });

    it('stops when it is told to, and goes on another time', async () => {
      for (let n = 0; n < 60; n += 1) await finished(await enqueued());
      await clock.advance(2 * day);
      const before = clock.now() - day;
      expect(await retention.prune(before, AbortSignal.abort())).toEqual({ removed: nothing, done: false });
      expect(await retention.prune(before, never)).toMatchObject({ removed: { builds: 60 }, done: true });
    });

    it('takes no build whose worker or log is not over yet', async () => {
      const running = await enqueued();
      const [attempt] = await started(running);
      if (attempt === undefined) throw new Error('the build was not claimed');
      const open = await enqueued();
      await logs.append(open, { kind: 'manager' }, [{ text: Buffer.from('a'), count: 1, time: 1 }]);
      await queue.cancel(open, 'somebody');
      const now = await finished(await enqueued());
      await clock.advance(1);
      expect(await retention.prune(clock.now(), never)).toMatchObject({ removed: { builds: 1 } });
      expect(await queue.build(now)).toBeUndefined();
      expect(await idsIn('builds')).toEqual([running, open].sort());
      // A log that nobody closes does not keep its build for ever.
      await clock.advance(2 * hour);
      expect(await retention.prune(clock.now(), never)).toMatchObject({ removed: { builds: 1, logs: 1 } });
      expect(await idsIn('builds')).toEqual([running]);
      await clock.advance(300 * day);
      expect(await retention.count(clock.now())).toEqual(nothing);
    });

    it('keeps an upload that somebody is about to build again', async () => {
      const upload = await uploaded();
      await finished(await buildOf(upload));
      await clock.advance(2 * day);
      // The request has looked at the upload, and is not in the queue yet.
      await uploads.use(upload, 'ada', { namespace: 'team', name: 'app' }, async () => true);
      const before = clock.now() - day;
      expect(await retention.prune(before, never)).toMatchObject({ removed: { builds: 1, uploads: 0 } });
      expect(await idsIn('uploads')).toEqual([upload]);
      // It never came to be a build: after a while the file goes with the others.
      await clock.advance(2 * day);
      expect(await retention.count(clock.now() - day)).toEqual({ ...nothing, uploads: 1, uploadBytes: 1000 });
      expect(await retention.prune(clock.now() - day, never)).toMatchObject({ removed: { uploads: 1 } });
      expect(await files()).toBe(0);
    });

    it('empties old logs and keeps their builds', async () => {
      const archived = await finished(await enqueued());
      await archiveAll();
      const inRows = await finished(await enqueued());
      await clock.advance(2 * day);
      const young = await finished(await enqueued());
      expect(await retention.pruneLogs(clock.now() - day, never)).toBe(2);
      expect(await retention.pruneLogs(clock.now() - day, never)).toBe(0);
      for (const id of [archived, inRows]) {
        expect(await queue.build(id)).toMatchObject({ phase: 'cancelled' });
        expect(await logs.read(id, 0, 10)).toMatchObject({ total: 0, entries: [], closed: true });
        const pages = [];
        for await (const page of logs.tail(id, 0, never)) pages.push(page.count);
        expect(pages).toEqual([0]);
      }
      expect((await logs.read(young, 0, 100)).total).toBe(11);
      expect(await strays.sweep(never)).toBe(1);
      expect(await files()).toBe(0);
      // It is not archived again.
      expect(await archiveAll()).toBe(1);
      expect(await retention.prune(clock.now() - day, never)).toMatchObject({ removed: { builds: 2 } });
    });

    it('tries again to remove a blob that stays', async () => {
      const id = await finished(await enqueued());
      await archiveAll();
      await clock.advance(2 * day);
      let away = true;
      const trouble = new StrayBlobs({
        database: scratch.database,
        stores: {
          uploads: blobs,
          logs: {
            put: (...given) => blobs.put(...given),
            get: (...given) => blobs.get(...given),
            remove: async (key) => {
              if (away) throw new BlobError('unavailable', 'the store is away');
              await blobs.remove(key);
            },
          },
        },
        clock,
        onError: (error) => errors.push(error),
      });
      const careful = new Retention({ database: scratch.database, strays: trouble, clock });
      await careful.prune(clock.now() - day, never);
      expect(await queue.build(id)).toBeUndefined();
      expect(errors).toHaveLength(1);
      expect(await files()).toBe(1);
      away = false;
      expect(await trouble.sweep(never)).toBe(0);
      await clock.advance(11 * 60_000);
      expect(await trouble.sweep(never)).toBe(1);
      expect(await files()).toBe(0);
    });

    it('is done by itself where that is wanted', async () => {
      const pruned: { readonly builds: number; readonly logs: number }[] = [];
      const keeperOf = (keep: { readonly keepBuilds?: number; readonly keepLogs?: number }) =>
        new RetentionKeeper({
          retention,
          strays,
          clock,
          ...keep,
          onError: (error) => errors.push(error),
          onPruned: (what) => void pruned.push(what),
        });
      const id = await finished(await enqueued());
      await archiveAll();
      await clock.advance(10 * day);
      const round = async (keeper: RetentionKeeper) => {
        keeper.start();
        while (clock.sleeping === 0) await new Promise((resolve) => setImmediate(resolve));
        await clock.advance(6 * 60_000);
        while (clock.sleeping === 0) await new Promise((resolve) => setImmediate(resolve));
        await keeper.stop();
      };
      await round(keeperOf({}));
      expect((await logs.read(id, 0, 100)).total).toBe(11);
      await round(keeperOf({ keepBuilds: 20 * day, keepLogs: 5 * day }));
      expect(await queue.build(id)).toBeDefined();
      expect((await logs.read(id, 0, 100)).total).toBe(0);
      expect(await files()).toBe(0);
      await clock.advance(20 * day);
      await round(keeperOf({ keepBuilds: 20 * day }));
      expect(await queue.build(id)).toBeUndefined();
      expect(pruned).toEqual([
        { builds: 0, logs: 1, uploads: 0 },
        { builds: 1, logs: 0, uploads: 0 },
      ]);
      expect(errors).toEqual([]);
    });
  });
}
