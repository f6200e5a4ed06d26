import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ScratchDatabase, scratchMemory } from '../../test/harness/scratch-database.ts';
import { systemClock as clock } from '../base/clock.ts';
import { SecretBox } from '../db/secret-box.ts';
import { SqlLogStore } from '../log/sql-log-store.ts';
import type { Build } from '../model/build.ts';
import { digestOf } from '../model/digest.ts';
import { request } from '../queue/build-queue.suite.ts';
import { SqlBuildQueue } from '../queue/sql-build-queue.ts';
import { BuildEnd } from './build-end.ts';
import { noMetrics } from './manager-metrics.ts';
import { Publisher, type PublisherOptions } from './publisher.ts';
import { defaultSettings } from './settings.ts';

/** The registry of a repository is tried for minutes, our own for a moment. */
const settings = { ...defaultSettings, publishTries: 3, publishBackOff: 200, publishBackOffCap: 200 };
const logger = { debug() {}, info() {}, warn() {}, error() {} };
let scratch: ScratchDatabase;
let queue: SqlBuildQueue;
let build: Build;

beforeEach(async () => {
  scratch = await scratchMemory();
  queue = new SqlBuildQueue(scratch.database, { secretBox: new SecretBox({ key: randomBytes(32) }) });
  build = await queue.enqueue(request());
  const [attempt] = await queue.claim({ manager: 'm1', limit: 1, capacity: 1, lease: 300_000 });
  if (attempt === undefined) throw new Error('nothing to claim');
  const image = { digest: digestOf(Buffer.from('an image')), size: 1 };
  await queue.finish(attempt.id, attempt.epoch, { kind: 'complete', image }, 0);
});
afterEach(async () => {
  await queue.stop();
  await scratch[Symbol.asyncDispose]();
});

function publisher(options: Pick<PublisherOptions, 'registry'> & Partial<PublisherOptions>): Publisher {
  const end = new BuildEnd({ log: new SqlLogStore(scratch.database), clock, logger, metrics: noMetrics });
  return new Publisher({
    queue,
    name: 'm1',
    end,
    clock,
    settings,
    logger,
    metrics: noMetrics,
    ...options,
  });
}

test.each(['its own registry', 'the registry of the repository'])(
  'a manager that leaves while %s is away does not go on trying, and leaves the build to others',
  async (which) => {
    let tries = 0;
    const away = publisher(
      which === 'its own registry'
        ? {
            registry: {
              publish: async () => {
                tries += 1;
                throw new Error('away');
              },
            },
          }
        : {
            registry: { publish: async () => 'published' },
            targets: {
              publish: async () => {
                tries += 1;
                return { kind: 'failed', message: 'It is away.', written: [] };
              },
            },
          },
    );
    away.publish(build.id);
    await expect.poll(() => tries).toBeGreaterThan(0);
    await away.drain();
    expect(tries).toBeLessThanOrEqual(settings.publishTries);
    expect(await queue.build(build.id)).toMatchObject({ phase: 'pushing', desired: 'run' });
    await away.stop();
    await queue.leave('m1');
    const next = publisher({ name: 'm2', registry: { publish: async () => 'published' } });
    next.publish(build.id);
    await next.drain();
    expect(await queue.build(build.id)).toMatchObject({ phase: 'complete' });
    await next.stop();
  },
);
