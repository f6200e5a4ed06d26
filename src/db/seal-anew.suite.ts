import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OpenScratch, ScratchDatabase } from '../../test/harness/scratch-database.ts';
import { systemClock } from '../base/clock.ts';
import { clusterKeys } from '../bin/cluster-keys.ts';
import type { BuildId } from '../model/ids.ts';
import { request } from '../queue/build-queue.suite.ts';
import { SqlBuildQueue } from '../queue/sql-build-queue.ts';
import { Database } from './database.ts';
import { type SealAnewOptions, type SealAnewResult, sealAnew } from './seal-anew.ts';
import { SecretBox } from './secret-box.ts';

/** What sealing anew must do on every dialect, with real builds and real keys of servers. */
export function sealAnewSuite(name: string, open: OpenScratch): void {
  describe(`sealing anew on ${name}`, () => {
    const [before, after, wrong] = [randomBytes(32), randomBytes(32), randomBytes(32)];
    const old = new SecretBox({ key: before });
    const rotating = new SecretBox({ key: after, former: [before] });
    const current = new SecretBox({ key: after });
    let scratch: ScratchDatabase;
    let database: Database;

    beforeEach(async () => {
      scratch = await open();
      database = scratch.database;
    });

    afterEach(async () => {
      await scratch[Symbol.asyncDispose]();
    });

    const secretOf = (build: number, id: string) => Buffer.from(`hunter2-${build}-${id}`);

    /** Builds that wait with three secrets each, and the keys of the servers, sealed by one server. */
    async function fill(builds: number, secretBox = old): Promise<BuildId[]> {
      await using queue = new SqlBuildQueue(database, { secretBox });
      const ids: BuildId[] = [];
      for (let at = 0; at < builds; at += 1) {
        const secrets = ['a', 'b', 'c'].map((id) => ({ id, value: secretOf(at, id) }));
        ids.push((await queue.enqueue(request(), { secrets })).id);
      }
      await clusterKeys(database, secretBox, systemClock);
      return ids;
    }

    const run = (more: Partial<SealAnewOptions> = {}) =>
      sealAnew({ database, secretBox: rotating, batch: 4, ...more });

    const rows = () =>
      database.sql.selectFrom('build_secrets').selectAll().orderBy('build_id').orderBy('id').execute();

    async function expectOpen(ids: readonly BuildId[], secretBox = current): Promise<void> {
      await using queue = new SqlBuildQueue(database, { secretBox });
      for (const [at, id] of ids.entries()) {
        const secrets = (await queue.secrets(id)).map(({ id: secret, value }) => [
          secret,
          Buffer.from(value),
        ]);
        expect(secrets).toEqual(['a', 'b', 'c'].map((secret) => [secret, secretOf(at, secret)]));
      }
    }

    const countsOf = ({ counts }: SealAnewResult) =>
      counts.flatMap(({ what, ...numbers }) =>
        what === 'build secrets' || what === 'signing keys' ? [numbers] : [],
      );

    it('makes all of it open with the current key alone, and finds nothing to do the second time', async () => {
      const ids = await fill(5);
      const keys = await clusterKeys(database, old, systemClock);
      expect(countsOf(await run())).toEqual([
        { current: 15, anew: 15, former: 0, locked: 0 },
        { current: 1, anew: 1, former: 0, locked: 0 },
      ]);
      await expectOpen(ids);
      expect((await clusterKeys(database, current, systemClock)).workerToken).toBe(keys.workerToken);
      const sealed = await rows();
      expect(countsOf(await run())).toEqual([
        { current: 15, anew: 0, former: 0, locked: 0 },
        { current: 1, anew: 0, former: 0, locked: 0 },
      ]);
      expect(await rows()).toEqual(sealed);
    });

    it('has nothing to do in an empty database, and leaves other settings alone', async () => {
      expect(countsOf(await run())).toEqual([
        { current: 0, anew: 0, former: 0, locked: 0 },
        { current: 0, anew: 0, former: 0, locked: 0 },
      ]);
      const other = { name: 'other', value_json: '"text"' };
      await database.sql.insertInto('settings').values(other).execute();
      expect((await run()).locked).toEqual([]);
      expect(await database.sql.selectFrom('settings').selectAll().execute()).toEqual([other]);
    });

    it('only counts in a dry run', async () => {
      await fill(3);
      const sealed = await rows();
      expect(countsOf(await run({ dryRun: true }))).toEqual([
        { current: 0, anew: 0, former: 9, locked: 0 },
        { current: 0, anew: 0, former: 1, locked: 0 },
      ]);
      expect(await rows()).toEqual(sealed);
    });

    it('names what is sealed with a key that it does not have, and leaves it', async () => {
      const ids = await fill(2);
      const sealed = await rows();
      const result = await run({ secretBox: new SecretBox({ key: after, former: [wrong] }) });
      expect(countsOf(result)).toEqual([
        { current: 0, anew: 0, former: 0, locked: 6 },
        { current: 0, anew: 0, former: 0, locked: 1 },
      ]);
      expect(result.locked).toHaveLength(7);
      expect(result.locked).toContainEqual({
        table: 'build_secrets',
        column: 'sealed',
        key: { build_id: ids[1], id: 'c' },
        why: 'unknown-key',
      });
      expect(await rows()).toEqual(sealed);
      await run();
      await expectOpen(ids);
    });

    it('names damaged rows, and rows that were moved from another one, and goes on with the others', async () => {
      const ids = await fill(4);
      const [first, second, third] = ids;
      if (first === undefined || second === undefined || third === undefined) throw new Error('no builds');
      const stored = await rows();
      const sealedOf = (build: string, id: string) =>
        stored.find((row) => row.build_id === build && row.id === id)?.sealed ?? new Uint8Array();
      const damaged = Buffer.from(sealedOf(first, 'a'));
      damaged[damaged.length - 1] = (damaged[damaged.length - 1] ?? 0) ^ 1;
      const put = async (build: string, id: string, sealed: Uint8Array) => {
        await database.sql
          .updateTable('build_secrets')
          .set({ sealed })
          .where('build_id', '=', build)
          .where('id', '=', id)
          .execute();
      };
      await put(first, 'a', damaged);
      await put(second, 'b', sealedOf(first, 'b'));
      await put(third, 'c', Buffer.alloc(0));
      const result = await run();
      expect(countsOf(result)[0]).toEqual({ current: 9, anew: 9, former: 0, locked: 3 });
      expect(result.locked.map(({ key, why }) => ({ ...key, why }))).toEqual(
        expect.arrayContaining([
          { build_id: first, id: 'a', why: 'tampered' },
          { build_id: second, id: 'b', why: 'tampered' },
          { build_id: third, id: 'c', why: 'tampered' },
        ]),
      );
      const left = await rows();
      const kept = left.find((row) => row.build_id === first && row.id === 'a')?.sealed;
      expect(Buffer.from(kept ?? [])).toEqual(damaged);
      expect(JSON.stringify(result)).not.toContain('hunter2');
      // The same again: they stay named until somebody sets them anew.
      expect(countsOf(await run())[0]).toEqual({ current: 9, anew: 0, former: 0, locked: 3 });
    });

    it('names only the first of many', async () => {
      await fill(40);
      const result = await run({ secretBox: new SecretBox({ key: after }), batch: 50 });
      expect(result.locked).toHaveLength(100);
      expect(countsOf(result)[0]?.locked).toBe(120);
    });

    it('is gone on with by the next run, wherever it ended', async () => {
      const ids = await fill(6);
      for (let end = 1; end <= 5; end += 1) {
        let batches = 0;
        const stop = new AbortController();
        const onBatch = () => {
          batches += 1;
          if (batches === end) stop.abort(new Error('ended'));
        };
        await expect(run({ signal: stop.signal, onBatch })).rejects.toThrow('ended');
        // Both keys are needed at this point, and both are enough.
        await expectOpen(ids, rotating);
      }
      expect(countsOf(await run())[0]).toMatchObject({ current: 18, former: 0, locked: 0 });
      await expectOpen(ids);
    });

    it('does not overwrite what is written meanwhile, and seals that anew as well', async () => {
      const ids = await fill(8);
      await using second =
        scratch.options.provider === 'sqlite' ? undefined : await Database.open(scratch.options);
      // A server that has not been restarted: the former key is its current one.
      const elsewhere = second ?? database;
      await using queue = new SqlBuildQueue(elsewhere, { secretBox: old });
      const written = new Map<string, Buffer>();
      let batches = 0;
      let late: BuildId | undefined;
      // Of one row one after the other: the last one asked for is to be the last one written.
      const writing = new Map<string, Promise<unknown>>();
      const onBatch = async () => {
        batches += 1;
        if (batches === 2) {
          await queue.cancel(ids[7] as BuildId, 'ann');
          late = (await queue.enqueue(request(), { secrets: [{ id: 'late', value: Buffer.from('late') }] }))
            .id;
        }
        if (batches > 4) return;
        for (const id of ids.slice(0, 7)) {
          const value = randomBytes(20);
          written.set(id, value);
          const write = async () =>
            await elsewhere.sql
              .updateTable('build_secrets')
              .set({ sealed: old.seal(value, `build-secret ${id} b`) })
              .where('build_id', '=', id)
              .where('id', '=', 'b')
              .execute();
          // Not awaited: it happens while the next batch is sealed.
          writing.set(id, (writing.get(id) ?? Promise.resolve()).then(write));
        }
        if (batches === 4) await Promise.all(writing.values());
      };
      expect(countsOf(await run({ onBatch }))[0]).toMatchObject({ current: 22, former: 0, locked: 0 });
      await using reader = new SqlBuildQueue(database, { secretBox: current });
      for (const [at, id] of ids.slice(0, 7).entries()) {
        const [a, b] = await reader.secrets(id);
        expect(Buffer.from(a?.value ?? [])).toEqual(secretOf(at, 'a'));
        expect(Buffer.from(b?.value ?? [])).toEqual(written.get(id));
      }
      expect(await reader.secrets(ids[7] as BuildId)).toEqual([]);
      expect(
        (await reader.secrets(late as BuildId)).map(({ value }) => Buffer.from(value).toString()),
      ).toEqual(['late']);
    });

    it('ends, and says what is left, while a server goes on to seal with the former key', async () => {
      await fill(1);
      await using queue = new SqlBuildQueue(database, { secretBox: old });
      const onBatch = async () => {
        await queue.enqueue(request(), { secrets: [{ id: 'a', value: Buffer.from('x') }] });
      };
      const result = await run({ onBatch, batch: 100 });
      const [secrets] = countsOf(result);
      expect(secrets?.anew).toBe(secrets?.current);
      expect(secrets?.former).toBeGreaterThan(0);
      expect(secrets?.locked).toBe(0);
    });

    it('may be run several times at once', async () => {
      const ids = await fill(8);
      const results = await Promise.all([run(), run(), run()]);
      for (const result of results)
        expect(countsOf(result)[0]).toMatchObject({ current: 24, former: 0, locked: 0 });
      expect(results.reduce((sum, result) => sum + (countsOf(result)[0]?.anew ?? 0), 0)).toBe(24);
      await expectOpen(ids);
    });
  });
}
