import { expect, test } from 'vitest';
import { systemClock } from '../base/clock.ts';
import { DummyExecutor, type DummyWork } from './dummy-executor.ts';
import { orderFor } from './executor.suite.ts';
import type { Executor, ReadyStep, StartStep } from './executor.ts';
import { ExecutorError } from './executor-error.ts';
import { runTrial, type TrialEvent } from './worker-trial.ts';

const never = new AbortController().signal;

/** A dummy executor that tells its steps apart, as others do. */
class Telling extends DummyExecutor {
  readonly #ready: readonly (ReadyStep | ExecutorError)[];
  readonly #known: readonly StartStep[];
  readonly startSteps: readonly StartStep[] = ['scheduled', 'image-pulled'];

  constructor(work: DummyWork, ready: readonly (ReadyStep | ExecutorError)[], known: readonly StartStep[]) {
    super({ clock: systemClock, work });
    this.#ready = ready;
    this.#known = known;
  }

  async *check(): AsyncGenerator<ReadyStep> {
    for (const step of this.#ready) {
      if (step instanceof ExecutorError) throw step;
      yield step;
    }
  }

  async progress(): Promise<readonly StartStep[]> {
    return this.#known;
  }
}

const untilStopped: DummyWork = (_order, signal) =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve({ exitCode: 0 }), { once: true }));

async function trial(
  executor: Executor,
  options: { registers?: boolean; limit?: number; signal?: AbortSignal } = {},
): Promise<readonly string[]> {
  const { registers = true, limit = 60_000, signal = never } = options;
  const told: string[] = [];
  for await (const event of runTrial({
    executor,
    order: orderFor('token-of-the-trial'),
    registered: async () => registers,
    limit,
    clock: systemClock,
    signal,
  }))
    told.push(textOf(event));
  expect(await executor.running()).toEqual([]);
  return told;
}

const textOf = (event: TrialEvent) =>
  event.kind === 'passed' ? event.step : `${event.step}: ${event.message}`;

test('tells every step that the executor tells apart', async () => {
  const executor = new Telling(untilStopped, ['reachable', 'allowed'], ['scheduled', 'image-pulled']);
  expect(await trial(executor)).toEqual([
    'reachable',
    'allowed',
    'started',
    'scheduled',
    'image-pulled',
    'registered',
    'stopped',
  ]);
});

test('a worker that has registered has come through every step, whatever was known of it', async () => {
  const steps = ['started', 'scheduled', 'image-pulled', 'registered', 'stopped'];
  expect(await trial(new Telling(untilStopped, [], []))).toEqual(steps);
});

test('a worker that does not come through the steps does not have them', async () => {
  const told = await trial(new Telling(untilStopped, [], ['scheduled']), { registers: false, limit: 1 });
  expect(told).toEqual(['started', 'scheduled', expect.stringMatching(/^registered: /), 'stopped']);
});

test('leaves out what it does not tell apart', async () => {
  const executor = new DummyExecutor({ clock: systemClock, work: untilStopped });
  expect(await trial(executor)).toEqual(['started', 'registered', 'stopped']);
});

test('ends at the first thing that is missing', async () => {
  const denied = new ExecutorError('misconfigured', 'It may not create Jobs.');
  const executor = new Telling(untilStopped, ['reachable', denied], []);
  expect(await trial(executor)).toEqual(['reachable', 'allowed: It may not create Jobs.']);
  const away = new Telling(untilStopped, [new ExecutorError('unavailable', 'No answer.')], []);
  expect(await trial(away)).toEqual(['reachable: No answer.']);
});

test('a worker that is left for debugging is not waited for, and the message says how it ends', async () => {
  const executor = new DummyExecutor({ clock: systemClock, work: untilStopped });
  Object.defineProperty(executor, 'leavesWorkers', { value: true });
  expect(await trial(executor)).toEqual([
    'started',
    'registered',
    expect.stringMatching(/^stopped: DEBUG is set for this executor, so \S+ was left .* unset DEBUG/),
  ]);
});

test('says why a worker is gone that never registered, without its token, and removes it', async () => {
  const executor = new DummyExecutor({
    clock: systemClock,
    work: async ({ token }) => ({ exitCode: 3, output: `no way to the server with ${token}` }),
  });
  expect(await trial(executor, { registers: false })).toEqual([
    'started',
    'registered: It ended without having registered. The worker exited with status 3. The last it said: no way to the server with (hidden)',
    'stopped',
  ]);
});

test('a worker that is silent is stopped when its time is over', async () => {
  const executor = new DummyExecutor({ clock: systemClock, work: untilStopped });
  const told = await trial(executor, { registers: false, limit: 1 });
  expect(told).toMatchObject([
    'started',
    expect.stringContaining('It did not register within 0 s'),
    'stopped',
  ]);
});

test('the worker is stopped when whoever asked goes away', async () => {
  const executor = new DummyExecutor({ clock: systemClock, work: untilStopped });
  const gone = new AbortController();
  setImmediate(() => gone.abort());
  await expect(trial(executor, { registers: false, signal: gone.signal })).rejects.toThrow();
  expect(await executor.running()).toEqual([]);
});
