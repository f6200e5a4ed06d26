import { randomBytes } from 'node:crypto';
import { SpanKind, trace } from '@opentelemetry/api';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ScratchDatabase, scratchMemory } from '../../test/harness/scratch-database.ts';
import { ManualClock } from '../base/clock.ts';
import { SecretBox } from '../db/secret-box.ts';
import type { Outcome } from '../model/attempt.ts';
import type { BuildId } from '../model/ids.ts';
import { escapeTag } from '../model/tag.ts';
import type { RunningAttempt } from '../queue/build-queue.ts';
import { SqlBuildQueue } from '../queue/sql-build-queue.ts';
import { BuildTraces } from './build-traces.ts';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const parent = 'b7ad6b7169203331';
const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

let scratch: ScratchDatabase;
let clock: ManualClock;
let queue: SqlBuildQueue;
let exporter: InMemorySpanExporter;

beforeEach(async () => {
  scratch = await scratchMemory();
  clock = new ManualClock();
  queue = new SqlBuildQueue(scratch.database, {
    secretBox: new SecretBox({ key: randomBytes(32) }),
    clock,
  });
  await queue.start();
  exporter = new InMemorySpanExporter();
});
afterEach(async () => {
  trace.disable();
  await queue.stop();
  await scratch[Symbol.asyncDispose]();
});

const record = () =>
  trace.setGlobalTracerProvider(
    new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
  );

async function claimOne(manager: string): Promise<RunningAttempt> {
  const [attempt] = await queue.claim({ manager, limit: 1, capacity: 10, lease: 300_000 });
  if (attempt === undefined) throw new Error('nothing was claimed');
  return attempt;
}

async function enqueue(): Promise<BuildId> {
  const build = await queue.enqueue({
    repository: { namespace: 'team', name: 'web' },
    source: { kind: 'archive', url: 'https://example.com/source.tar?key=hunter2' },
    context: '/',
    dockerfilePath: '/Dockerfile',
    tags: [escapeTag('latest')],
    displayName: 'x',
    platforms: [],
    buildArgs: {},
    labels: {},
    noCache: false,
    push: true,
    priority: 0,
    traceParent: `00-${traceId}-${parent}-01`,
  });
  return build.id;
}

/** A manager of its own: it knows only what is in the database. */
const manager = () => new BuildTraces({ queue, logger: silent });
const at = (span: ReadableSpan | undefined) => (span?.startTime[0] ?? 0) * 1000;
const lost: Outcome = {
  kind: 'expired',
  at: 'building',
  fault: { code: 'workerlost', message: 'hunter2' },
};

test('what two managers did for one build is one trace, and every try is in it', async () => {
  record();
  const start = clock.now();
  const buildId = await enqueue();
  await clock.advance(2_000);
  const first = await claimOne('one');
  await manager().claimed([first], clock.now() - 1_000, clock.now());
  await manager().starting(first, async () => 'started');
  await clock.advance(1_000);
  await queue.recordWorker(first.id, first.epoch, { executor: 'local', worker: 'w1' });
  await queue.register(first.id, first.epoch, { capabilities: {} });
  await clock.advance(1_000);
  await queue.enterStage(first.id, first.epoch, 'building');
  await clock.advance(5_000);
  // The manager that began it is gone; another one finds out that the worker is too.
  await queue.finish(first.id, first.epoch, lost, 0);
  await manager().ended(buildId, first.id);
  const second = await claimOne('two');
  await clock.advance(3_000);
  await queue.finish(second.id, second.epoch, { kind: 'cancelled', by: 'kim' }, 0);
  await manager().ended(buildId, second.id);

  const spans = exporter.getFinishedSpans();
  expect(new Set(spans.map((span) => span.spanContext().traceId))).toEqual(new Set([traceId]));
  expect(spans.map(({ name }) => name)).toEqual([
    'claim dockerfilebuild',
    'start worker',
    'wait in queue',
    'register worker',
    'hand over',
    'build',
    'process dockerfilebuild',
    'wait in queue',
    'register worker',
    'process dockerfilebuild',
  ]);
  const tries = spans.filter(({ kind }) => kind === SpanKind.CONSUMER);
  expect(tries.map(({ attributes }) => attributes)).toMatchObject([
    {
      'slipway.epoch': 1,
      'slipway.executor': 'local',
      'cicd.worker.id': 'w1',
      'cicd.pipeline.name': 'team/web',
      'cicd.pipeline.task.run.result': 'timeout',
      'error.type': 'workerlost',
    },
    { 'slipway.epoch': 2, 'cicd.pipeline.task.run.result': 'cancellation' },
  ]);
  for (const span of tries) expect(span.parentSpanContext?.spanId).toBe(parent);
  // Each stage lasted from its beginning to the next one, by the times in the database.
  const stages = ['wait in queue', 'register worker', 'hand over', 'build'].map((name) =>
    spans.find((span) => span.name === name),
  );
  expect(stages.map(at)).toEqual([0, 2_000, 3_000, 4_000].map((after) => start + after));
  expect(stages.map((span) => span?.duration[0])).toEqual([2, 1, 1, 5]);
  expect(JSON.stringify(spans.map(({ attributes, status }) => [attributes, status]))).not.toContain(
    'hunter2',
  );
});

test('while nothing records, nothing is read', async () => {
  const buildId = await enqueue();
  const attempt = await claimOne('one');
  let read = 0;
  const traces = new BuildTraces({
    queue: {
      build: async (id) => {
        read += 1;
        return await queue.build(id);
      },
    },
    logger: silent,
  });
  await traces.claimed([attempt], 0, 1);
  expect(await traces.starting(attempt, async (span) => span)).toBeUndefined();
  await traces.ended(buildId, attempt.id);
  expect(read).toBe(0);
  record();
  await traces.ended(buildId, attempt.id);
  expect(read).toBe(1);
});

test('a build that cannot be read costs the work nothing', async () => {
  record();
  await enqueue();
  const attempt = await claimOne('one');
  const traces = new BuildTraces({
    queue: { build: async () => Promise.reject(new Error('the database is away')) },
    logger: silent,
  });
  await traces.claimed([attempt], 0, 1);
  await traces.ended(attempt.buildId, attempt.id);
  expect(await traces.starting(attempt, async () => 'started')).toBe('started');
});
