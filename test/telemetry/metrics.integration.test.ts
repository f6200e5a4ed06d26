import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { DummyExecutor } from '../../src/executor/dummy-executor.ts';
import { startWholeServer, type WholeServer } from '../harness/whole-server.ts';

let server: WholeServer;
beforeAll(async () => {
  const never = async (): Promise<never> => {
    throw new Error('no worker may start here');
  };
  server = await startWholeServer({
    settings: { retryDelay: 100 },
    before: [
      // Builds begin with fewer tries than this one wants.
      {
        executor: new DummyExecutor({ name: 'picky', clock: systemClock, work: never }),
        rules: { minimumRetryThreshold: 10 },
      },
      {
        executor: new DummyExecutor({
          name: 'broken',
          clock: systemClock,
          work: never,
          behave: () => ({ failStart: 'unavailable' }),
        }),
      },
    ],
  });
  for (const name of ['web', 'app', 'gone'])
    await server.call('POST', '/api/v1/repository', { repository: name });
});
afterAll(async () => await server[Symbol.asyncDispose]());

async function samples(): Promise<ReadonlyMap<string, number>> {
  const { text } = await server.call('GET', '/metrics');
  return new Map(
    text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => {
        const space = line.lastIndexOf(' ');
        return [line.slice(0, space), Number(line.slice(space + 1))] as const;
      }),
  );
}

async function typesOf(): Promise<ReadonlyMap<string, string>> {
  const { text } = await server.call('GET', '/metrics');
  return new Map(
    [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type = '']) => [name, type]),
  );
}

test('builds move the metrics as their names say', async () => {
  const before = await samples();
  expect(before.get('quay_queue_items_locked{queue_name="dockerfilebuild"}')).toBe(0);
  expect(before.get('slipway_workers_running{executor="dummy"}')).toBe(0);
  expect(before.get('quay_build_jobs{job_status="building"}')).toBe(0);

  const good = await server.build('web', ['#dummy print hello', '#dummy lines 100 100']);
  expect(good).toMatchObject({ phase: 'complete', digest: expect.stringMatching(/^sha256:/) });
  const bad = await server.build('app', ['#dummy fail builderror no']);
  expect(bad).toMatchObject({ phase: 'error' });

  const after = await samples();
  const status = (job_status: string) => `{executor="dummy",job_status="${job_status}"}`;
  const expected: Readonly<Record<string, number>> = {
    'quay_queue_item_puts_total{queue_name="dockerfilebuild"}': 2,
    'quay_queue_item_gets_total{queue_name="dockerfilebuild",availability="acquired"}': 2,
    'quay_build_fallback_total{executor="picky"}': 2,
    'slipway_executor_start_failures_total{executor="broken",code="unavailable"}': 2,
    'quay_build_start_duration_seconds_count{executor="dummy"}': 2,
    'quay_build_queue_duration_seconds_count{executor="dummy"}': 2,
    'quay_build_ack_duration_seconds_count{executor="dummy"}': 2,
    [`quay_build_jobs_total${status('complete')}`]: 1,
    [`quay_build_jobs_total${status('error')}`]: 1,
    [`quay_build_duration_seconds_count${status('complete')}`]: 1,
    [`quay_build_duration_seconds_count${status('error')}`]: 1,
    'slipway_builds_finished_total{phase="complete"}': 1,
    'slipway_builds_finished_total{phase="error"}': 1,
    'slipway_build_total_duration_seconds_count{phase="complete"}': 1,
    slipway_builds_ownerless: 0,
    slipway_publish_failures_total: 0,
    slipway_lease_takeovers_total: 0,
    slipway_queue_oldest_waiting_seconds: 0,
    slipway_orchestrator_connected: 1,
    'quay_queue_items_available{queue_name="dockerfilebuild"}': 0,
    'quay_queue_items_available_unlocked{queue_name="dockerfilebuild"}': 0,
    'quay_queue_items_locked{queue_name="dockerfilebuild"}': 0,
  };
  expect(Object.fromEntries(Object.keys(expected).map((name) => [name, after.get(name)]))).toEqual(expected);
  expect(after.get('slipway_log_received_bytes_total')).toBeGreaterThan(10_000);
  expect(after.get('slipway_log_sent_bytes_total')).toBeGreaterThan(10_000);
  // Times are seconds: a build of a moment took less than a minute.
  const took = after.get(`quay_build_duration_seconds_sum${status('complete')}`) ?? 0;
  expect(took).toBeGreaterThan(0);
  expect(took).toBeLessThan(60);
});

test('while builds run and wait, the gauges say how many and where', async () => {
  const first = server.build('web', ['#dummy sleep 3000'], { push: false });
  const second = server.build('web', ['#dummy print second'], { push: false });
  for (;;) {
    const now = await samples();
    if (now.get('quay_build_jobs{job_status="building"}') !== 1) continue;
    // One build of a repository at once: the other waits.
    expect(now.get('quay_build_jobs{job_status="waiting"}')).toBe(1);
    expect(now.get('slipway_workers_running{executor="dummy"}')).toBe(1);
    expect(now.get('slipway_workers_running{executor="picky"}')).toBe(0);
    expect(now.get('slipway_manager_attempts')).toBe(1);
    expect(now.get('quay_queue_items_locked{queue_name="dockerfilebuild"}')).toBe(1);
    expect(now.get('quay_queue_items_available_unlocked{queue_name="dockerfilebuild"}')).toBe(1);
    expect(now.get('slipway_queue_oldest_waiting_seconds')).toBeGreaterThan(0);
    expect(now.get('slipway_queue_oldest_waiting_seconds')).toBeLessThan(60);
    break;
  }
  expect(await Promise.all([first, second])).toMatchObject([{ phase: 'complete' }, { phase: 'complete' }]);
});

test('the names of the field have the types and labels they have there', async () => {
  const types = await typesOf();
  expect(Object.fromEntries([...types].filter(([name]) => name.startsWith('quay_')))).toEqual({
    quay_build_ack_duration_seconds: 'histogram',
    quay_build_duration_seconds: 'histogram',
    quay_build_fallback_total: 'counter',
    quay_build_jobs: 'gauge',
    quay_build_jobs_total: 'counter',
    quay_build_queue_duration_seconds: 'histogram',
    quay_build_start_duration_seconds: 'histogram',
    quay_queue_item_gets_total: 'counter',
    quay_queue_item_puts_total: 'counter',
    quay_queue_items_available: 'gauge',
    quay_queue_items_available_unlocked: 'gauge',
    quay_queue_items_locked: 'gauge',
  });
});

test('labels name no repository, no person and no build', async () => {
  const { text } = await server.call('GET', '/metrics');
  for (const word of ['kim', 'kim/web', 'sha256:']) expect(text).not.toContain(word);
  expect(text).not.toMatch(/[0-9a-f]{8}-[0-9a-f]{4}-/);
});
