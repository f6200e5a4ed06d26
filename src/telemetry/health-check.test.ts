import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { FolderBlobStore } from '../blob/folder-blob-store.ts';
import { blobStoreCheck, diskCheck, HealthChecker, orchestratorCheck, queueCheck } from './health-check.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-health-'));
});
afterEach(async () => await rm(folder, { recursive: true, force: true }));

const reportOf = async (check: Parameters<typeof checker>[0]) => (await checker(check).report()).problems;
function checker(check: ConstructorParameters<typeof HealthChecker>[0][number]) {
  return new HealthChecker([check], { clock: new ManualClock() });
}

test('a check that does not answer in time is a problem, and is told to stop', async () => {
  const clock = new ManualClock();
  let stopped = false;
  const silent = {
    name: 'silent',
    check: (signal: AbortSignal) =>
      new Promise<void>(() => {
        signal.addEventListener('abort', () => {
          stopped = true;
        });
      }),
  };
  const report = new HealthChecker([silent], { clock, timeout: 5_000 }).report();
  await clock.advance(5_000);
  expect(await report).toEqual({
    healthy: false,
    services: { silent: false },
    problems: { silent: 'no answer in 5 s' },
  });
  expect(stopped).toBe(true);
  expect(clock.sleeping).toBe(0);
});

test('an answer is kept for a moment and then asked for anew', async () => {
  const clock = new ManualClock();
  let asked = 0;
  const health = new HealthChecker(
    [
      {
        name: 'counted',
        check: async () => {
          asked += 1;
        },
      },
    ],
    { clock, keepFor: 1_000 },
  );
  await Promise.all([health.report(), health.report()]);
  await health.report();
  expect(asked).toBe(1);
  await clock.advance(1_000);
  await health.report();
  expect(asked).toBe(2);
});

test('a disk needs room', async () => {
  expect(await reportOf(diskCheck(folder, 1))).toEqual({});
  expect((await reportOf(diskCheck(folder, Number.MAX_SAFE_INTEGER))).disk_space).toContain(folder);
  expect(Object.keys(await reportOf(diskCheck(join(folder, 'gone'), 1)))).toEqual(['disk_space']);
});

test('a blob store must store, and is left as it was', async () => {
  const blobs = new FolderBlobStore({ folder: join(folder, 'blobs') });
  await blobs.start();
  expect(await reportOf(blobStoreCheck(blobs))).toEqual({});
  const left = await readdir(join(folder, 'blobs'), { recursive: true, withFileTypes: true });
  expect(left.filter((entry) => entry.isFile())).toEqual([]);
  // A file stands where the store's folder should be.
  const broken = new FolderBlobStore({ folder: '/dev/null' });
  expect(Object.keys(await reportOf(blobStoreCheck(broken)))).toEqual(['storage']);
});

test('builds that nobody minds are a problem of the queue', async () => {
  expect(await reportOf(queueCheck({ counts: async () => ({ running: 2, ownerless: 0 }) }))).toEqual({});
  const problems = await reportOf(queueCheck({ counts: async () => ({ running: 2, ownerless: 1 }) }));
  expect(problems.queue).toContain('1 builds');
});

test('an orchestrator that is away is a problem until it is back', async () => {
  const orchestrator = { connected: false };
  expect(Object.keys(await reportOf(orchestratorCheck(orchestrator)))).toEqual(['redis']);
  orchestrator.connected = true;
  expect(await reportOf(orchestratorCheck(orchestrator))).toEqual({});
});
