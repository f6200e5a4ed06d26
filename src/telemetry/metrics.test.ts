import { expect, it } from 'vitest';
import { Metrics } from './metrics.ts';

it('gives no series twice, which Prometheus would refuse', async () => {
  const metrics = new Metrics();
  metrics.watchQueue(async () => ({ queued: 3, running: 2, ownerless: 1 }));
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
  expect(series.filter((each, at) => series.indexOf(each) !== at)).toEqual([]);
});

it('reads the queue when it is asked, once for all of its gauges', async () => {
  const metrics = new Metrics();
  let queued = 0;
  metrics.watchQueue(async () => {
    queued += 1;
    return { queued, running: 5, ownerless: 2 };
  });

  for (const reading of [1, 2]) {
    const { body } = await metrics.text();
    expect(body).toContain(`quay_queue_items_available_unlocked{queue_name="dockerfilebuild"} ${reading}\n`);
    expect(body).toContain(`quay_queue_items_available{queue_name="dockerfilebuild"} ${reading + 2}\n`);
    expect(body).toContain('quay_queue_items_locked{queue_name="dockerfilebuild"} 3\n');
  }
});
