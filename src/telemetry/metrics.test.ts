import { expect, it } from 'vitest';
import { Metrics } from './metrics.ts';

const sampleOf = (body: string, series: string): number | undefined => {
  const line = body.split('\n').find((each) => each.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
};

it('gives no series twice, which Prometheus would refuse', async () => {
  const metrics = new Metrics();
  metrics.live.watchQueue(async () => ({ queued: 3, running: 2, ownerless: 1 }));
  metrics.live.watchSurvey(async () => ({ jobs: [{ phase: 'waiting', count: 3 }], workers: [] }), {
    phases: ['waiting', 'building'],
    executors: ['local'],
  });
  for (const histogram of [metrics.buildAckDuration, metrics.buildStartDuration])
    histogram.observe({ executor: 'local' }, 1);
  metrics.buildDuration.observe({ executor: 'local', job_status: 'complete' }, 1);
  metrics.httpDuration.observe({ method: 'GET', route: '/metrics' }, 1);

  const { body } = await metrics.text();
  const series = body
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.slice(0, line.lastIndexOf(' ')));
  expect(series).toContain('quay_queue_items_available{queue_name="dockerfilebuild"}');
  expect(series).toContain('nodejs_eventloop_lag_p99_seconds');
  expect(series.filter((each, at) => series.indexOf(each) !== at)).toEqual([]);
});

it('reads the queue when it is asked, once for all of its gauges', async () => {
  const metrics = new Metrics();
  let queued = 0;
  metrics.live.watchQueue(async () => {
    queued += 1;
    return { queued, running: 5, ownerless: 2 };
  });

  for (const reading of [1, 2]) {
    const { body } = await metrics.text();
    const name = 'queue_name="dockerfilebuild"';
    expect(sampleOf(body, `quay_queue_items_available_unlocked{${name}}`)).toBe(reading);
    expect(sampleOf(body, `quay_queue_items_available{${name}}`)).toBe(reading + 2);
    expect(sampleOf(body, `quay_queue_items_locked{${name}}`)).toBe(3);
    expect(sampleOf(body, 'slipway_builds_ownerless')).toBe(2);
  }
});

it('shows what runs where, also what is 0, and how long the oldest has waited', async () => {
  const metrics = new Metrics();
  let workers = [{ executor: 'local', count: 4 }];
  metrics.live.watchSurvey(
    async () => ({ oldestWaiting: 90_000, jobs: [{ phase: 'building', count: 4 }], workers }),
    { phases: ['waiting', 'building'], executors: ['local', 'k8s'] },
  );
  let { body } = await metrics.text();
  expect(sampleOf(body, 'quay_build_jobs{job_status="building"}')).toBe(4);
  expect(sampleOf(body, 'quay_build_jobs{job_status="waiting"}')).toBe(0);
  expect(sampleOf(body, 'slipway_workers_running{executor="local"}')).toBe(4);
  expect(sampleOf(body, 'slipway_workers_running{executor="k8s"}')).toBe(0);
  expect(sampleOf(body, 'slipway_queue_oldest_waiting_seconds')).toBe(90);
  workers = [];
  ({ body } = await metrics.text());
  expect(sampleOf(body, 'slipway_workers_running{executor="local"}')).toBe(0);
});

it('leaves out what a source that fails would have said, and shows the rest', async () => {
  const metrics = new Metrics();
  let works = true;
  metrics.live.watchQueue(async () => {
    if (!works) throw new Error('the database is away');
    return { queued: 1, running: 1, ownerless: 0 };
  });
  metrics.live.watchOrchestrator(() => works);
  metrics.live.watchPool(() => ({ idle: 3, busy: 2, waiting: 7 }));
  metrics.live.watchManager(() => 11);
  metrics.live.watchArchive(async () => 4);
  expect(sampleOf((await metrics.text()).body, 'slipway_builds_ownerless')).toBe(0);
  works = false;
  const { body } = await metrics.text();
  expect(sampleOf(body, 'slipway_builds_ownerless')).toBeUndefined();
  expect(sampleOf(body, 'quay_queue_items_locked{queue_name="dockerfilebuild"}')).toBeUndefined();
  expect(sampleOf(body, 'slipway_metrics_read_failures_total{source="queue"}')).toBe(1);
  expect(sampleOf(body, 'slipway_orchestrator_connected')).toBe(0);
  expect(sampleOf(body, 'slipway_database_connections{state="busy"}')).toBe(2);
  expect(sampleOf(body, 'slipway_database_queries_waiting')).toBe(7);
  expect(sampleOf(body, 'slipway_manager_attempts')).toBe(11);
  expect(sampleOf(body, 'slipway_logs_unarchived')).toBe(4);
  works = true;
  expect(sampleOf((await metrics.text()).body, 'slipway_builds_ownerless')).toBe(0);
});

it('has one source for each thing', () => {
  const metrics = new Metrics();
  metrics.live.watchManager(() => 1);
  expect(() => metrics.live.watchManager(() => 2)).toThrow();
});
