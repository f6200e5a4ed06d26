import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { startWholeServer, type WholeServer } from '../harness/whole-server.ts';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const traceparent = `00-${traceId}-b7ad6b7169203331-01`;
const exporter = new InMemorySpanExporter();

let server: WholeServer;
beforeAll(async () => {
  trace.setGlobalTracerProvider(
    new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
  );
  server = await startWholeServer();
  for (const name of ['web', 'app']) await server.call('POST', '/api/v1/repository', { repository: name });
});
beforeEach(() => exporter.reset());
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  trace.disable();
});

const spansOf = (id: string): ReadableSpan[] =>
  exporter.getFinishedSpans().filter((span) => span.spanContext().traceId === id);
const named = (spans: readonly ReadableSpan[], name: string): ReadableSpan => {
  const [span, another] = spans.filter((each) => each.name === name);
  expect([name, span === undefined, another]).toEqual([name, false, undefined]);
  if (span === undefined) throw new Error(name);
  return span;
};
const milliseconds = ([seconds, nanoseconds]: readonly [number, number]) =>
  seconds * 1000 + nanoseconds / 1e6;

test('a build is one trace, from the request that asked for it to its published image', async () => {
  const build = await server.build('web', ['#dummy print hello'], { headers: { traceparent } });
  expect(build).toMatchObject({ phase: 'complete' });
  const spans = spansOf(traceId);
  const request = named(spans, 'POST /api/v1/repository/:namespace/:repository/build');
  const send = named(spans, 'send dockerfilebuild');
  const claim = named(spans, 'claim dockerfilebuild');
  const wait = named(spans, 'wait in queue');
  const start = named(spans, 'start worker');
  const work = named(spans, 'process dockerfilebuild');
  const publish = named(spans, 'publish image');
  const stages = ['register worker', 'hand over', 'unpack source', 'build', 'push image'].map((name) =>
    named(spans, name),
  );

  expect(request.parentSpanContext?.spanId).toBe('b7ad6b7169203331');
  expect(send.parentSpanContext?.spanId).toBe(request.spanContext().spanId);
  for (const span of [claim, wait, start, work, publish])
    expect([span.name, span.parentSpanContext?.spanId]).toEqual([span.name, send.spanContext().spanId]);
  for (const span of stages)
    expect([span.name, span.parentSpanContext?.spanId]).toEqual([span.name, work.spanContext().spanId]);

  expect([request.kind, send.kind, work.kind]).toEqual([
    SpanKind.SERVER,
    SpanKind.PRODUCER,
    SpanKind.CONSUMER,
  ]);
  expect(request.attributes).toMatchObject({
    'http.request.method': 'POST',
    'http.route': '/api/v1/repository/:namespace/:repository/build',
    'http.response.status_code': 201,
  });
  expect(send.attributes).toMatchObject({
    'messaging.destination.name': 'dockerfilebuild',
    'messaging.message.id': build.id,
  });
  expect(work.attributes).toMatchObject({
    'messaging.message.id': build.id,
    'cicd.pipeline.name': 'kim/web',
    'cicd.pipeline.run.id': build.id,
    'cicd.pipeline.task.run.result': 'success',
    'slipway.executor': 'dummy',
    'slipway.epoch': 1,
  });
  expect(publish.attributes).toMatchObject({
    'container.image.name': 'kim/web',
    'container.image.tags': ['latest'],
    'oci.manifest.digest': build.digest,
  });
  // One stage begins where the one before it ended, and all of them lie within the attempt.
  const begins = stages.map((span) => milliseconds(span.startTime));
  const ends = stages.map((span) => milliseconds(span.endTime));
  expect(begins).toEqual([...begins].sort((a, b) => a - b));
  expect(begins[0]).toBeGreaterThanOrEqual(milliseconds(work.startTime));
  expect(ends.at(-1)).toBeLessThanOrEqual(milliseconds(work.endTime));
  expect(milliseconds(wait.endTime)).toBe(milliseconds(work.startTime));
  expect(milliseconds(publish.startTime)).toBeGreaterThanOrEqual(Math.floor(milliseconds(work.endTime)));
});

test('a request without a trace begins one, and a build that fails says so', async () => {
  const build = await server.build('app', ['#dummy fail builderror a secret: hunter2'], { push: false });
  expect(build).toMatchObject({ phase: 'error' });
  const work = exporter.getFinishedSpans().find(({ name }) => name === 'process dockerfilebuild');
  expect(work?.attributes).toMatchObject({
    'cicd.pipeline.task.run.result': 'failure',
    'error.type': 'builderror',
  });
  expect(work?.status).toEqual({ code: SpanStatusCode.ERROR });
  const spans = spansOf(work?.spanContext().traceId ?? '');
  expect(spans.filter(({ kind }) => kind === SpanKind.SERVER)).toMatchObject([
    { name: 'POST /api/v1/repository/:namespace/:repository/build' },
  ]);
});

test('no span has a secret, an address with its query, or a message of an error', async () => {
  await server.build('web', ['#dummy fail builderror hunter2'], { headers: { traceparent }, push: false });
  const said = exporter
    .getFinishedSpans()
    .map(({ name, attributes, status, events }) => JSON.stringify({ name, attributes, status, events }));
  expect(said.length).toBeGreaterThan(5);
  for (const text of said) expect(text).not.toMatch(/hunter2|slp_|signature|eyJ|correct horse/);
});
