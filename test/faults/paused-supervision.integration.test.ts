import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { systemClock as clock } from '../../src/base/clock.ts';
import { Database } from '../../src/db/database.ts';
import { SecretBox } from '../../src/db/secret-box.ts';
import { DummyExecutor } from '../../src/executor/dummy-executor.ts';
import type { WorkerOrder } from '../../src/executor/executor.ts';
import { SqlLogStore } from '../../src/log/sql-log-store.ts';
import { AttemptEnd } from '../../src/manager/attempt-end.ts';
import { BuildEnd } from '../../src/manager/build-end.ts';
import { noMetrics } from '../../src/manager/manager-metrics.ts';
import { defaultSettings } from '../../src/manager/settings.ts';
import { Supervision, type SupervisionOptions } from '../../src/manager/supervision.ts';
import { MemoryOrchestrator } from '../../src/orchestrator/memory-orchestrator.ts';
import { request } from '../../src/queue/build-queue.suite.ts';
import { SqlBuildQueue } from '../../src/queue/sql-build-queue.ts';
import { pausedAt } from '../harness/paused-at.ts';
import { scratchPostgres } from '../harness/scratch-database.ts';

const logger = { debug() {}, info() {}, warn() {}, error() {} };

test('a manager that was stopped for ten minutes leaves a build alone that another one looks after', async () => {
  await using scratch = await scratchPostgres();
  await using second = await Database.open(scratch.options);
  const secretBox = new SecretBox({ key: randomBytes(32) });
  let time = 0;
  const monotonic = () => time;
  await using queueB = new SqlBuildQueue(scratch.database, { secretBox, monotonic });
  await using queueC = new SqlBuildQueue(second, { secretBox, monotonic });
  await queueB.start();
  await queueC.start();
  await queueB.beat('B', 300_000);
  await queueC.beat('C', 300_000);
  const build = await queueB.enqueue(request());
  const [attempt] = await queueB.claim({ manager: 'B', limit: 1, capacity: 9, lease: 300_000 });
  if (attempt === undefined) throw new Error('nothing was claimed');
  const executor = new DummyExecutor({
    clock,
    work: (_, signal) =>
      new Promise((resolve) => {
        signal.addEventListener('abort', () => resolve({ exitCode: 0 }), { once: true });
      }),
  });
  const { worker } = await executor.start(
    { attemptId: attempt.id, buildId: build.id } as WorkerOrder,
    new AbortController().signal,
  );
  await queueB.recordWorker(attempt.id, 1, { executor: 'dummy', worker });

  // It is stopped right after it has read the attempt, and looks at what it read when it goes on.
  let stops = 0;
  const queue = pausedAt(queueB, 'attempt', 'after', async () => {
    stops += 1;
    if (stops > 1) return;
    for (let n = 0; n < 1_200; n += 1) {
      time += 500;
      if (n < 12) await queueC.beat('C', 300_000);
    }
    expect((await queueC.supervised('C')).map(({ id }) => id)).toEqual([attempt.id]);
    expect(await queueC.register(attempt.id, 1, { capabilities: {} })).toBe(true);
    expect(await queueC.enterStage(attempt.id, 1, 'building')).toBe('moved');
  });
  const orchestrator = new MemoryOrchestrator({ clock });
  const log = new SqlLogStore(scratch.database);
  await log.start();
  const shared = { queue, log, orchestrator, executor, clock, settings: defaultSettings, logger };
  const attemptEnd = new AttemptEnd({
    ...shared,
    name: 'B',
    metrics: noMetrics,
    end: new BuildEnd({ ...shared, metrics: noMetrics }),
    publisher: undefined as never,
  });
  let released = 0;
  const supervision = new Supervision(
    { ...attempt, executor: 'dummy', worker },
    {
      ...shared,
      manager: 'B',
      monotonic,
      attemptEnd,
      starter: undefined as never,
      sessions: {
        isReporting: () => false,
        isUnserved: () => false,
      } as unknown as SupervisionOptions['sessions'],
    },
    () => {
      released += 1;
    },
  );
  attemptEnd.onFinished(() => supervision.finished());
  await supervision.wake();
  expect(stops).toBe(1);
  expect(released).toBe(1);
  expect(await queueC.attempt(attempt.id)).toMatchObject({ state: 'building', manager: 'C', epoch: 1 });
  expect(await executor.running()).toHaveLength(1);
  await executor.close();
  await log.stop();
});
