import { randomBytes, randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pausedAt } from '../../test/harness/paused-at.ts';
import type { OpenScratch, ScratchDatabase } from '../../test/harness/scratch-database.ts';
import { ManualClock } from '../base/clock.ts';
import { Database } from '../db/database.ts';
import { SecretBox } from '../db/secret-box.ts';
import type { Outcome } from '../model/attempt.ts';
import type { Build, BuildRequest } from '../model/build.ts';
import { digestOf } from '../model/digest.ts';
import type { AttemptId, BuildId } from '../model/ids.ts';
import { escapeTag } from '../model/tag.ts';
import type { RunningAttempt } from './build-queue.ts';
import { QueueError } from './queue-error.ts';
import { SqlBuildQueue } from './sql-build-queue.ts';

export const image = { digest: digestOf('image'), size: 5 };
export const complete: Outcome = { kind: 'complete', image };
export const userError: Outcome = { kind: 'error', fault: { code: 'builderror', message: 'A step failed.' } };
export const refunded: Outcome = {
  kind: 'internal-error',
  refunded: true,
  fault: { code: 'managerlost', message: 'Lost.' },
};
export const expired: Outcome = {
  kind: 'expired',
  at: 'building',
  fault: { code: 'workerlost', message: 'The worker is gone.' },
};

export function request(repository = 'team/app', more: Partial<BuildRequest> = {}): BuildRequest {
  const [namespace = '', name = ''] = repository.split('/');
  return {
    repository: { namespace, name },
    source: { kind: 'archive', url: 'https://example.com/source.tar' },
    context: '/',
    dockerfilePath: '/Dockerfile',
    tags: [escapeTag('latest')],
    displayName: 'app',
    platforms: [],
    buildArgs: { COLOUR: 'green' },
    labels: {},
    noCache: false,
    push: true,
    priority: 0,
    ...more,
  };
}

/** What every build queue must do. `open` gives an empty database; the suite closes it. */
export function buildQueueSuite(name: string, open: OpenScratch): void {
  describe(`build queue on ${name}`, () => {
    let scratch: ScratchDatabase;
    let database: Database;
    let queue: SqlBuildQueue;
    let clock: ManualClock;
    /** The processes' own time; the clock's may jump. */
    let monotonic: number;
    const secretBox = new SecretBox({ key: randomBytes(32) });

    beforeEach(async () => {
      scratch = await open();
      database = scratch.database;
      clock = new ManualClock();
      monotonic = 0;
      queue = new SqlBuildQueue(database, {
        secretBox,
        clock,
        mostAttempts: 6,
        monotonic: () => monotonic,
      });
      await queue.start();
    });

    afterEach(async () => {
      await queue.stop();
      await scratch[Symbol.asyncDispose]();
    });

    const claim = (limit = 1, capacity = 1000, manager = 'm1') =>
      queue.claim({ manager, limit, capacity, lease: 300_000 });

    async function claimOne(): Promise<RunningAttempt> {
      const [attempt, ...others] = await claim();
      if (attempt === undefined || others.length > 0) throw new Error('expected one attempt');
      return attempt;
    }

    async function reload({ id }: { id: BuildId }): Promise<Build> {
      const build = await queue.build(id);
      if (build === undefined) throw new Error(`no build ${id}`);
      return build;
    }

    async function running(repository?: string, more?: Partial<BuildRequest>) {
      const build = await queue.enqueue(request(repository, more));
      const attempt = await claimOne();
      expect(attempt.buildId).toBe(build.id);
      return { build, attempt };
    }

    const end = (attempt: RunningAttempt, outcome: Outcome = complete, delay = 0) =>
      queue.finish(attempt.id, attempt.epoch, outcome, delay);

    async function completed(attempt: RunningAttempt): Promise<void> {
      expect((await end(attempt)).kind).toBe('publish');
      const build = await queue.publish(attempt.buildId, [attempt], image);
      expect(build).toMatchObject({ phase: 'complete' });
    }

    describe('one build, start to end', () => {
      it('keeps the request as it was given', async () => {
        const asked = request('team/app', {
          platforms: ['linux/amd64', 'linux/arm64'],
          target: 'release',
          labels: { a: 'ä' },
          triggerMetadata: { commit: 'abc' },
          manualUser: 'ann',
        });
        const build = await queue.enqueue(asked);
        expect(build).toMatchObject({ ...asked, phase: 'waiting', desired: 'run', createdAt: clock.now() });
        expect(build.jobs.map(({ platform }) => platform)).toEqual(['linux/amd64', 'linux/arm64']);
        expect(await queue.build(build.id)).toEqual(build);
      });

      it('moves through all stages to complete', async () => {
        const { build, attempt } = await running();
        expect(attempt).toMatchObject({ epoch: 1, state: 'scheduled', triesLeft: 2, manager: 'm1' });
        expect(attempt.leaseUntil).toBe(clock.now() + 300_000);
        expect((await reload(build)).phase).toBe('build-scheduled');
        expect(await queue.recordWorker(attempt.id, 1, { executor: 'local', worker: 'pid-1' })).toBe(true);
        expect(await queue.register(attempt.id, 1, { capabilities: { logBatches: true } })).toBe(true);
        expect(await queue.register(attempt.id, 1, { capabilities: {} })).toBe(false);
        for (const stage of ['unpacking', 'pulling', 'building', 'pushing'] as const) {
          await clock.advance(1000);
          expect(await queue.enterStage(attempt.id, 1, stage)).toBe('moved');
          expect(await queue.enterStage(attempt.id, 1, stage)).toBe('same');
          expect((await reload(build)).phase).toBe(stage);
        }
        expect(await queue.enterStage(attempt.id, 1, 'pulling', { commit: 'c0ffee' })).toBe('late');
        expect(await queue.attempt(attempt.id)).toMatchObject({ executor: 'local', worker: 'pid-1' });

        expect(await end(attempt)).toEqual({ kind: 'publish', images: [{ platform: '', image }] });
        expect((await reload(build)).phase).toBe('pushing');
        const published = await queue.publish(build.id, [attempt], image);
        expect(published).toMatchObject({
          phase: 'complete',
          digest: image.digest,
          imageSize: 5,
          commit: 'c0ffee',
          finishedAt: clock.now(),
        });
        const view = published === 'stale' ? undefined : published.jobs[0]?.attempts[0];
        expect(view).toMatchObject({ state: 'done', outcome: complete, epoch: 1 });
        expect(Object.keys(view?.entered ?? {})).toHaveLength(8);
        expect(await queue.counts()).toEqual({ queued: 0, running: 0, ownerless: 0 });
      });

      it('ends in error at once, whatever tries are left', async () => {
        const { attempt } = await running();
        const finished = await end(attempt, userError);
        expect(finished).toMatchObject({
          kind: 'final',
          build: { phase: 'error', fault: { code: 'builderror' } },
        });
        expect(await claim()).toEqual([]);
      });

      it('uses up its tries, each with the next epoch, and expires', async () => {
        const build = await queue.enqueue(request());
        for (const [epoch, triesLeft] of [
          [1, 2],
          [2, 1],
          [3, 0],
        ] as const) {
          const attempt = await claimOne();
          expect(attempt).toMatchObject({ epoch, triesLeft });
          const finished = await end(attempt, expired, 30_000);
          if (epoch === 3) {
            expect(finished).toMatchObject({ kind: 'final', build: { phase: 'expired' } });
            break;
          }
          const availableAt = clock.now() + 30_000;
          expect(finished).toEqual({ kind: 'retry', epoch: epoch + 1, triesLeft, availableAt });
          expect((await reload(build)).phase).toBe('waiting');
          await clock.advance(29_999);
          expect(await claim()).toEqual([]);
          await clock.advance(1);
        }
        expect((await reload(build)).jobs[0]?.attempts).toHaveLength(3);
      });

      it('gives a refunded try back, but not for ever', async () => {
        const { build, attempt } = await running();
        let current = attempt;
        for (let epoch = 1; epoch < 6; epoch += 1) {
          expect(await end(current, refunded)).toMatchObject({ kind: 'retry', triesLeft: 3 });
          current = await claimOne();
        }
        expect(await end(current, refunded)).toMatchObject({ kind: 'final' });
        expect((await reload(build)).phase).toBe('internalerror');
      });

      it('releases without a cost: same epoch, same tries', async () => {
        const { build, attempt } = await running();
        const later = clock.now() + 5000;
        expect(await queue.release(attempt.id, attempt.epoch, later)).toBe(true);
        expect(await queue.release(attempt.id, attempt.epoch, later)).toBe(false);
        expect((await reload(build)).phase).toBe('waiting');
        expect(await queue.attempt(attempt.id)).toBeUndefined();
        expect(await claim()).toEqual([]);
        await clock.advance(5000);
        expect(await claimOne()).toMatchObject({ id: attempt.id, epoch: 1, triesLeft: 2 });
      });

      it('does not release what a worker has registered for', async () => {
        const { attempt } = await running();
        await queue.register(attempt.id, 1, { capabilities: {} });
        expect(await queue.release(attempt.id, 1, 0)).toBe(false);
      });

      it('refuses stages of a worker that has not registered', async () => {
        const { attempt } = await running();
        expect(await queue.enterStage(attempt.id, 1, 'unpacking')).toBe('stale');
      });
    });

    describe('epochs', () => {
      it('changes nothing for a wrong epoch', async () => {
        const { build, attempt } = await running();
        const before = await reload(build);
        const { id } = attempt;
        for (const epoch of [0, 2]) {
          expect(await queue.recordWorker(id, epoch, { executor: 'x', worker: 'y' })).toBe(false);
          expect(await queue.register(id, epoch, { capabilities: {} })).toBe(false);
          expect(await queue.enterStage(id, epoch, 'building')).toBe('stale');
          expect(await queue.extendLease(id, epoch, 'm1', clock.now() + 999_999)).toBe(false);
          expect(await queue.release(id, epoch, 0)).toBe(false);
          expect(await queue.finish(id, epoch, complete, 0)).toEqual({ kind: 'stale' });
          expect(await queue.isCurrent(id, epoch)).toBe(false);
        }
        expect(await reload(build)).toEqual(before);
        expect(await queue.isCurrent(id, 1)).toBe(true);
      });

      it('fences the attempt before a retry', async () => {
        const { build, attempt } = await running();
        await end(attempt, expired);
        const next = await claimOne();
        expect(await queue.isCurrent(attempt.id, attempt.epoch)).toBe(false);
        expect(await end(attempt)).toEqual({ kind: 'stale' });
        expect(await queue.enterStage(attempt.id, 1, 'pushing')).toBe('stale');
        expect(await queue.isCurrent(next.id, next.epoch)).toBe(true);
        await end(next);
        expect(await queue.publish(build.id, [attempt], image)).toBe('stale');
        expect((await reload(build)).phase).toBe('pushing');
        expect(await queue.publish(build.id, [next], image)).toMatchObject({ phase: 'complete' });
      });

      it('finishes once', async () => {
        const { build, attempt } = await running();
        const results = await Promise.all([end(attempt), end(attempt, userError), end(attempt, expired)]);
        expect(results.filter(({ kind }) => kind === 'stale')).toHaveLength(2);
        const after = await reload(build);
        expect(await end(attempt, userError)).toEqual({ kind: 'stale' });
        expect(await reload(build)).toEqual(after);
      });

      it('knows nothing of an id that was never given', async () => {
        const id = randomUUID() as AttemptId;
        expect(await queue.attempt(id)).toBeUndefined();
        expect(await queue.finish(id, 1, complete, 0)).toEqual({ kind: 'stale' });
        expect(await queue.isCurrent(id, 1)).toBe(false);
        expect(await queue.cancel(id as string as BuildId, 'ann')).toEqual({ kind: 'unknown' });
        expect(await queue.publish(id as string as BuildId, [], image)).toBe('stale');
        expect(await queue.position(id as string as BuildId)).toBeUndefined();
      });
    });

    describe('publishing', () => {
      it('has nothing to do for a build that was not to be pushed', async () => {
        const { build, attempt } = await running('team/app', { push: false });
        const next = await queue.enqueue(request());
        expect(await end(attempt, { kind: 'complete' })).toMatchObject({
          kind: 'final',
          build: { id: build.id, phase: 'complete', finishedAt: clock.now() },
        });
        expect(await reload(build)).toMatchObject({ phase: 'complete' });
        expect(await queue.unpublished('m2', 1)).toEqual([]);
        expect(await claimOne()).toMatchObject({ buildId: next.id });
      });

      it('answers a repeated publish as the first', async () => {
        const { build, attempt } = await running();
        await end(attempt);
        const first = await queue.publish(build.id, [attempt], image);
        expect(await queue.publish(build.id, [attempt], image)).toEqual(first);
      });

      it('is held by the one manager that publishes it', async () => {
        const { build, attempt } = await running();
        const hold = (manager: string, takes: boolean) =>
          queue.holdPublication(build.id, manager, { lease: 1_000, takes });
        expect(await hold('m1', true)).toBe('lost');
        await end(attempt);
        expect(await hold('m2', false)).toBe('lost');
        expect(await hold('m2', true)).toBe('held');
        expect(await hold('m1', false)).toBe('lost');
        expect(await hold('m2', false)).toBe('held');
        expect(await queue.cancel(build.id, 'ann')).toMatchObject({ kind: 'cancelling' });
        expect(await hold('m2', false)).toBe('cancel');
        await queue.publish(build.id, [attempt], image);
        expect(await hold('m2', true)).toBe('lost');
      });

      it('keeps where another registry serves the image', async () => {
        const { build, attempt } = await running();
        await end(attempt);
        const references = ['registry.example/team/app:latest'];
        const published = await queue.publish(build.id, [attempt], { ...image, references });
        expect(published).toMatchObject({ phase: 'complete', published: references });
        expect(await reload(build)).toMatchObject({ digest: image.digest, published: references });
      });

      it("ends as the user's when the registry refused it, else as ours", async () => {
        for (const [code, phase] of [
          ['registryrefused', 'error'],
          ['registryunreachable', 'internalerror'],
        ] as const) {
          const { build, attempt } = await running(`team/${code}`);
          await end(attempt);
          const fault = { code, message: 'words' };
          expect(await queue.failPublish(build.id, fault)).toMatchObject({ phase, fault });
        }
      });

      it('is taken over when the manager died between complete and publish', async () => {
        const { build, attempt } = await running();
        await end(attempt);
        expect(await queue.unpublished('m2', 60_000)).toEqual([]);
        await clock.advance(60_000);
        expect(await queue.unpublished('m2', 60_000)).toEqual([build.id]);
        expect(await queue.unpublished('m3', 60_000)).toEqual([]);
        expect(await queue.publish(build.id, [attempt], image)).toMatchObject({ phase: 'complete' });
        await clock.advance(60_000);
        expect(await queue.unpublished('m3', 60_000)).toEqual([]);
      });

      it('is taken over at once from a manager known to be dead', async () => {
        const { build, attempt } = await running();
        await end(attempt);
        expect(await queue.adopt('m2', 300_000, ['m1'])).toEqual({
          attempts: [],
          retried: 0,
          unpublished: [build.id],
        });
        expect(await queue.unpublished('m3', 60_000)).toEqual([]);
      });

      it('fails for good, once', async () => {
        const { build, attempt } = await running();
        const fault = { code: 'publishissue', message: 'The registry is gone.' } as const;
        expect(await queue.failPublish(build.id, fault)).toBe('stale');
        await end(attempt);
        expect(await queue.failPublish(build.id, fault)).toMatchObject({ phase: 'internalerror', fault });
        expect(await queue.publish(build.id, [attempt], image)).toBe('stale');
        expect((await reload(build)).phase).toBe('internalerror');
      });
    });

    describe('several platforms', () => {
      const platforms = ['linux/amd64', 'linux/arm64'];

      async function both() {
        const build = await queue.enqueue(request('team/app', { platforms }));
        const attempts = await claim(5);
        const [first, second] = [...attempts].sort((a, b) => a.platform.localeCompare(b.platform));
        if (first === undefined || second === undefined) throw new Error('expected two attempts');
        return { build, first, second };
      }

      it('publishes when the last one is complete', async () => {
        const { build, first, second } = await both();
        expect(await end(second)).toEqual({ kind: 'others-running' });
        expect((await reload(build)).phase).toBe('build-scheduled');
        const finished = await end(first);
        expect(finished).toMatchObject({
          kind: 'publish',
          images: platforms.map((platform) => ({ platform })),
        });
        expect(await queue.publish(build.id, [first], image)).toBe('stale');
        expect(await queue.publish(build.id, [second, first], image)).toMatchObject({ phase: 'complete' });
      });

      it('stops the others when one fails, and stays what it became', async () => {
        const { build, first, second } = await both();
        expect(await end(first, userError)).toMatchObject({ kind: 'final', build: { phase: 'error' } });
        expect(await queue.attempt(second.id)).toMatchObject({ desired: 'cancel' });
        expect(await queue.isCurrent(second.id, second.epoch)).toBe(false);
        const ended = await reload(build);
        expect(await end(second, { kind: 'cancelled', by: 'slipway' })).toEqual({ kind: 'others-running' });
        expect(await reload(build)).toMatchObject({ phase: 'error', finishedAt: ended.finishedAt });
        expect(await queue.counts()).toEqual({ queued: 0, running: 0, ownerless: 0 });
      });

      it('runs in one place of its repository', async () => {
        const { first, second } = await both();
        await queue.enqueue(request());
        expect(await claim(5)).toEqual([]);
        await end(first);
        await end(second);
        expect(await claim(5)).toEqual([]);
        await queue.publish(first.buildId, [first, second], image);
        expect(await claim(5)).toHaveLength(1);
      });
    });

    describe('cancel', () => {
      it('is at once for a build that waits', async () => {
        const build = await queue.enqueue(request());
        const verdict = await queue.cancel(build.id, 'ann');
        expect(verdict).toMatchObject({
          kind: 'cancelled',
          build: { phase: 'cancelled', cancelledBy: 'ann' },
        });
        expect(await queue.cancel(build.id, 'bob')).toMatchObject({
          kind: 'already-final',
          build: { cancelledBy: 'ann' },
        });
        expect(await claim()).toEqual([]);
      });

      it('is at once for a build without a place, and for one between two tries', async () => {
        const { attempt } = await running();
        const waiting = await queue.enqueue(request());
        expect(await queue.cancel(waiting.id, 'ann')).toMatchObject({ kind: 'cancelled' });
        await end(attempt, expired, 30_000);
        expect(await queue.cancel(attempt.buildId, 'ann')).toMatchObject({ kind: 'cancelled' });
        expect((await queue.counts()).queued).toBe(0);
      });

      it.each(['scheduled', 'registered', 'unpacking', 'pulling', 'building', 'pushing'] as const)(
        'stores the wish for a build that is %s, and the worker ends as cancelled',
        async (state) => {
          const { build, attempt } = await running();
          if (state !== 'scheduled') await queue.register(attempt.id, 1, { capabilities: {} });
          if (state !== 'scheduled' && state !== 'registered') await queue.enterStage(attempt.id, 1, state);
          expect(await queue.cancel(build.id, 'ann')).toMatchObject({
            kind: 'cancelling',
            build: { desired: 'cancel' },
          });
          expect(await queue.supervised('m1')).toMatchObject([
            { id: attempt.id, desired: 'cancel', cancelledBy: 'ann' },
          ]);
          // The worker was faster than the cancel: still, who cancelled was told that it will be.
          expect(await end(attempt)).toMatchObject({
            kind: 'final',
            build: { phase: 'cancelled', cancelledBy: 'ann' },
          });
        },
      );

      it('turns a retry and a release into the end', async () => {
        const first = await running();
        await queue.cancel(first.build.id, 'ann');
        expect(await end(first.attempt, expired)).toMatchObject({
          kind: 'final',
          build: { phase: 'cancelled' },
        });
        const second = await running();
        await queue.cancel(second.build.id, 'ann');
        expect(await queue.release(second.attempt.id, 1, 0)).toBe(true);
        expect((await reload(second.build)).phase).toBe('cancelled');
      });

      it('is too late for a publisher that succeeds, and in time for one that fails', async () => {
        const first = await running();
        await end(first.attempt);
        expect(await queue.cancel(first.build.id, 'ann')).toMatchObject({ kind: 'cancelling' });
        expect(await queue.publish(first.build.id, [first.attempt], image)).toMatchObject({
          phase: 'complete',
        });
        const second = await running();
        await end(second.attempt);
        await queue.cancel(second.build.id, 'ann');
        const fault = { code: 'publishissue', message: 'Gone.' } as const;
        expect(await queue.failPublish(second.build.id, fault)).toMatchObject({ phase: 'cancelled' });
      });
    });

    describe('managers', () => {
      it('extends only its own lease', async () => {
        const { attempt } = await running();
        const until = clock.now() + 600_000;
        expect(await queue.extendLease(attempt.id, 1, 'm2', until)).toBe(false);
        expect(await queue.extendLease(attempt.id, 1, 'm1', until)).toBe(true);
        expect((await queue.attempt(attempt.id))?.leaseUntil).toBe(until);
      });

      it('takes over what has no owner, once', async () => {
        const { attempt } = await running();
        const { attempt: left } = await running('team/other');
        for (const { id } of [attempt, left]) {
          await queue.recordWorker(id, 1, { executor: 'local', worker: `pid ${id}` });
        }
        const taken: string[] = [];
        for (let n = 0; n <= 60; n += 1, monotonic += 5_000) {
          if (n % 12 === 0) await queue.extendLease(attempt.id, 1, 'm1', clock.now() + n);
          const [two, three] = await Promise.all([queue.adopt('m2', 300_000), queue.adopt('m3', 300_000)]);
          const attempts = [...two.attempts, ...three.attempts];
          if (n < 60) expect(attempts).toEqual([]);
          taken.push(...attempts.map(({ id }) => id));
        }
        expect(taken).toEqual([left.id]);
        expect(await queue.supervised('m1')).toMatchObject([{ id: attempt.id }]);
        expect(await queue.adopt('m4', 300_000, ['m1'])).toMatchObject({
          attempts: [{ id: attempt.id, manager: 'm4', epoch: 1, state: 'scheduled' }],
          retried: 0,
        });
        expect(await queue.extendLease(attempt.id, 1, 'm1', clock.now())).toBe(false);
      });

      it('counts what nobody looks after, whatever the time of day', async () => {
        const ownerless = async () => (await queue.counts()).ownerless;
        const { attempt } = await running();
        expect(await ownerless()).toBe(1);
        await queue.beat('m1', 300_000);
        await clock.advance(3 * 3_600_000);
        expect(await ownerless()).toBe(0);
        const look = async (times: number) => {
          for (let n = 0; n < times; n += 1, monotonic += 5_000) await queue.adopt('m1', 300_000);
        };
        await look(60);
        expect(await ownerless()).toBe(0);
        await look(1);
        // It is its own, so nobody else takes it, and it has lost sight of it.
        expect(await ownerless()).toBe(1);
        expect(await queue.extendLease(attempt.id, 1, 'm1', clock.now())).toBe(true);
        expect(await ownerless()).toBe(0);
        await queue.leave('m1');
        expect(await ownerless()).toBe(1);
        await queue.beat('m2', 300_000);
        expect(await ownerless()).toBe(0);
      });

      describe('one of which has its clock 301 s ahead', () => {
        const lease = 300_000;
        let ahead: ManualClock;
        let b: SqlBuildQueue;

        beforeEach(async () => {
          ahead = new ManualClock(clock.now() + 301_000);
          b = new SqlBuildQueue(database, { secretBox, clock: ahead, monotonic: () => monotonic });
          for (let n = 0; n < 4; n += 1) await passHalfSecond();
        });
        afterEach(async () => {
          await b.stop();
        });

        async function passHalfSecond() {
          monotonic += 500;
          await Promise.all([clock.advance(500), ahead.advance(500)]);
          await queue.beat('m1', lease);
          await b.beat('m2', lease);
        }

        /** For 20 minutes m2 looks as often as it may; m1 lives, and extends as managers do. */
        async function pass(extend: () => Promise<void>) {
          const got: unknown[] = [];
          for (let n = 0; n < 240; n += 1) {
            monotonic += 5_000;
            await Promise.all([clock.advance(5_000), ahead.advance(5_000)]);
            if (n % 12 === 0) await extend();
            const { attempts, retried, unpublished } = await b.adopt('m2', lease);
            got.push(...attempts, ...unpublished, ...Array.from({ length: retried }, () => 'retried'));
          }
          return got;
        }

        it('takes nothing from a living one, nor starts what that one is about to start', async () => {
          const { attempt } = await running();
          const extend = () => queue.extendLease(attempt.id, 1, 'm1', clock.now() + lease).then(() => {});
          expect(await pass(extend)).toEqual([]);
          expect(await b.supervised('m2')).toEqual([]);
          expect(await queue.recordWorker(attempt.id, 1, { executor: 'local', worker: 'pid 1' })).toBe(true);
          expect(await queue.attempt(attempt.id)).toMatchObject({ manager: 'm1', epoch: 1, triesLeft: 2 });
        });

        it('gives what nobody looks after, and may yet get a worker, a new epoch and its try back', async () => {
          const { build, attempt } = await running();
          expect(await pass(async () => {})).toEqual(['retried']);
          // The worker that the first one may still start has nothing to register for.
          expect(await queue.recordWorker(attempt.id, 1, { executor: 'x', worker: 'y' })).toBe(false);
          expect(await queue.register(attempt.id, 1, { capabilities: {} })).toBe(false);
          const [next] = await b.claim({ manager: 'm2', limit: 1, capacity: 1000, lease });
          expect(next).toMatchObject({ buildId: build.id, epoch: 2, triesLeft: 2 });
        });

        it('says of what one of them is to try again later what the claim does', async () => {
          await b.enqueue(request());
          const attempt = await claimOne();
          expect(await b.finish(attempt.id, 1, refunded, 30_000)).toMatchObject({ kind: 'retry' });
          const other = await queue.enqueue(request('other/app'));
          const retried = await queue.position(attempt.buildId);
          expect(retried?.estimatedStart ?? 0).toBeLessThanOrEqual(clock.now());
          const ahead = (await queue.position(other.id))?.ahead;
          const next = await claimOne();
          expect(ahead).toBe(next.buildId === attempt.buildId ? 1 : 0);
        });

        it('tells the time of an attempt by the clock that it was claimed by', async () => {
          await b.adopt('m2', lease);
          const { attempt } = await running();
          for (let n = 0; n < 20; n += 1) {
            await passHalfSecond();
            await b.adopt('m2', lease);
          }
          expect(await queue.timeOf(attempt.id, 1)).toBe(clock.now());
          const apart = ((await b.timeOf(attempt.id, 1)) ?? 0) - clock.now();
          // A claim is noticed at the next look.
          expect(Math.abs(apart)).toBeLessThanOrEqual(500);
          expect(await b.timeOf(attempt.id, 2)).toBeUndefined();
          await end(attempt);
          expect(await b.timeOf(attempt.id, 1)).toBeUndefined();
        });

        it('takes over a worker that nobody looks after, as it is', async () => {
          const { attempt } = await running();
          await queue.recordWorker(attempt.id, 1, { executor: 'local', worker: 'pid 1' });
          expect(await pass(async () => {})).toMatchObject([{ id: attempt.id, manager: 'm2', epoch: 1 }]);
        });

        it('lets nothing wait for longer than it was to wait', async () => {
          await b.enqueue(request());
          const attempt = await claimOne();
          expect(await b.release(attempt.id, 1, ahead.now() + 5_000)).toBe(true);
          expect(await claimOne()).toMatchObject({ id: attempt.id, epoch: 1 });
          expect(await b.finish(attempt.id, 1, refunded, 5_000)).toMatchObject({ kind: 'retry' });
          expect(await claimOne()).toMatchObject({ epoch: 2 });
        });

        it('knows of what it takes over how long that has been running', async () => {
          await b.adopt('m2', lease);
          const { attempt } = await running();
          await queue.recordWorker(attempt.id, 1, { executor: 'local', worker: 'pid 1' });
          const extend = () => queue.extendLease(attempt.id, 1, 'm1', clock.now() + lease).then(() => {});
          expect(await pass(extend)).toEqual([]);
          await queue.leave('m1');
          const { attempts } = await b.beat('m2', lease);
          expect(attempts.map(({ age }) => age)).toEqual([1_200_000]);
        });

        it.each([
          ['started', { executor: 'local', worker: 'pid 1' }],
          ['about to start', undefined],
        ])('takes no attempt, %s, whose lease moves after it was looked at', async (_, worker) => {
          const { attempt } = await running();
          if (worker !== undefined) await queue.recordWorker(attempt.id, 1, worker);
          let extended = 0;
          const late = pausedAt(database, 'transaction', 'before', async () => {
            extended += 1;
            await queue.extendLease(attempt.id, 1, 'm1', clock.now() + lease);
          });
          const c = new SqlBuildQueue(late, { secretBox, clock, monotonic: () => monotonic });
          for (const end = monotonic + 2 * lease; monotonic < end; monotonic += 5_000) {
            await clock.advance(5_000);
            expect(await c.adopt('m3', lease)).toEqual({ attempts: [], retried: 0, unpublished: [] });
          }
          expect(extended).toBeGreaterThan(0);
          expect(await queue.attempt(attempt.id)).toMatchObject({ manager: 'm1', epoch: 1 });
          await c.stop();
        });

        it('leaves publishing to a living one', async () => {
          const { attempt } = await running();
          await end(attempt);
          expect(await b.unpublished('m2', 60_000)).toEqual([]);
        });

        it('does not hold its own pause against the others', async () => {
          await running();
          expect((await b.adopt('m2', lease)).retried).toBe(0);
          monotonic += 3_600_000;
          expect((await b.adopt('m2', lease)).retried).toBe(0);
        });
      });

      it('treat what a former life may yet have started as those of a lost manager', async () => {
        const { attempt } = await running();
        expect(await queue.adopt('m2', 300_000, ['m1'])).toEqual({
          attempts: [],
          retried: 1,
          unpublished: [],
        });
        expect(await queue.register(attempt.id, 1, { capabilities: {} })).toBe(false);
        expect(await claim(1, 1000, 'm2')).toMatchObject([{ epoch: 2, triesLeft: 2 }]);
      });
    });

    describe('presence', () => {
      const lease = 300_000;
      const beat = (manager: string) => queue.beat(manager, lease);
      const nothing = { attempts: [], retried: 0, unpublished: [] };

      /** Half a second each, the managers named beating; what each of the others got is counted. */
      async function halfSeconds(count: number, ...managers: string[]) {
        const got: Awaited<ReturnType<typeof beat>>[] = [];
        for (let n = 0; n < count; n += 1) {
          monotonic += 500;
          for (const manager of managers) got.push(await beat(manager));
        }
        return got.filter(
          ({ attempts, retried, unpublished }) => attempts.length + retried + unpublished.length > 0,
        );
      }

      async function started(manager: string, repository: string) {
        await queue.enqueue(request(repository));
        const [attempt] = await claim(1, 1000, manager);
        if (attempt === undefined) throw new Error('nothing to claim');
        expect(
          await queue.recordWorker(attempt.id, 1, { executor: 'local', worker: `pid ${attempt.id}` }),
        ).toBe(true);
        return attempt;
      }

      it('takes over from a manager that stands still, in 5 s and only once, whatever the time of day', async () => {
        expect(await beat('m1')).toEqual(nothing);
        expect(await beat('m2')).toEqual(nothing);
        const attempt = await started('m1', 'team/app');
        clock.advance(10_000_000);
        expect(await halfSeconds(20, 'm1', 'm2', 'm3')).toEqual([]);
        expect(await halfSeconds(7, 'm2', 'm3')).toEqual([]);
        const [taken, ...others] = await halfSeconds(2, 'm2', 'm3');
        expect(others).toEqual([]);
        expect(taken).toMatchObject({
          attempts: [{ id: attempt.id, epoch: 1 }],
          retried: 0,
          unpublished: [],
        });
        expect(await queue.supervised('m1')).toEqual([]);
        expect(taken?.attempts[0]?.leaseUntil).toBe(clock.now() + lease);
        // It was only paused: it is there again, without what it had.
        expect(await halfSeconds(20, 'm1', 'm2', 'm3')).toEqual([]);
        expect(await queue.extendLease(attempt.id, 1, 'm1', clock.now())).toBe(false);
      });

      it('takes over at once from a manager that left', async () => {
        await beat('m1');
        await beat('m2');
        const attempt = await started('m1', 'team/app');
        await queue.leave('m1');
        expect(await beat('m2')).toMatchObject({ attempts: [{ id: attempt.id, manager: 'm2' }] });
        expect(await beat('m2')).toEqual(nothing);
      });

      it('tries again, at no cost, what may or may not have got a worker', async () => {
        await beat('m1');
        const build = await queue.enqueue(request());
        const attempt = await claimOne();
        await queue.leave('m1');
        expect(await beat('m2')).toEqual({ attempts: [], retried: 1, unpublished: [] });
        // The worker that the lost manager may still start has nothing to register for.
        expect(await queue.recordWorker(attempt.id, 1, { executor: 'x', worker: 'y' })).toBe(false);
        expect(await queue.register(attempt.id, 1, { capabilities: {} })).toBe(false);
        const [next] = await claim(1, 1000, 'm2');
        expect(next).toMatchObject({ buildId: build.id, epoch: 2, triesLeft: 2 });
      });

      it('publishes what a lost manager was to publish', async () => {
        await beat('m1');
        const { build, attempt } = await running();
        expect((await end(attempt)).kind).toBe('publish');
        expect(await beat('m2')).toEqual(nothing);
        await queue.leave('m1');
        expect(await beat('m2')).toMatchObject({ unpublished: [build.id] });
        expect(await queue.unpublished('m3', lease)).toEqual([]);
      });

      it("does not hold its own pause, or the database's, against the others", async () => {
        await beat('m1');
        await beat('m2');
        await started('m1', 'team/app');
        expect(await halfSeconds(4, 'm1', 'm2')).toEqual([]);
        monotonic += 3_600_000;
        expect(await halfSeconds(7, 'm2')).toEqual([]);
        expect(await halfSeconds(1, 'm1')).toEqual([]);
        expect(await halfSeconds(7, 'm2')).toEqual([]);
      });

      it('writes nothing while it is alone', async () => {
        await beat('m1');
        await halfSeconds(10, 'm1');
        const beats = () =>
          database.sql.selectFrom('managers').select('beats').where('name', '=', 'm1').executeTakeFirst();
        expect(await beats()).toEqual({ beats: 1 });
        await halfSeconds(4, 'm1', 'm2');
        expect(await beats()).toEqual({ beats: 4 });
      });
    });

    describe('order', () => {
      it('gives a namespace that queues one build the next slot after 5,000 of another', async () => {
        await Promise.all(Array.from({ length: 5_000 }, (_, n) => queue.enqueue(request(`many/app-${n}`))));
        const claimed = await claim(10, 10);
        expect(claimed).toHaveLength(10);
        const lonely = await queue.enqueue(request('few/app'));
        expect(await claim(1, 10)).toEqual([]);
        expect(await queue.position(lonely.id)).toEqual({ ahead: 0, running: 10 });
        const [slot] = claimed;
        if (slot !== undefined) await completed(slot);
        expect(await claim(1, 10)).toMatchObject([{ buildId: lonely.id }]);
      });

      it('finishes 1,000 builds after ten minutes at capacity, and none has lost a try', async () => {
        const total = 1_000;
        await Promise.all(
          Array.from({ length: total }, (_, n) => queue.enqueue(request(`ns-${n % 20}/app-${n % 100}`))),
        );
        const held = [...(await claim(10, 10))];
        expect(held).toHaveLength(10);
        for (const end = clock.now() + 600_000; clock.now() < end; await clock.advance(1_000)) {
          expect(await claim(16, 10)).toEqual([]);
          // As when the executor is full: nothing is started, and the next one may try.
          const [given] = held.splice(0, 1);
          if (given === undefined) throw new Error('nothing is held');
          expect(await queue.release(given.id, given.epoch, clock.now() + 1_000)).toBe(true);
          held.push(...(await claim(16, 10)));
          expect(held).toHaveLength(10);
        }
        let done = 0;
        for (let running = held; running.length > 0; running = [...(await claim(16, 10))]) {
          expect(running.length).toBeLessThanOrEqual(10);
          expect(running.map(({ epoch, triesLeft }) => [epoch, triesLeft])).toEqual(
            running.map(() => [1, 2]),
          );
          await Promise.all(running.map(completed));
          done += running.length;
          await clock.advance(1_000);
        }
        expect(done).toBe(total);
        expect(await queue.counts()).toEqual({ queued: 0, running: 0, ownerless: 0 });
      });

      it('says when a build is likely to start', async () => {
        const took = async (repository: string, time: number) => {
          const { attempt } = await running(repository);
          await clock.advance(time);
          await completed(attempt);
        };
        for (const time of [50_000, 60_000, 70_000]) await took('team/app', time);
        const { attempt } = await running('team/app');
        const [next, last] = [await queue.enqueue(request()), await queue.enqueue(request())];
        await clock.advance(20_000);
        const now = clock.now();
        expect(await queue.position(next.id)).toEqual({ ahead: 1, running: 1, estimatedStart: now + 40_000 });
        expect(await queue.position(last.id)).toEqual({
          ahead: 2,
          running: 1,
          estimatedStart: now + 100_000,
        });
        // Another repository waits for nobody, as long as there is room for more to run.
        const other = await queue.enqueue(request('team/other'));
        expect(await queue.position(other.id)).toEqual({ ahead: 0, running: 1, estimatedStart: now });
        expect(await claim(1, 1)).toEqual([]);
        expect(await queue.position(other.id)).toEqual({
          ahead: 0,
          running: 1,
          estimatedStart: now + 40_000,
        });
        await completed(attempt);
        expect(await queue.position(attempt.buildId)).toBeUndefined();
      });

      it('says of a retry that it starts when it may, and of others that it is not before them', async () => {
        const { attempt } = await running('team/app');
        const fault = { code: 'workerlost', message: 'The worker was lost.' } as const;
        const outcome = { kind: 'internal-error', fault, refunded: false } as const;
        expect(await queue.finish(attempt.id, attempt.epoch, outcome, 3_600_000)).toMatchObject({
          kind: 'retry',
        });
        const now = clock.now();
        expect(await queue.position(attempt.buildId)).toEqual({
          ahead: 0,
          running: 0,
          estimatedStart: now + 3_600_000,
        });
        // Of the same priority and a later turn, and due now.
        const other = await queue.enqueue(request('team/other'));
        expect(await queue.position(other.id)).toMatchObject({ ahead: 0 });
        expect(await queue.position(attempt.buildId)).toMatchObject({ estimatedStart: now + 3_600_000 });
      });

      it('takes turns by weight', async () => {
        await database.sql
          .insertInto('namespaces')
          .values({ name: 'heavy', weight: 3, max_running: null, created_at: 0 })
          .execute();
        for (let n = 0; n < 40; n += 1) {
          await queue.enqueue(request(`heavy/app-${n}`));
          await queue.enqueue(request(`light/app-${n}`));
        }
        const namespaces = (await claim(40)).map(({ repository }) => repository.namespace);
        expect(namespaces.filter((each) => each === 'heavy')).toHaveLength(30);
        // Evenly so, not all of one first.
        expect(namespaces.slice(0, 8).filter((each) => each === 'heavy')).toHaveLength(6);
      });

      it('charges a repository that runs one build after the other as well', async () => {
        for (let n = 0; n < 10; n += 1) await queue.enqueue(request('serial/app'));
        for (let n = 0; n < 10; n += 1) await queue.enqueue(request(`wide/app-${n}`));
        const turns: string[] = [];
        for (let n = 0; n < 10; n += 1) {
          const attempt = await claimOne();
          turns.push(attempt.repository.namespace);
          await completed(attempt);
        }
        expect(turns.filter((each) => each === 'serial')).toHaveLength(5);
      });

      it('forgets the turns of what was cancelled', async () => {
        const mine: Build[] = [];
        for (let n = 0; n < 50; n += 1) mine.push(await queue.enqueue(request(`mine/app-${n}`)));
        for (const build of mine) await queue.cancel(build.id, 'ann');
        for (let n = 0; n < 20; n += 1) await queue.enqueue(request(`yours/app-${n}`));
        const again = await queue.enqueue(request('mine/app'));
        expect((await claim(3)).map(({ buildId }) => buildId)).toContain(again.id);
      });

      it('puts priority first, also in a place that a lower one has not used', async () => {
        const low = await queue.enqueue(request());
        const high = await queue.enqueue(request('team/app', { priority: 5 }));
        const other = await queue.enqueue(request('other/app', { priority: 1 }));
        expect((await claim(5)).map(({ buildId }) => buildId)).toEqual([high.id, other.id]);
        expect(await queue.position(low.id)).toEqual({ ahead: 1, running: 2 });
      });

      it('is first in, first out within a repository, retries included', async () => {
        const first = await queue.enqueue(request());
        const second = await queue.enqueue(request());
        const attempt = await claimOne();
        expect(attempt.buildId).toBe(first.id);
        await end(attempt, expired, 30_000);
        expect(await claim()).toEqual([]);
        await clock.advance(30_000);
        const retry = await claimOne();
        expect(retry.buildId).toBe(first.id);
        await completed(retry);
        expect((await claimOne()).buildId).toBe(second.id);
      });

      it('runs as many builds of a repository as it has places', async () => {
        await database.sql
          .insertInto('repositories')
          .values({ namespace: 'team', name: 'app', visibility: 'private', concurrency: 2, created_at: 0 })
          .execute();
        for (let n = 0; n < 4; n += 1) await queue.enqueue(request());
        expect(await claim(10)).toHaveLength(2);
        const woken: string[] = [];
        queue.onChange(({ kind }) => woken.push(kind));
        expect(await queue.changeRepositoryConcurrency({ namespace: 'team', name: 'app' }, 3)).toBe(true);
        expect(await queue.repositoryConcurrency({ namespace: 'team', name: 'app' })).toBe(3);
        // Whoever claims is told, and need not look by itself.
        await expect.poll(() => woken).toContain('queued');
        expect(await claim(10)).toHaveLength(1);
        expect(await queue.changeRepositoryConcurrency({ namespace: 'team', name: 'app' }, 1)).toBe(true);
        expect((await queue.counts()).running).toBe(3);
        const none = { namespace: 'team', name: 'none' };
        expect(await queue.changeRepositoryConcurrency(none, 2)).toBe(false);
        expect(await queue.repositoryConcurrency(none)).toBeUndefined();
      });

      it('raises and lifts the limit of a namespace for those that wait', async () => {
        await database.sql.insertInto('namespaces').values({ name: 'team', created_at: 0 }).execute();
        expect(await queue.namespaceLimits('team')).toEqual({ weight: 1, maxRunning: undefined });
        await queue.changeNamespaceLimits('team', { maxRunning: 2 });
        for (let n = 0; n < 6; n += 1) await queue.enqueue(request(`team/app-${n}`));
        expect(await claim(10)).toHaveLength(2);
        expect(await queue.changeNamespaceLimits('team', { weight: 4, maxRunning: 3 })).toEqual({
          weight: 4,
          maxRunning: 3,
        });
        expect(await claim(10)).toHaveLength(1);
        // What is not given stays.
        await queue.changeNamespaceLimits('team', { weight: 2 });
        expect(await queue.namespaceLimits('team')).toEqual({ weight: 2, maxRunning: 3 });
        expect(await claim(10)).toEqual([]);
        await queue.changeNamespaceLimits('team', { maxRunning: undefined });
        expect(await claim(10)).toHaveLength(3);
      });

      it('knows a namespace by its repositories as well, and no other', async () => {
        await database.sql
          .insertInto('repositories')
          .values({ namespace: 'team', name: 'app', visibility: 'private', created_at: 0 })
          .execute();
        expect(await queue.namespaceLimits('none')).toBeUndefined();
        expect(await queue.changeNamespaceLimits('none', { weight: 2 })).toBeUndefined();
        expect(await queue.namespaceLimits('none')).toBeUndefined();
        expect(await queue.namespaceLimits('team')).toEqual({ weight: 1, maxRunning: undefined });
        await queue.changeNamespaceLimits('team', { maxRunning: 1 });
        expect(await queue.namespaceLimits('team')).toEqual({ weight: 1, maxRunning: 1 });
      });

      it('gives a place for a raised limit to no more than one each, whoever asks at once', async () => {
        await database.sql.insertInto('namespaces').values({ name: 'team', created_at: 0 }).execute();
        await queue.changeNamespaceLimits('team', { maxRunning: 1 });
        await Promise.all([
          ...Array.from({ length: 8 }, (_, n) => queue.enqueue(request(`team/app-${n}`))),
          ...[2, 3, 2, 3].map((maxRunning) => queue.changeNamespaceLimits('team', { maxRunning })),
        ]);
        await queue.changeNamespaceLimits('team', { maxRunning: 3 });
        expect(await claim(10)).toHaveLength(3);
      });

      it('runs at most as many builds of a namespace as it may', async () => {
        await database.sql
          .insertInto('namespaces')
          .values({ name: 'team', weight: 1, max_running: 2, created_at: 0 })
          .execute();
        for (let n = 0; n < 6; n += 1) await queue.enqueue(request(`team/app-${n % 3}`));
        const claimed = await claim(10);
        expect(claimed.map(({ repository }) => repository.name)).toEqual(['app-0', 'app-1']);
        for (const attempt of claimed) await completed(attempt);
        expect((await claim(10)).map(({ repository }) => repository.name).sort()).toEqual(['app-0', 'app-2']);
      });
    });

    describe('enqueue', () => {
      it('makes one build for one idempotency key, in one repository', async () => {
        let repeated = 0;
        const onRepeated = () => {
          repeated += 1;
        };
        const options = { idempotencyKey: 'delivery-1', onRepeated };
        const made = await Promise.all(Array.from({ length: 10 }, () => queue.enqueue(request(), options)));
        expect(new Set(made.map(({ id }) => id)).size).toBe(1);
        expect(repeated).toBe(9);
        await queue.enqueue(request(), options);
        expect(repeated).toBe(10);
        const elsewhere = await queue.enqueue(request('team/other'), { idempotencyKey: 'delivery-1' });
        expect(elsewhere.id).not.toBe(made[0]?.id);
        expect((await queue.counts()).queued).toBe(2);
      });

      it('refuses what goes over the limit of the namespace', async () => {
        const options = { maxQueuedPerNamespace: 2 };
        await queue.enqueue(request('team/a'), options);
        await queue.enqueue(request('team/b'), options);
        const refusal = queue.enqueue(request('team/c'), options);
        await expect(refusal).rejects.toThrow(QueueError);
        await expect(refusal).rejects.toMatchObject({ code: 'queue-full' });
        await claim(1);
        await queue.enqueue(request('team/c'), options);
        await queue.enqueue(request('other/a'), options);
      });

      it('holds the limit of the namespace against many at once, each refused alone', async () => {
        const options = { maxQueuedPerNamespace: 5 };
        const asked = Array.from({ length: 30 }, (_, n) => queue.enqueue(request(`team/app-${n}`), options));
        const others = Array.from({ length: 3 }, (_, n) => queue.enqueue(request(`free/app-${n}`), options));
        const settled = await Promise.allSettled([...asked, ...others]);
        const refused = settled.filter(({ status }) => status === 'rejected');
        expect(refused).toHaveLength(25);
        for (const each of refused) expect(each).toMatchObject({ reason: { code: 'queue-full' } });
        expect(await queue.builds({ namespaces: ['team'], limit: 100 })).toHaveLength(5);
        expect(await queue.builds({ namespaces: ['free'], limit: 100 })).toHaveLength(3);
        // What has started makes room.
        await claim(2);
        await queue.enqueue(request('team/later'), options);
      });

      it('gives many at once what each would get alone', async () => {
        await database.sql
          .insertInto('repositories')
          .values({ namespace: 'team', name: 'wide', visibility: 'private', concurrency: 2, created_at: 0 })
          .execute();
        const keyed = { idempotencyKey: 'once' };
        const [first, again, ...rest] = await Promise.all([
          queue.enqueue(request('team/wide'), keyed),
          queue.enqueue(request('team/wide'), keyed),
          queue.enqueue(request('team/wide')),
          queue.enqueue(request('team/wide')),
          queue.enqueue(request('team/wide', { priority: 5 })),
          queue.enqueue(request('team/app', { platforms: ['linux/amd64', 'linux/arm64'] })),
        ]);
        expect(again).toEqual(first);
        const [second, third, urgent, both] = rest;
        const claimed = await claim(10);
        // Both places: one to the urgent build, which takes it from the second.
        expect(claimed.map(({ buildId }) => buildId)).toEqual([urgent?.id, first?.id, both?.id, both?.id]);
        for (const attempt of claimed.slice(0, 2)) await completed(attempt);
        expect((await claim(10)).map(({ buildId }) => buildId)).toEqual([second?.id, third?.id]);
      });

      it('seals secrets, hands them out, and drops them at the end', async () => {
        const value = Buffer.from('hunter2-hunter2');
        const build = await queue.enqueue(request(), { secrets: [{ id: 'npm', value }] });
        const rows = await database.sql.selectFrom('build_secrets').selectAll().execute();
        expect(rows.map(({ sealed }) => Buffer.from(sealed).includes(value))).toEqual([false]);
        const [secret] = await queue.secrets(build.id);
        expect(secret?.id).toBe('npm');
        expect(Buffer.from(secret?.value ?? [])).toEqual(value);
        await queue.cancel(build.id, 'ann');
        expect(await queue.secrets(build.id)).toEqual([]);
      });
    });

    describe('an end', () => {
      it('that a manager decides by what it saw changes nothing once another one looks after the attempt', async () => {
        const { build, attempt } = await running();
        await queue.recordWorker(attempt.id, 1, { executor: 'local', worker: 'pid 1' });
        await queue.takeBack(attempt.id, 1, 'm2', 300_000);
        const by = { publisher: 'm1', supervisor: 'm1' };
        expect(await queue.finish(attempt.id, 1, expired, 0, by)).toEqual({ kind: 'lost' });
        expect(await queue.attempt(attempt.id)).toMatchObject({ state: 'scheduled', manager: 'm2' });
        expect(await reload(build)).toMatchObject({ phase: 'build-scheduled' });
        const own = { publisher: 'm2', supervisor: 'm2' };
        expect(await queue.finish(attempt.id, 1, expired, 0, own)).toMatchObject({ kind: 'retry' });
        expect(await queue.finish(attempt.id, 1, expired, 0, by)).toEqual({ kind: 'stale' });
      });

      it('that its worker reports is taken at any manager, and remembered whatever is judged', async () => {
        const { build, attempt } = await running();
        await queue.register(attempt.id, 1, { capabilities: {} });
        await queue.enterStage(attempt.id, 1, 'building', { sequence: 1 });
        const by = { publisher: 'm2', report: { sequence: 2, kind: 'complete' } } as const;
        expect(await queue.finish(attempt.id, 1, refunded, 0, by)).toMatchObject({ kind: 'retry' });
        expect(await queue.attempt(attempt.id)).toMatchObject({
          state: 'done',
          reports: { 1: 'building', 2: 'complete' },
        });
        expect((await reload(build)).jobs[0]?.attempts).toHaveLength(2);
      });

      it('that completes a build is published by the manager that took it', async () => {
        const { build, attempt } = await running();
        expect(await queue.finish(attempt.id, 1, complete, 0, { publisher: 'm2' })).toMatchObject({
          kind: 'publish',
        });
        const fault = { code: 'publishissue', message: 'The tags could not be written.' } as const;
        const options = { lease: 60_000, takes: false };
        expect(await queue.holdPublication(build.id, 'm1', options)).toBe('lost');
        expect(await queue.failPublish(build.id, fault, 'm1')).toBe('stale');
        expect(await reload(build)).toMatchObject({ phase: 'pushing' });
        expect(await queue.failPublish(build.id, fault, 'm2')).toMatchObject({ phase: 'internalerror' });
      });
    });

    describe('newest only', () => {
      const newest = (repository = 'team/app', key = 'main') =>
        queue.enqueue(request(repository), { newestOnly: key });

      it('supersedes what waits under the same key, and nothing else', async () => {
        const started = await newest();
        const attempt = await claimOne();
        expect(attempt.buildId).toBe(started.id);
        const [old, plain, branch, elsewhere] = [
          await newest(),
          await queue.enqueue(request()),
          await newest('team/app', 'branch'),
          await newest('team/other'),
        ];
        const told: unknown[] = [];
        const heard = Promise.withResolvers<void>();
        queue.onChange((change) => {
          told.push(change);
          if (change.kind === 'finished' && change.buildId === old.id) heard.resolve();
        });
        const latest = await newest();
        await heard.promise;
        expect(await reload(old)).toMatchObject({
          phase: 'cancelled',
          cancelledBy: 'superseded',
          supersededBy: latest.id,
          finishedAt: clock.now(),
          jobs: [{ attempts: [{ state: 'done', outcome: { kind: 'cancelled', by: 'superseded' } }] }],
        });
        for (const build of [plain, branch, elsewhere, latest]) {
          expect(await reload(build)).toMatchObject({ phase: 'waiting', desired: 'run' });
        }
        expect(await reload(started)).toMatchObject({ phase: 'build-scheduled', desired: 'run' });
        await completed(attempt);
        const order = [];
        for (let next = await claim(9); next.length > 0; next = await claim(9)) {
          for (const each of next) {
            order.push(each.buildId);
            await completed(each);
          }
        }
        expect(new Set(order)).toEqual(new Set([plain.id, branch.id, elsewhere.id, latest.id]));
      });

      it('takes over the place of the one it supersedes', async () => {
        const old = await newest();
        const latest = await newest();
        expect(await claimOne()).toMatchObject({ buildId: latest.id });
        expect(await reload(old)).toMatchObject({ phase: 'cancelled', supersededBy: latest.id });
      });

      it('leaves one of many at once', async () => {
        const made = await Promise.all(Array.from({ length: 20 }, () => newest()));
        const claimed = await claim(20);
        expect(claimed).toHaveLength(1);
        const builds = await Promise.all(made.map(reload));
        const left = builds.filter(({ phase }) => phase !== 'cancelled');
        expect(left.map(({ id }) => id)).toEqual([claimed[0]?.buildId]);
        for (const { id, supersededBy } of builds) {
          if (id !== left[0]?.id)
            expect(made.some((build) => build.id === supersededBy && build.id !== id)).toBe(true);
        }
      });

      it('supersedes what was given back unstarted, and counts it for the limit', async () => {
        const old = await queue.enqueue(request(), { newestOnly: 'main', maxQueuedPerNamespace: 1 });
        const attempt = await claimOne();
        expect(await queue.release(attempt.id, 1, clock.now())).toBe(true);
        expect(await reload(old)).not.toHaveProperty('startedAt');
        const latest = await queue.enqueue(request(), { newestOnly: 'main', maxQueuedPerNamespace: 1 });
        expect(await reload(old)).toMatchObject({ phase: 'cancelled', supersededBy: latest.id });
        const refusal = queue.enqueue(request(), { newestOnly: 'other', maxQueuedPerNamespace: 1 });
        await expect(refusal).rejects.toMatchObject({ code: 'queue-full' });
      });
    });

    describe('a build that gave its start back', () => {
      const ended = async (attempt: RunningAttempt) => {
        await queue.finish(
          attempt.id,
          attempt.epoch,
          { kind: 'error', fault: { code: 'builderror', message: 'x' } },
          0,
        );
        return attempt.buildId;
      };

      it('ends when a newer one under its key came meanwhile', async () => {
        const old = await queue.enqueue(request(), { newestOnly: 'main' });
        const attempt = await claimOne();
        const between = await queue.enqueue(request(), { newestOnly: 'main' });
        const latest = await queue.enqueue(request(), { newestOnly: 'main' });
        expect(await queue.release(attempt.id, 1, clock.now())).toBe(true);
        for (const build of [old, between])
          expect(await reload(build)).toMatchObject({ phase: 'cancelled', supersededBy: latest.id });
        expect(await claimOne()).toMatchObject({ buildId: latest.id });
      });

      it('has its place no longer when a more urgent one came meanwhile', async () => {
        const low = await queue.enqueue(request());
        const attempt = await claimOne();
        const high = await queue.enqueue(request('team/app', { priority: 9 }));
        const others = [];
        for (const name of ['a', 'b'])
          others.push(await queue.enqueue(request(`else/${name}`, { priority: 5 })));
        expect(await queue.release(attempt.id, 1, clock.now())).toBe(true);
        const order = [];
        for (let n = 0; n < 4; n += 1) order.push(await ended(await claimOne()));
        expect(order).toEqual([high.id, ...others.map(({ id }) => id), low.id]);
      });

      it('gives its place to another repository where the namespace has few', async () => {
        await queue.changeNamespaceLimits('team', { maxRunning: 1 });
        const low = await queue.enqueue(request('team/low'));
        const attempt = await claimOne();
        const high = await queue.enqueue(request('team/high', { priority: 9 }));
        expect(await queue.release(attempt.id, 1, clock.now())).toBe(true);
        expect(await ended(await claimOne())).toBe(high.id);
        expect(await ended(await claimOne())).toBe(low.id);
      });

      it('keeps it from what is no more urgent', async () => {
        const first = await queue.enqueue(request());
        const attempt = await claimOne();
        await queue.enqueue(request());
        expect(await queue.release(attempt.id, 1, clock.now())).toBe(true);
        expect(await claimOne()).toMatchObject({ buildId: first.id });
      });
    });

    it('lists builds by repository, namespace, age and state, newest first', async () => {
      const first = await queue.enqueue(request('team/a'));
      await clock.advance(1000);
      const second = await queue.enqueue(request('team/b'));
      const third = await queue.enqueue(request('other/a'));
      await queue.cancel(first.id, 'ann');
      const ids = async (query: Parameters<typeof queue.builds>[0]) =>
        (await queue.builds(query)).map(({ id }) => id);
      expect(await ids({ limit: 10 })).toEqual([third.id, second.id, first.id]);
      expect(await ids({ limit: 1 })).toEqual([third.id]);
      expect(await ids({ limit: 10, namespaces: ['team'] })).toEqual([second.id, first.id]);
      expect(await ids({ limit: 10, namespaces: [] })).toEqual([]);
      expect(await ids({ limit: 10, repository: { namespace: 'team', name: 'a' } })).toEqual([first.id]);
      expect(await ids({ limit: 10, since: clock.now() })).toEqual([third.id, second.id]);
      expect(await ids({ limit: 10, unfinishedOnly: true })).toEqual([third.id, second.id]);
      await clock.advance(1000);
      await queue.cancel(third.id, 'ann');
      expect(await ids({ limit: 10, byEnd: true })).toEqual([third.id, first.id]);
      expect(await ids({ limit: 1, byEnd: true })).toEqual([third.id]);
    });

    it('tells of changes', async () => {
      const heard: string[] = [];
      const waiting = new Map<string, () => void>();
      const stop = queue.onChange(({ kind, buildId }) => {
        heard.push(`${kind} ${buildId}`);
        waiting.get(`${kind} ${buildId}`)?.();
      });
      const hears = (what: string) =>
        new Promise<void>((resolve) => {
          if (heard.includes(what)) resolve();
          else waiting.set(what, resolve);
        });
      const build = await queue.enqueue(request());
      await hears(`queued ${build.id}`);
      const attempt = await claimOne();
      await queue.cancel(build.id, 'ann');
      await hears(`cancel ${build.id}`);
      await end(attempt);
      await hears(`finished ${build.id}`);
      stop();
      const count = heard.length;
      await queue.enqueue(request('team/other'));
      expect(heard).toHaveLength(count);
    });

    describe('races', () => {
      it('claims nothing twice and never over the capacity, by 50 at once', async () => {
        for (let n = 0; n < 60; n += 1) await queue.enqueue(request(`ns-${n % 7}/app-${n}`));
        const claims = Array.from({ length: 50 }, (_, n) => claim(3, 20, `m${n % 3}`));
        const cancels = (await queue.builds({ limit: 5 })).map(({ id }) => queue.cancel(id, 'ann'));
        const claimed = (await Promise.all(claims)).flat();
        await Promise.all(cancels);
        expect(new Set(claimed.map(({ id }) => id)).size).toBe(claimed.length);
        expect(claimed).toHaveLength(20);
        expect((await queue.counts()).running).toBe(20);
      });

      it('enqueues, claims and finishes from two managers at once without losing a build', async () => {
        // Two processes cannot share a database in memory.
        const options = scratch.options;
        const shared = options.provider === 'sqlite' && options.file === ':memory:';
        await using second = shared ? undefined : await Database.open(options);
        const other = new SqlBuildQueue(second ?? database, { secretBox, clock });
        const total = 40;
        let done = 0;
        const feed = Array.from({ length: total }, (_, n) =>
          (n % 2 === 0 ? queue : other).enqueue(request(`ns-${n % 5}/app-${n % 9}`)),
        );
        const work = async (mine: SqlBuildQueue, manager: string) => {
          while (done < total) {
            const attempts = await mine.claim({ manager, limit: 3, capacity: 8, lease: 1000 });
            await Promise.all(
              attempts.map(async (attempt) => {
                expect(await mine.finish(attempt.id, attempt.epoch, complete, 0)).toMatchObject({
                  kind: 'publish',
                });
                expect(await mine.publish(attempt.buildId, [attempt], image)).not.toBe('stale');
                done += 1;
              }),
            );
            await new Promise((resolve) => setImmediate(resolve));
          }
        };
        await Promise.all([...feed, work(queue, 'm1'), work(other, 'm2')]);
        const builds = await queue.builds({ limit: 100 });
        expect(builds.map(({ phase }) => phase)).toEqual(Array.from({ length: total }, () => 'complete'));
        expect(builds.every(({ jobs }) => jobs[0]?.attempts.length === 1)).toBe(true);
      });
    });
  });
}
