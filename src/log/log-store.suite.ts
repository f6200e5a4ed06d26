import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OpenScratch, ScratchDatabase } from '../../test/harness/scratch-database.ts';
import { ManualClock } from '../base/clock.ts';
import { SecretBox } from '../db/secret-box.ts';
import { type BuildId, newBuildId } from '../model/ids.ts';
import { complete, expired, request } from '../queue/build-queue.suite.ts';
import type { RunningAttempt } from '../queue/build-queue.ts';
import { SqlBuildQueue } from '../queue/sql-build-queue.ts';
import type { LogHints } from './log-hints.ts';
import type { LogEntry, LogRun, LogStore } from './log-store.ts';
import { SqlLogStore, type SqlLogStoreOptions } from './sql-log-store.ts';

const time = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
const datetime = '2026-01-02T03:04:05.678Z';

/** A run of the given lines. */
function lines(text: string | Uint8Array, more: Partial<LogRun> = {}): LogRun {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  const count = bytes.reduce((sum, byte) => sum + (byte === 0x0a ? 1 : 0), 1);
  return { text: bytes, count, time, ...more };
}

const messages = (entries: readonly LogEntry[]) => entries.map(({ message }) => message);

/** What every log store must do. The builds and attempts that write are those of a real queue. */
export function logStoreSuite(name: string, open: OpenScratch): void {
  describe(`log store on ${name}`, () => {
    let scratch: ScratchDatabase;
    let queue: SqlBuildQueue;
    let store: SqlLogStore;
    let clock: ManualClock;
    const stores: SqlLogStore[] = [];

    beforeEach(async () => {
      scratch = await open();
      clock = new ManualClock(time);
      queue = new SqlBuildQueue(scratch.database, {
        clock,
        secretBox: new SecretBox({ key: randomBytes(32) }),
      });
      store = await storeWith({});
    });

    afterEach(async () => {
      for (const each of stores.splice(0)) await each.stop();
      await scratch[Symbol.asyncDispose]();
    });

    async function storeWith(options: SqlLogStoreOptions): Promise<SqlLogStore> {
      const made = new SqlLogStore(scratch.database, { clock, ...options });
      await made.start();
      stores.push(made);
      return made;
    }

    async function running(): Promise<RunningAttempt> {
      const build = await queue.enqueue(request());
      const claimed = await queue.claim({ manager: 'm', limit: 10, capacity: 1000, lease: 1e9 });
      const attempt = claimed.find(({ buildId }) => buildId === build.id);
      if (attempt === undefined) throw new Error('the build was not claimed');
      return attempt;
    }

    const write = (to: LogStore, attempt: RunningAttempt, sequence: number, ...runs: LogRun[]) =>
      to.append(
        attempt.buildId,
        { kind: 'worker', attemptId: attempt.id, epoch: attempt.epoch, sequence },
        runs,
      );

    async function everything(from: LogStore, buildId: BuildId): Promise<Buffer> {
      const parts: Uint8Array[] = [];
      for await (const part of from.download(buildId, new AbortController().signal)) parts.push(part);
      return Buffer.concat(parts);
    }

    it('is empty and open before anything is written', async () => {
      const id = newBuildId();
      expect(await store.read(id, 0, 10)).toEqual({ start: 0, total: 0, entries: [], closed: false });
      expect(await everything(store, id)).toHaveLength(0);
    });

    it('gives entries their positions, kinds and times', async () => {
      const attempt = await running();
      const { buildId } = attempt;
      const phase: LogEntry = { message: 'building', type: 'phase', data: { datetime, registry: 'x' } };
      expect(await store.appendEntry(buildId, phase)).toEqual({ kind: 'stored', total: 1 });
      const stored = await write(
        store,
        attempt,
        1,
        lines('STEP 1/2: FROM scratch', { type: 'command' }),
        lines('a\n\nb'),
        lines('failed', { type: 'error' }),
      );
      expect(stored).toEqual({ kind: 'stored', total: 6 });
      const data = { datetime };
      expect(await store.read(buildId, 0, 100)).toEqual({
        start: 0,
        total: 6,
        closed: false,
        entries: [
          phase,
          { message: 'STEP 1/2: FROM scratch', type: 'command', data },
          { message: 'a', data },
          { message: '', data },
          { message: 'b', data },
          { message: 'failed', type: 'error', data },
        ],
      });
      expect(messages((await store.read(buildId, 2, 3)).entries)).toEqual(['a', '', 'b']);
      expect(await store.read(buildId, 6, 3)).toMatchObject({ start: 6, total: 6, entries: [] });
      expect(await store.read(buildId, 99, 3)).toMatchObject({ start: 99, total: 6, entries: [] });
      expect((await everything(store, buildId)).toString()).toBe(
        'building\nSTEP 1/2: FROM scratch\na\n\nb\nfailed\n',
      );
    });

    it('takes any bytes', async () => {
      const attempt = await running();
      const raw = Buffer.from([0x61, 0xff, 0x00, 0x1b, 0x5b, 0x31, 0x6d, 0x0a, 0xe2, 0x82]);
      await write(store, attempt, 1, lines(raw));
      const { entries } = await store.read(attempt.buildId, 0, 10);
      expect(messages(entries)).toEqual(['a\ufffd\u0000\u001b[1m', '\ufffd']);
      expect(await everything(store, attempt.buildId)).toEqual(Buffer.concat([raw, Buffer.from('\n')]));
    });

    it('counts lines itself, so that positions never lie', async () => {
      const attempt = await running();
      await write(store, attempt, 1, lines('a\nb\nc', { count: 99 }), lines('', { count: 0 }), lines(''));
      expect(messages((await store.read(attempt.buildId, 0, 10)).entries)).toEqual(['a', 'b', 'c', '']);
    });

    it('puts a character together that was cut between two pieces of a line', async () => {
      const attempt = await running();
      const text = Buffer.from('x😀y€z');
      // Inside the first character, then inside the second one, over batches and within one.
      await write(store, attempt, 1, lines(text.subarray(0, 3), { partial: true }));
      await store.appendEntry(attempt.buildId, { message: 'between' });
      await write(
        store,
        attempt,
        2,
        lines(text.subarray(3, 7), { partial: true }),
        lines(text.subarray(7), {}),
      );
      const { entries } = await store.read(attempt.buildId, 0, 10);
      expect(messages(entries)).toEqual(['x', 'between', '😀y', '€z']);
      expect(entries.map(({ data }) => data?.partial)).toEqual([true, undefined, true, undefined]);
    });

    it('keeps the begin of a character that never gets its end', async () => {
      const attempt = await running();
      const half = Buffer.from('a€').subarray(0, 2);
      await write(store, attempt, 1, lines(half, { partial: true }));
      await store.close(attempt.buildId);
      expect((await everything(store, attempt.buildId)).subarray(0, 2)).toEqual(half);
      expect(messages((await store.read(attempt.buildId, 0, 10)).entries)).toEqual(['a', '\ufffd']);
    });

    describe('who may write', () => {
      it('stores a repeated batch once and asks for a missing one', async () => {
        const attempt = await running();
        expect(await store.lastSequence(attempt.id)).toBe(0);
        expect(await write(store, attempt, 2, lines('b'))).toEqual({ kind: 'gap', expected: 1 });
        expect(await write(store, attempt, 1, lines('a'))).toEqual({ kind: 'stored', total: 1 });
        expect(await write(store, attempt, 1, lines('a'))).toEqual({ kind: 'repeated' });
        expect(await write(store, attempt, 3, lines('c'))).toEqual({ kind: 'gap', expected: 2 });
        expect(await write(store, attempt, 2, lines('b'))).toEqual({ kind: 'stored', total: 2 });
        expect(await store.lastSequence(attempt.id)).toBe(2);
        expect((await everything(store, attempt.buildId)).toString()).toBe('a\nb\n');
      });

      it('stores the entry of a stage once, and none after a later one, whoever writes', async () => {
        const attempt = await running();
        const { buildId, id: attemptId, epoch } = attempt;
        const enter = (stage: number, of: { epoch: number } = { epoch }) =>
          store.appendEntry(
            buildId,
            { type: 'phase', message: `stage ${stage}` },
            { kind: 'stage', attemptId, stage, ...of },
          );
        const racing = await Promise.all([enter(3), enter(3), enter(3)]);
        expect(racing.map(({ kind }) => kind).sort()).toEqual(['repeated', 'repeated', 'stored']);
        await write(store, attempt, 1, lines('a'));
        expect(await enter(5)).toEqual({ kind: 'stored', total: 3 });
        expect(await enter(4)).toEqual({ kind: 'repeated' });
        expect(await enter(6, { epoch: epoch + 1 })).toEqual({ kind: 'repeated' });
        // A worker's numbers have nothing to do with it.
        expect(await write(store, attempt, 2, lines('b'))).toEqual({ kind: 'stored', total: 4 });
        const { entries } = await store.read(buildId, 0, 9);
        expect(messages(entries)).toEqual(['stage 3', 'a', 'stage 5', 'b']);
      });

      it('refuses an old epoch, another build, and an attempt that is over', async () => {
        const attempt = await running();
        const other = await queue.enqueue(request('team/other'));
        await write(store, attempt, 1, lines('a'));
        expect(await write(store, { ...attempt, epoch: 2 }, 2, lines('b'))).toEqual({ kind: 'stale' });
        expect(await write(store, { ...attempt, buildId: other.id }, 2, lines('b'))).toEqual({
          kind: 'stale',
        });
        await queue.finish(attempt.id, attempt.epoch, expired, 0);
        expect(await write(store, attempt, 2, lines('b'))).toEqual({ kind: 'stale' });
        // The next attempt counts from one, and its lines go on in the same log.
        const [next] = await queue.claim({ manager: 'm', limit: 1, capacity: 9, lease: 1000 });
        if (next === undefined) throw new Error('no retry');
        expect(await write(store, next, 1, lines('b'))).toEqual({ kind: 'stored', total: 2 });
        expect((await everything(store, attempt.buildId)).toString()).toBe('a\nb\n');
      });

      it('lets nothing in once closed, and closes twice', async () => {
        const attempt = await running();
        await write(store, attempt, 1, lines('a'));
        await store.close(attempt.buildId);
        await store.close(attempt.buildId);
        expect(await write(store, attempt, 2, lines('b'))).toEqual({ kind: 'stale' });
        expect(await store.appendEntry(attempt.buildId, { message: 'b' })).toEqual({ kind: 'stale' });
        expect(await store.read(attempt.buildId, 0, 9)).toMatchObject({ total: 1, closed: true });
        // Nothing was changed by what was refused.
        expect(await store.lastSequence(attempt.id)).toBe(1);
      });

      it('orders what comes at once', async () => {
        const attempt = await running();
        const entries = Array.from({ length: 20 }, (_, n) =>
          store.appendEntry(attempt.buildId, { message: `m${n}` }),
        );
        for (let n = 1; n <= 20; n += 1) await write(store, attempt, n, lines(`w${n}\nx${n}`));
        const totals = (await Promise.all(entries)).map((verdict) =>
          verdict.kind === 'stored' ? verdict.total : 0,
        );
        expect(new Set(totals).size).toBe(20);
        const page = await store.read(attempt.buildId, 0, 1000);
        expect(page.entries).toHaveLength(60);
        expect(messages(page.entries).filter((each) => each.startsWith('w'))).toEqual(
          Array.from({ length: 20 }, (_, n) => `w${n + 1}`),
        );
      });
    });

    describe('reading along', () => {
      it('gives each page as it comes, and ends with the log', async () => {
        const attempt = await running();
        await write(store, attempt, 1, lines('a\nb'));
        const pages = store.tail(attempt.buildId, 1, new AbortController().signal)[Symbol.asyncIterator]();
        expect((await pages.next()).value).toMatchObject({ start: 1, total: 2, closed: false });
        const next = pages.next();
        await write(store, attempt, 2, lines('c'));
        const page = (await next).value;
        expect(page).toMatchObject({ start: 2, total: 3, closed: false });
        expect(messages(page?.entries ?? [])).toEqual(['c']);
        expect(page?.count).toBe(1);
        expect(page?.json('[', ']').toString()).toBe(JSON.stringify(page?.entries));
        const last = pages.next();
        await store.close(attempt.buildId);
        const end = { start: 3, total: 3, count: 0, hasPhase: false, entries: [], closed: true };
        expect((await last).value).toMatchObject(end);
        expect((await pages.next()).done).toBe(true);
      });

      it('ends with its signal, with the store, and with the log', async () => {
        const attempt = await running();
        await write(store, attempt, 1, lines('a'));
        const leaving = new AbortController();
        const other = await storeWith({});
        const readers = [
          store.tail(attempt.buildId, 1, leaving.signal),
          other.tail(attempt.buildId, 1, new AbortController().signal),
          store.tail(attempt.buildId, 0, new AbortController().signal),
        ].map((pages) => pages[Symbol.asyncIterator]());
        const [bySignal, byStore, byRemoval] = readers;
        await byRemoval?.next();
        const ends = [bySignal?.next(), byStore?.next(), byRemoval?.next()];
        leaving.abort();
        expect((await ends[0])?.done).toBe(true);
        await other.stop();
        expect((await ends[1])?.done).toBe(true);
        await store.remove(attempt.buildId);
        expect((await ends[2])?.done).toBe(true);
      });

      it('hears what another manager wrote: by hints, and by looking again without them', async () => {
        const attempt = await running();
        const listeners = new Set<(id: BuildId) => void>();
        const hints: LogHints = {
          tell: (id) =>
            listeners.forEach((wake) => {
              wake(id);
            }),
          listen: (wake) => {
            listeners.add(wake);
            return () => listeners.delete(wake);
          },
        };
        const [writer, hinted, polling] = [
          await storeWith({ hints }),
          await storeWith({ hints }),
          await storeWith({ poll: 1000 }),
        ];
        const signal = new AbortController().signal;
        const byHint = hinted.tail(attempt.buildId, 0, signal)[Symbol.asyncIterator]().next();
        const byPoll = polling.tail(attempt.buildId, 0, signal)[Symbol.asyncIterator]().next();
        while (clock.sleeping === 0) await new Promise((resolve) => setImmediate(resolve));
        await write(writer, attempt, 1, lines('a'));
        expect((await byHint).value).toMatchObject({ total: 1 });
        await clock.advance(1000);
        expect((await byPoll).value).toMatchObject({ total: 1 });
      });
    });

    describe('a log that is too long', () => {
      const limits = { limit: 3000, tail: 1000 };
      const line = (n: number) => `line ${String(n).padStart(4, '0')} ${'x'.repeat(89)}`;

      it('keeps begin and end, and says what is missing', async () => {
        const attempt = await running();
        const small = await storeWith(limits);
        for (let n = 0; n < 100; n += 1) await write(small, attempt, n + 1, lines(line(n)));
        const before = await small.read(attempt.buildId, 0, 1000);
        expect(before.total).toBe(21);
        expect(before.entries.at(-1)).toMatchObject({ data: { limitReached: true } });
        await small.appendEntry(attempt.buildId, { message: 'error', type: 'phase' });
        await small.close(attempt.buildId);
        const { entries, total } = await small.read(attempt.buildId, 0, 1000);
        expect(entries).toHaveLength(total);
        // What was read before is what is read now.
        expect(entries.slice(0, 21)).toEqual(before.entries);
        const note = entries[21];
        const kept = entries.slice(22, -1);
        expect(messages(kept)).toEqual(
          Array.from({ length: kept.length }, (_, n) => line(100 - kept.length + n)),
        );
        expect(kept.length).toBeGreaterThanOrEqual(8);
        const left = 100 - 20 - kept.length;
        expect(note).toMatchObject({ data: { leftOutLines: left, leftOutBytes: left * 99 } });
        expect(entries.at(-1)).toEqual({ message: 'error', type: 'phase' });
        const stored = Buffer.byteLength(entries.map(({ message }) => message).join(''));
        expect(stored).toBeLessThan(limits.limit + 500);
      });

      it('leaves nothing out when the end is short enough', async () => {
        const attempt = await running();
        const small = await storeWith(limits);
        for (let n = 0; n < 25; n += 1) await write(small, attempt, n + 1, lines(line(n)));
        await small.close(attempt.buildId);
        const { entries } = await small.read(attempt.buildId, 0, 1000);
        expect(entries).toHaveLength(26);
        expect(messages(entries).filter((each) => each.startsWith('line'))).toEqual(
          Array.from({ length: 25 }, (_, n) => line(n)),
        );
      });

      it('does not fill up while it is written', async () => {
        const attempt = await running();
        const small = await storeWith(limits);
        for (let n = 0; n < 60; n += 1) await write(small, attempt, n + 1, lines(line(n)));
        const rows = await scratch.database.sql.selectFrom('log_tails').select('bytes').execute();
        expect(rows.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(limits.tail);
        await small.remove(attempt.buildId);
        for (const table of ['log_heads', 'log_chunks', 'log_tails'] as const) {
          expect(await scratch.database.sql.selectFrom(table).selectAll().execute()).toEqual([]);
        }
      });
    });

    it('cuts a large batch into bounded chunks at lines', async () => {
      const attempt = await running();
      const text = Array.from({ length: 20_000 }, (_, n) => `${n} ${'y'.repeat(40)}`).join('\n');
      await write(store, attempt, 1, lines(text), lines('z'.repeat(700_000)));
      const rows = await scratch.database.sql.selectFrom('log_chunks').select(['entries', 'bytes']).execute();
      expect(rows.length).toBeGreaterThan(3);
      expect(rows.filter(({ bytes }) => bytes > 262_144)).toEqual([{ entries: 1, bytes: 700_000 }]);
      expect(messages((await store.read(attempt.buildId, 12_345, 2)).entries)).toEqual(
        text.split('\n').slice(12_345, 12_347),
      );
      expect((await everything(store, attempt.buildId)).toString()).toBe(`${text}\n${'z'.repeat(700_000)}\n`);
    });

    it('gives back what was written: any runs, any page size, repeated and missing batches', async () => {
      const run = fc.record({
        text: fc.oneof(
          fc.uint8Array({ maxLength: 40 }),
          fc.string({ unit: 'binary', maxLength: 20 }).map((text) => new Uint8Array(Buffer.from(text))),
        ),
        type: fc.constantFrom(undefined, 'command' as const, 'error' as const),
        partial: fc.boolean(),
      });
      const batch = fc.record({
        runs: fc.array(run, { maxLength: 4 }),
        repeat: fc.boolean(),
        skip: fc.boolean(),
        entry: fc.boolean(),
      });
      await fc.assert(
        fc.asyncProperty(
          fc.array(batch, { maxLength: 12 }),
          fc.integer({ min: 1, max: 9 }),
          async (batches, pageSize) => {
            const attempt = await running();
            const { buildId } = attempt;
            const bytes: Uint8Array[] = [];
            let sequence = 0;
            let carried = false;
            for (const { runs, repeat, skip, entry } of batches) {
              if (entry && !carried) {
                await store.appendEntry(buildId, { message: 'note' });
                bytes.push(Buffer.from('note\n'));
              }
              const made = runs.map(({ text, type, partial }) =>
                lines(text, { ...(type === undefined ? {} : { type }), ...(partial ? { partial } : {}) }),
              );
              if (skip) {
                const verdict = await write(store, attempt, sequence + 2, ...made);
                expect(verdict).toEqual({ kind: 'gap', expected: sequence + 1 });
              }
              sequence += 1;
              expect((await write(store, attempt, sequence, ...made)).kind).toBe('stored');
              if (repeat) expect((await write(store, attempt, sequence, ...made)).kind).toBe('repeated');
              for (const { text, partial } of made) {
                bytes.push(text, Buffer.from(partial === true ? '' : '\n'));
                carried = partial === true;
              }
            }
            await store.close(buildId);
            const written = Buffer.concat(bytes);
            const downloaded = await everything(store, buildId);
            // A character that never got its end is a line of its own, so it is followed by a line end.
            const cut = carried && downloaded.length === written.length + 1;
            expect(cut ? downloaded.subarray(0, -1) : downloaded).toEqual(written);

            const { entries, total } = await store.read(buildId, 0, 100_000);
            expect(entries).toHaveLength(total);
            const paged: LogEntry[] = [];
            while (paged.length < total) {
              const page = await store.read(buildId, paged.length, pageSize);
              expect(page.entries.length).toBe(Math.min(pageSize, total - paged.length));
              paged.push(...page.entries);
            }
            expect(paged).toEqual(entries);
            const tailed: LogEntry[] = [];
            const start = Math.floor(total / 2);
            for await (const page of store.tail(buildId, start, new AbortController().signal)) {
              expect(page.start).toBe(start + tailed.length);
              tailed.push(...page.entries);
            }
            expect(tailed).toEqual(entries.slice(start));
            await queue.finish(attempt.id, attempt.epoch, complete, 0);
            await queue.failPublish(buildId, { code: 'internalerror', message: 'Over.' });
          },
        ),
        { numRuns: 60 },
      );
    });
  });
}
