import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ScratchDatabase, scratchMemory } from '../../test/harness/scratch-database.ts';
import { ManualClock } from '../base/clock.ts';
import { SecretBox } from '../db/secret-box.ts';
import type { Build } from '../model/build.ts';
import type { Digest } from '../model/digest.ts';
import { newUploadId } from '../model/ids.ts';
import type { Tag } from '../model/tag.ts';
import { SqlBuildQueue } from '../queue/sql-build-queue.ts';
import { PublicationCancelled, PublicationLost, publishToTarget } from './target-publication.ts';
import type { Targets } from './targets.ts';

const image = { digest: `sha256:${'a'.repeat(64)}` as Digest, size: 1 };
const settings = { targetTries: 3, publishBackOff: 0, publishBackOffCap: 0, lease: 60_000 };
const { signal } = new AbortController();

let scratch: ScratchDatabase;
let queue: SqlBuildQueue;
let build: Build;
let warned: number;

beforeEach(async () => {
  warned = 0;
  scratch = await scratchMemory();
  const clock = new ManualClock();
  queue = new SqlBuildQueue(scratch.database, { secretBox: new SecretBox({ key: randomBytes(32) }), clock });
  await queue.start();
  build = await queue.enqueue({
    repository: { namespace: 'team', name: 'web' },
    source: { kind: 'upload', uploadId: newUploadId() },
    context: '/',
    dockerfilePath: '/Dockerfile',
    tags: ['a', 'b'] as Tag[],
    displayName: 'test',
    platforms: [],
    buildArgs: {},
    labels: {},
    noCache: false,
    push: true,
    priority: 0,
  });
  const [attempt] = await queue.claim({ manager: 'm1', limit: 1, capacity: 1, lease: 60_000 });
  if (attempt === undefined) throw new Error('nothing to claim');
  await queue.finish(attempt.id, attempt.epoch, { kind: 'complete', image }, 0);
});
afterEach(async () => {
  await queue.stop();
  await scratch[Symbol.asyncDispose]();
});

function countWarning(): void {
  warned += 1;
}

async function publish(name: string, targets: Targets) {
  const clock = { now: () => 0, sleep: async () => {} };
  return await publishToTarget(
    build,
    image,
    {
      queue,
      targets,
      name,
      clock,
      settings,
      logger: { debug() {}, info() {}, warn: countWarning, error() {} },
      metrics: { publishFailed() {} },
      held: false,
      leaving: signal,
    },
    signal,
  );
}

test('what another manager took over is left alone, in the middle of its tags as well', async () => {
  const written: string[] = [];
  const first = publish('m1', {
    async publish(_repository, { tags }, still) {
      for (const tag of tags) {
        await still(written as Tag[]);
        written.push(`m1 ${tag}`);
        // It stands still here, and the other one goes on with the build.
        const other = await publish('m2', {
          async publish(_same, publication, stillOther) {
            for (const each of publication.tags) {
              await stillOther([]);
              written.push(`m2 ${each}`);
            }
            return { kind: 'published', references: ['elsewhere'] };
          },
        });
        expect(other).toEqual({ ...image, references: ['elsewhere'] });
      }
      return { kind: 'published', references: ['here'] };
    },
  });
  await expect(first).rejects.toBeInstanceOf(PublicationLost);
  expect(written).toEqual(['m1 a', 'm2 a', 'm2 b']);
});

test('who lost it does not say how it ends', async () => {
  const first = publish('m1', {
    async publish(_repository, _publication, still) {
      await still([]);
      await queue.holdPublication(build.id, 'm2', { lease: 1, takes: true });
      return { kind: 'refused', message: 'no', written: [] };
    },
  });
  await expect(first).rejects.toBeInstanceOf(PublicationLost);
});

test('a failure is tried again, a refusal is not, and tags that were written are told', async () => {
  let tried = 0;
  const failing = publish('m1', {
    async publish() {
      tried += 1;
      return { kind: 'failed', message: 'It is away.', written: ['a'] as Tag[] };
    },
  });
  await expect(failing).rejects.toMatchObject({
    code: 'target-unreachable',
    message: expect.stringContaining(
      'in 3 tries. It is away. The tag a stands for the new image already, b not.',
    ),
  });
  expect({ tried, warned }).toEqual({ tried: 3, warned: 2 });
  const refused = publish('m1', { publish: async () => ({ kind: 'refused', message: 'No.', written: [] }) });
  await expect(refused).rejects.toMatchObject({ code: 'target-refused', message: 'No.' });
  expect(warned).toBe(2);
});

test('a cancel is heard until the first tag is written', async () => {
  await queue.cancel(build.id, 'ann');
  const asking = (written: readonly Tag[]): Targets => ({
    async publish(_repository, _publication, still) {
      await still(written);
      return { kind: 'published', references: [] };
    },
  });
  await expect(publish('m1', asking([]))).rejects.toBeInstanceOf(PublicationCancelled);
  expect(await publish('m1', asking(['a'] as Tag[]))).toEqual({ ...image, references: [] });
});
