import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { DummyBehaviour } from '../../src/executor/dummy-executor.ts';
import type { WorkerOrder } from '../../src/executor/executor.ts';
import { scratchPostgres } from '../harness/scratch-database.ts';
import { openRig, until } from './rig.ts';
import { SharedClient } from './shared-client.ts';

const capacity = 12;
const builds = 150;

/** What goes wrong with an attempt; the same whoever starts it. Never so often that a build runs out of tries. */
function misfortune({ attemptId, epoch }: WorkerOrder): DummyBehaviour {
  if (epoch > 2) return {};
  switch (Number.parseInt(attemptId.slice(0, 2), 16) % 8) {
    case 0:
      return { failStart: 'at-capacity' };
    case 1:
      return { answerAfter: 80 };
    case 2:
      return { dieAfter: 5 };
    case 3:
      return { delay: 40 };
    default:
      return {};
  }
}

test('two managers on one database never start an attempt twice, and stay within the capacity', async () => {
  const starts = new Map<string, WorkerOrder[]>();
  const refusedStarts = new Map<string, number>();
  const running = new Set<string>();
  let most = 0;

  await using rig = await openRig({
    open: scratchPostgres,
    settings: { allowedWorkerCount: capacity },
    worker: {
      behave: (order) => {
        const behaviour = misfortune(order);
        if (behaviour.failStart === undefined) return behaviour;
        // Full for the first two who ask.
        const asked = (refusedStarts.get(order.attemptId) ?? 0) + 1;
        refusedStarts.set(order.attemptId, asked);
        return asked > 2 ? {} : behaviour;
      },
      work: async (order, signal) => {
        const known = starts.get(order.attemptId) ?? [];
        starts.set(order.attemptId, [...known, order]);
        running.add(order.attemptId);
        most = Math.max(most, running.size);
        const left = () => running.delete(order.attemptId);
        signal.addEventListener('abort', left, { once: true });
        using client = new SharedClient(order.server);
        const answer = await client.register(order.token);
        if (answer.kind !== 'reply' || signal.aborted) return { exitCode: 1 };
        const token = String(answer.reply.job_jwt);
        await client.setPhase(token, 1, 'BUILDING');
        await client.log(token, 1, `built by ${order.server}`);
        await sleep(10);
        left();
        await client.setPhase(token, 2, 'COMPLETE');
        return { exitCode: 0 };
      },
    },
  });
  const other = await rig.join();

  const queued = await Promise.all(Array.from({ length: builds }, () => rig.enqueue({ push: false })));
  const ended = await Promise.all(
    queued.map((build) =>
      until(`the end of ${build.id}`, async () => {
        const now = await rig.build(build);
        return now.phase === 'complete' || now.phase === 'error' || now.phase === 'internalerror'
          ? now
          : undefined;
      }),
    ),
  );

  expect(ended.map(({ phase }) => phase)).toEqual(queued.map(() => 'complete'));
  const twice = [...starts.values()]
    .filter((orders) => orders.length > 1)
    .map((orders) => orders.map(({ attemptId, epoch, server }) => ({ attemptId, epoch, server })));
  expect(twice).toEqual([]);
  for (const build of ended) {
    const attempts = build.jobs.flatMap((job) => job.attempts);
    expect(attempts.filter(({ outcome }) => outcome?.kind === 'complete')).toHaveLength(1);
    expect(new Set(attempts.map(({ epoch }) => epoch)).size).toBe(attempts.length);
    // One worker's line and no other's.
    const { entries } = await rig.log.read(build.id, 0, 1000);
    const lines = entries.filter(({ message }) => message.startsWith('built by '));
    expect(lines.length).toBeGreaterThanOrEqual(1);
    expect(lines.length).toBeLessThanOrEqual(attempts.length);
  }
  expect(most).toBeLessThanOrEqual(capacity);
  const servers = [...starts.values()].flat().map(({ server }) => server);
  expect(new Set(servers)).toEqual(new Set([rig.host, other.host]));
  // What went wrong did go wrong.
  expect(starts.size).toBeGreaterThan(builds);
  expect(refusedStarts.size).toBeGreaterThan(0);
});
