import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { listExecutors } from '../../src/cli/executor.ts';
import { DummyExecutor } from '../../src/executor/dummy-executor.ts';
import { orderFor } from '../../src/executor/executor.suite.ts';
import type { WorkerOrder } from '../../src/executor/executor.ts';
import type { ExecutorErrorCode } from '../../src/executor/executor-error.ts';
import { type BuildId, parseBuildId } from '../../src/model/ids.ts';
import { MemoryTerminal } from '../fakes/memory-terminal.ts';
import { ReferenceWorker } from '../fakes/reference-worker/reference-worker.ts';
import { startWholeServer, type WholeServer } from '../harness/whole-server.ts';

/**
 * Two executors, as in the manual: `first` takes a build while it has another try left, `second` its last try as well.
 * What goes wrong with each is switched on and off; else their workers do their work.
 */
const failing = new Map<string, ExecutorErrorCode | 'dies' | 'hangs'>();
/** Which executor was asked to start a worker for which attempt. */
const asked: string[] = [];
let server: WholeServer;

beforeAll(async () => {
  server = await startWholeServer({
    settings: { retryDelay: 50, startDelay: 50, capacityDelay: 50, poll: 50, jobRegistrationTimeout: 8_000 },
    breaker: { threshold: 3, first: 200, cap: 400 },
    last: (work) => [
      ...['first', 'second'].map((name) => ({
        executor: new DummyExecutor({
          name,
          clock: systemClock,
          work: async (order, signal) =>
            failing.get(name) === 'dies' ? { exitCode: 1 } : await work(order, signal),
          behave: ({ epoch }) => {
            asked.push(`${name} ${epoch}`);
            const how = failing.get(name);
            if (how === 'hangs') return { neverAnswer: true };
            return how === undefined || how === 'dies' ? {} : { failStart: how };
          },
        }),
        rules: { minimumRetryThreshold: name === 'first' ? 1 : 0 },
      })),
      // For nobody's builds: it is only tried out.
      {
        executor: new DummyExecutor({ name: 'reference', clock: systemClock, work: referenceWork }),
        rules: { namespaceWhitelist: [] },
      },
      {
        executor: new DummyExecutor({
          name: 'talkative',
          clock: systemClock,
          work: async ({ token }) => ({ exitCode: 1, output: `${token} ${secret}` }),
          behave: ({ epoch, token }) => {
            if (talks) throw new Error(`POST ${epoch} with ${token} and ${secret} was refused`);
            return {};
          },
        }),
        rules: { namespaceWhitelist: ['nobody'] },
        secrets: [secret],
      },
    ],
  });
  await server.call('POST', '/api/v1/repository', { repository: 'web' });
});
afterAll(async () => await server[Symbol.asyncDispose]());
beforeEach(() => {
  failing.clear();
  asked.length = 0;
});

/** What an executor knows and nobody else may. */
const secret = 'wJalrXUtnFEMIK7MDENGbPxRfiCY';
let talks = false;

/** A worker of another system, which ends without a word when it may not register. */
async function referenceWork({ server: host, token }: WorkerOrder): Promise<{ exitCode: number }> {
  const worker = await ReferenceWorker.connect(host);
  try {
    await worker.register(token);
    return { exitCode: 0 };
  } catch {
    return { exitCode: 1 };
  } finally {
    worker.close();
  }
}

const lines = ['CMD ["/x"]'];
const executors = '/api/v1/superuser/executors';

async function attemptsOf(view: Record<string, unknown>) {
  const build = await server.queue.build(parseBuildId(String(view.id)) as BuildId);
  return (
    build?.jobs.flatMap((job) => job.attempts.map(({ epoch, executor }) => `${epoch} ${executor}`)) ?? []
  );
}

test('the first runs a build; when it cannot start a worker, the second does', async () => {
  const one = await server.build('web', lines);
  expect([one.phase, await attemptsOf(one)]).toEqual(['complete', ['1 first']]);
  failing.set('first', 'start-failed');
  const two = await server.build('web', lines);
  expect([two.phase, await attemptsOf(two)]).toEqual(['complete', ['1 second']]);
  const { json } = await server.call('GET', executors);
  expect(json).toMatchObject({ executors: [{ name: 'first' }, { name: 'second' }, {}, {}], alerts: [] });
});

test('one that never answers holds a build up for a moment, loses it no try, and is then left alone', async () => {
  await expect.poll(async () => await breakerOf('first'), { timeout: 20_000 }).not.toBe('open');
  failing.set('first', 'hangs');
  // Each in its turn: what is left alone is not asked again.
  for (let n = 0; n < 3; n += 1) {
    const build = await server.build('web', lines);
    expect([build.phase, await attemptsOf(build)]).toEqual(['complete', ['1 second']]);
  }
  const { json } = await server.call('GET', executors);
  expect(JSON.stringify(json)).toContain('Executor first did not start a worker within 3.2 s');
  expect(await breakerOf('first')).not.toBe('closed');
});

test('its last try runs on the second, for the first wants another one left', async () => {
  failing.set('first', 'dies');
  // The breaker may still be open because of what was before.
  await expect.poll(async () => await breakerOf('first'), { timeout: 20_000 }).not.toBe('open');
  const fallbacks = async () => await sample('quay_build_fallback_total{executor="first"}');
  const before = await fallbacks();
  const build = await server.build('web', lines);
  expect([build.phase, await attemptsOf(build)]).toEqual(['complete', ['1 first', '2 first', '3 second']]);
  expect((await fallbacks()) - before).toBe(1);
});

test('while both refuse a build waits and loses no try, superusers are told, and then it runs', async () => {
  failing.set('first', 'unavailable');
  failing.set('second', 'refused');
  let path = '';
  const building = server.build('web', lines, { onAsked: (asked) => (path = asked) });
  await expect
    .poll(async () => (await server.call('GET', executors)).json.alerts, { timeout: 20_000 })
    .toMatchObject([
      { executors: ['first', 'second'], message: expect.stringContaining('was told to fail this start') },
    ]);
  await expect.poll(async () => await breakerOf('first'), { timeout: 20_000 }).toBe('open');

  // It waits as it did before it was tried.
  const view = (await server.call('GET', path)).json;
  expect(['waiting', 'build-scheduled']).toContain(view.phase);
  expect(new Set(asked.map((each) => each.split(' ')[1]))).toEqual(new Set(['1']));
  const waiting = await server.queue.build(parseBuildId(String(view.id)) as BuildId);
  expect(waiting?.jobs[0]?.attempts).toHaveLength(1);

  const health = await server.call('GET', '/health/endtoend');
  expect(health).toMatchObject({
    status: 503,
    json: {
      data: {
        services: { executors: false, database: true },
        services_expanded: {
          executors: { failure: expect.stringContaining('No executor could start a worker') },
        },
      },
    },
  });
  const anybody = await (await fetch(new URL('/health/endtoend', server.url))).text();
  expect(anybody).not.toContain('No executor');
  expect(await sample('slipway_executors_failing')).toBe(1);
  expect(
    await sample('slipway_executor_start_seconds_count{executor="first",result="unavailable"}'),
  ).toBeGreaterThan(2);
  const memory = new MemoryTerminal({ server: server.url, token: server.token });
  await listExecutors(memory.terminal, {});
  expect(memory.printed).toMatch(/No worker can be started on first, second/);

  failing.delete('second');
  const done = await building;
  expect([done.phase, await attemptsOf(done)]).toEqual(['complete', ['1 second']]);
  expect((await server.call('GET', executors)).json.alerts).toEqual([]);
  expect(await sample('slipway_executors_failing')).toBe(0);
  await expect.poll(async () => (await server.call('GET', '/health/endtoend')).status).toBe(200);

  // Left alone for a while, then tried again.
  failing.delete('first');
  await expect.poll(async () => await breakerOf('first'), { timeout: 20_000 }).not.toBe('open');
  const after = await server.build('web', lines);
  expect(await attemptsOf(after)).toEqual(['1 first']);
});

test('a cordoned executor gets no builds, and a drained one says when its workers are gone', async () => {
  await expect.poll(async () => await breakerOf('first'), { timeout: 20_000 }).not.toBe('open');
  expect((await server.call('POST', `${executors}/first/cordon`)).json).toMatchObject({
    state: 'cordoned',
    cordoned_by: 'kim',
  });
  expect(await attemptsOf(await server.build('web', lines))).toEqual(['1 second']);
  await server.call('POST', `${executors}/second/drain`);
  await expect.poll(async () => await stateOf('second'), { timeout: 20_000 }).toBe('drained');
  asked.length = 0;
  let id = '';
  const building = server.build('web', lines, { onAsked: (path) => (id = path.split('/').at(-1) ?? '') });
  await expect.poll(() => id).not.toBe('');
  // It was tried, found everything cordoned, and waits; that is no failure of any executor.
  await expect
    .poll(async () => await sample('slipway_worker_start_failures_total{code="at-capacity"}'), {
      timeout: 20_000,
    })
    .toBeGreaterThan(0);
  expect(asked).toEqual([]);
  const listed = await server.call('GET', executors);
  expect(listed.json).toMatchObject({
    executors: [{ state: 'cordoned' }, { state: 'drained' }, {}, {}],
    alerts: [],
  });
  expect(await sample('slipway_executor_cordoned{executor="first"}')).toBe(1);
  expect((await server.call('POST', `${executors}/first/uncordon`)).json).toMatchObject({
    state: 'ready',
    cordoned_by: null,
  });
  expect(await attemptsOf(await building)).toEqual(['1 first']);
  await server.call('POST', `${executors}/second/uncordon`);
});

test('a test starts a worker that registers and goes, also on a cordoned executor, and leaves nothing', async () => {
  await server.call('POST', `${executors}/first/cordon`);
  const { text, status } = await server.call('POST', `${executors}/first/test`);
  expect(status).toBe(200);
  const events = [...text.matchAll(/^event: (.*)\ndata: (.*)$/gm)].map(([, event, data]) => ({
    event,
    ...(JSON.parse(String(data)) as { step?: string; passed: boolean }),
  }));
  expect(events.map(({ event, step, passed }) => `${event} ${step} ${passed}`)).toEqual([
    'step started true',
    'step registered true',
    'step stopped true',
    'end undefined true',
  ]);
  expect(await server.executor.running()).toEqual([]);
  expect(await server.database.sql.selectFrom('worker_trials').selectAll().execute()).toEqual([]);
  // It was refused in the way that every worker understands, and counts as no trouble.
  expect(await sample('slipway_epochs_refused_total{reason="unknown-attempt"}')).toBe(0);

  failing.set('first', 'misconfigured');
  const failed = await server.call('POST', `${executors}/first/test`);
  expect(failed.text).toMatch(/"step":"started","passed":false,.*was told to fail this start/);
  expect(failed.text).toContain('event: end\ndata: {"passed":false}');
  await server.call('POST', `${executors}/first/uncordon`);
});

test('a worker of another system passes the test too', async () => {
  const { text } = await server.call('POST', `${executors}/reference/test`);
  expect(text).toMatch(/"step":"started","passed":true/);
  expect(text).toMatch(/"step":"registered","passed":true/);
  expect(text).toContain('event: end\ndata: {"passed":true}');
});

test('no secret of an executor is in an answer, in the database or in the log of the server', async () => {
  const outputs: string[] = [];
  outputs.push((await server.call('POST', `${executors}/talkative/test`)).text);
  talks = true;
  outputs.push((await server.call('POST', `${executors}/talkative/test`)).text);
  // As a build would start it.
  const order = { ...orderFor('eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl'), namespace: 'nobody' };
  for (const name of ['first', 'second']) failing.set(name, 'unavailable');
  await server.executor.start(order, new AbortController().signal).catch((thrown: unknown) => thrown);
  outputs.push((await server.call('GET', executors)).text);
  outputs.push((await server.call('GET', '/metrics')).text);
  const reports = await server.database.sql.selectFrom('executor_reports').selectAll().execute();
  outputs.push(JSON.stringify(reports), JSON.stringify(await server.audit.records({ limit: 1000 })));
  outputs.push(server.logged.join('\n'));
  for (const output of outputs) expect(output).not.toMatch(/wJalrXUtn|eyJhbGciOi/);
  expect(outputs[0]).toContain('The last it said: (hidden) (hidden)');
  expect(outputs[1]).toContain('with (hidden) and (hidden) was refused');
});

async function executorOf(name: string) {
  const { json } = await server.call('GET', executors);
  const all = json.executors as { name: string; state: string; breaker: { state: string } }[];
  return all.find((each) => each.name === name);
}
const stateOf = async (name: string) => (await executorOf(name))?.state;
const breakerOf = async (name: string) => (await executorOf(name))?.breaker.state;

/** 0 when there is no such sample. */
async function sample(key: string): Promise<number> {
  const { text } = await server.call('GET', '/metrics');
  const line = text.split('\n').find((each) => each.startsWith(`${key} `));
  return line === undefined ? 0 : Number(line.slice(line.lastIndexOf(' ') + 1));
}
