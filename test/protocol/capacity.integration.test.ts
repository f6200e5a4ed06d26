import { expect, test, vi } from 'vitest';
import type { DummyWork } from '../../src/executor/dummy-executor.ts';
import type { Build } from '../../src/model/build.ts';
import { scratchPostgres } from '../harness/scratch-database.ts';
import { TickingClock } from '../harness/ticking-clock.ts';
import { openRig, type Rig, until } from './rig.ts';
import { SharedClient } from './shared-client.ts';

/**
 * Two managers, each with an executor and a port of its own, on one PostgreSQL; workers are functions that speak the
 * shared protocol over gRPC. Their clock is fast while nothing but waiting happens.
 */
vi.setConfig({ testTimeout: 300_000 });

const capacity = 10;
const tries = 3;
const tenMinutes = 600_000;
/** How fast the clock is while only waiting happens. */
const fast = 40;

/** Workers that hold their places until they are told to let go, and those after them, which are quick. */
class Workers {
  readonly #clock: TickingClock;
  readonly #holding = new Map<string, () => void>();
  readonly #running = new Set<string>();
  /** Build ids in the order of their starts. */
  readonly started: string[] = [];
  most = 0;
  hold = true;

  constructor(clock: TickingClock) {
    this.#clock = clock;
  }

  get held(): number {
    return this.#holding.size;
  }

  /** Lets so many go that hold. */
  free(count = Number.POSITIVE_INFINITY): void {
    for (const [id, free] of [...this.#holding].slice(0, count)) {
      this.#holding.delete(id);
      free();
    }
  }

  readonly work: DummyWork = async (order, signal) => {
    this.started.push(order.buildId);
    this.#running.add(order.attemptId);
    this.most = Math.max(this.most, this.#running.size);
    const left = () => this.#running.delete(order.attemptId);
    try {
      using client = new SharedClient(order.server);
      const answer = await client.register(order.token);
      if (answer.kind !== 'reply') return { exitCode: 1, output: answer.details };
      const token = String(answer.reply.job_jwt);
      await client.setPhase(token, 1, 'BUILDING');
      if (this.hold) await this.#holdOn(order.attemptId, () => client.heartbeat(token), signal);
      await client.log(token, 1, 'built');
      // Its place is free when its report is taken, which is before it hears of that.
      left();
      const end = await client.setPhase(token, 2, 'COMPLETE');
      return end.kind === 'reply' ? { exitCode: 0 } : { exitCode: 1, output: end.details };
    } finally {
      left();
    }
  };

  async #holdOn(id: string, beat: () => Promise<unknown>, signal: AbortSignal): Promise<void> {
    const freed = new AbortController();
    this.#holding.set(id, () => freed.abort());
    const over = AbortSignal.any([freed.signal, signal]);
    while (!over.aborted) {
      await beat();
      await this.#clock.sleep(5_000, over).catch(() => {});
    }
    this.#holding.delete(id);
  }
}

async function open(clock: TickingClock, workers: Workers, full = () => false): Promise<Rig> {
  return await openRig({
    open: scratchPostgres,
    clock,
    settings: {
      allowedWorkerCount: capacity,
      poll: 1_000,
      capacityDelay: 5_000,
      // What measures how quick this machine is has the time it has in earnest.
      jobRegistrationTimeout: fast * 30_000,
      setupTime: fast * 500_000,
      heartbeatTimeout: fast * 60_000,
      machineMaxTime: fast * 7_200_000,
    },
    worker: {
      work: workers.work,
      behave: () => (full() ? { failStart: 'at-capacity' } : {}),
    },
  });
}

async function enqueue(rig: Rig, namespace: string, count: number): Promise<readonly Build[]> {
  return await Promise.all(
    Array.from({ length: count }, (_, at) =>
      rig.enqueue({ push: false, repository: { namespace, name: `app-${at}` } }),
    ),
  );
}

async function countsOf({ database }: Rig): Promise<Readonly<Record<string, number>>> {
  const rows = await database.sql
    .selectFrom('builds')
    .select((of) => ['phase' as const, of.fn.countAll<number>().as('count')])
    .groupBy('phase')
    .execute();
  return Object.fromEntries(rows.map(({ phase, count }) => [phase, Number(count)]));
}

/** Rejects, with what is left, when none gets complete for a while. */
async function untilComplete(rig: Rig, count: number): Promise<void> {
  let known = 0;
  try {
    while (known < count) {
      known = await until(`more than ${known} of ${count} builds`, async () => {
        const { complete = 0 } = await countsOf(rig);
        return complete > known && complete;
      });
    }
  } catch (thrown) {
    const rows = await rig.database.sql.selectFrom('attempts').selectAll().execute();
    const left = rows.filter(({ outcome_json }) => outcome_json !== '{"kind":"complete"}').slice(0, 5);
    throw new Error(`left: ${JSON.stringify(left)}`, { cause: thrown });
  }
}

/** Every job was tried once, of its three times. */
async function expectOneTryEach(rig: Rig, count: number): Promise<void> {
  const attempts = await rig.database.sql.selectFrom('attempts').select(['epoch', 'outcome_json']).execute();
  // First, for it says why.
  expect(attempts.filter(({ outcome_json }) => outcome_json !== '{"kind":"complete"}')).toEqual([]);
  expect(attempts.map(({ epoch }) => epoch)).toEqual(new Array(count).fill(1));
  const jobs = await rig.database.sql.selectFrom('jobs').select(['tries_left']).execute();
  expect(jobs.map(({ tries_left }) => tries_left)).toEqual(new Array(count).fill(tries - 1));
  expect(await countsOf(rig)).toEqual({ complete: count });
}

/** Ten minutes of the clock's time, as fast as the machine can follow. */
async function tenMinutesOf(clock: TickingClock, holds: () => void): Promise<void> {
  clock.rate = fast;
  for (const end = clock.now() + tenMinutes; clock.now() < end; await clock.sleep(5_000)) holds();
  clock.rate = 1;
}

test('1,000 builds that wait ten minutes for builds that take all places are all complete, and none has lost a try', async () => {
  await using clock = new TickingClock();
  const workers = new Workers(clock);
  await using rig = await open(clock, workers);
  await rig.join();
  await enqueue(rig, 'holders', capacity);
  await until('the places to be taken', async () => workers.held === capacity);
  workers.hold = false;
  await enqueue(rig, 'team', 1_000);
  await tenMinutesOf(clock, () => expect(workers.started).toHaveLength(capacity));
  expect(await rig.queue.counts()).toMatchObject({ queued: 1_000, running: capacity });
  workers.free();
  await untilComplete(rig, 1_000 + capacity);
  await expectOneTryEach(rig, 1_000 + capacity);
  expect(workers.most).toBeLessThanOrEqual(capacity);
});

test('1,000 builds that no executor has room for in ten minutes are all complete then, and none has lost a try', async () => {
  await using clock = new TickingClock();
  const workers = new Workers(clock);
  workers.hold = false;
  let full = true;
  await using rig = await open(clock, workers, () => full);
  await rig.join();
  await enqueue(rig, 'team', 1_000);
  await tenMinutesOf(clock, () => expect(workers.started).toEqual([]));
  full = false;
  await untilComplete(rig, 1_000);
  await expectOneTryEach(rig, 1_000);
  expect(workers.most).toBeLessThanOrEqual(capacity);
});

test('beside 5,000 builds of one namespace, the one of another starts with the next free place', async () => {
  await using clock = new TickingClock();
  const workers = new Workers(clock);
  await using rig = await open(clock, workers);
  await rig.join();
  await enqueue(rig, 'crowd', 5_000);
  await until('the places to be taken', async () => workers.held === capacity);
  const [lonely] = await enqueue(rig, 'lonely', 1);
  expect(workers.started).toHaveLength(capacity);
  workers.free(1);
  await until('the next start', async () => workers.started.length > capacity);
  expect(workers.started[capacity]).toBe(lonely?.id);
  await until('the place to be taken', async () => workers.held === capacity);
  expect(workers.started).toHaveLength(capacity + 1);
});
