import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { OpenScratch, ScratchDatabase } from '../../test/harness/scratch-database.ts';
import { ManualClock } from '../base/clock.ts';
import { SecretBox } from '../db/secret-box.ts';
import type { BuildRequest } from '../model/build.ts';
import { newUploadId } from '../model/ids.ts';
import type { Tag } from '../model/tag.ts';
import { surveyQueue } from './queue-survey.ts';
import { SqlBuildQueue } from './sql-build-queue.ts';

/** What the survey must say, on every database. */
export function queueSurveySuite(name: string, openScratch: OpenScratch): void {
  describe(name, () => {
    let scratch: ScratchDatabase;
    let clock: ManualClock;
    let queue: SqlBuildQueue;

    beforeEach(async () => {
      scratch = await openScratch();
      clock = new ManualClock();
      queue = new SqlBuildQueue(scratch.database, {
        secretBox: new SecretBox({ key: randomBytes(32) }),
        clock,
      });
      await queue.start();
    });
    afterEach(async () => {
      await queue.stop();
      await scratch[Symbol.asyncDispose]();
    });

    const request = (repository: string): BuildRequest => ({
      repository: { namespace: 'team', name: repository },
      source: { kind: 'upload', uploadId: newUploadId() },
      context: '/',
      dockerfilePath: '/Dockerfile',
      tags: ['latest' as Tag],
      displayName: 'x',
      platforms: [],
      buildArgs: {},
      labels: {},
      noCache: false,
      push: true,
      priority: 0,
    });
    const survey = async () => {
      const { jobs, workers, oldestWaiting } = await surveyQueue(scratch.database, clock.now());
      return {
        jobs: Object.fromEntries(jobs.map(({ phase, count }) => [phase, count])),
        workers: Object.fromEntries(workers.map(({ executor, count }) => [executor, count])),
        oldestWaiting,
      };
    };

    test('an empty queue has nothing that waits', async () => {
      expect(await survey()).toEqual({ jobs: { waiting: 0 }, workers: {}, oldestWaiting: undefined });
    });

    test('counts what waits, what runs in which phase, and where', async () => {
      for (const repository of ['a', 'b', 'c', 'd']) {
        await queue.enqueue(request(repository));
        await clock.advance(1_000);
      }
      const claimed = await queue.claim({ manager: 'one', limit: 2, capacity: 10, lease: 300_000 });
      expect(claimed).toHaveLength(2);
      const [first, second] = claimed;
      if (first === undefined || second === undefined) throw new Error('nothing was claimed');
      await queue.recordWorker(first.id, first.epoch, { executor: 'local', worker: 'w1' });
      await queue.recordWorker(second.id, second.epoch, { executor: 'far', worker: 'w2' });
      await queue.register(first.id, first.epoch, { capabilities: {} });
      await queue.enterStage(first.id, first.epoch, 'building');
      await clock.advance(6_000);
      // Two have begun, so the third is the one that has waited longest.
      expect(await survey()).toEqual({
        jobs: { waiting: 2, 'build-scheduled': 1, building: 1 },
        workers: { local: 1, far: 1 },
        oldestWaiting: 8_000,
      });
      await queue.finish(
        first.id,
        first.epoch,
        { kind: 'error', fault: { code: 'builderror', message: 'no' } },
        0,
      );
      expect(await survey()).toMatchObject({
        jobs: { waiting: 2, 'build-scheduled': 1 },
        workers: { far: 1 },
      });
    });
  });
}
