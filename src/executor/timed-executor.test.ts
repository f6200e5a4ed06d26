import { expect, test } from 'vitest';
import { ManualClock, systemClock } from '../base/clock.ts';
import { DummyExecutor } from './dummy-executor.ts';
import { orderFor } from './executor.suite.ts';
import type { StartedWorker, WorkerOrder } from './executor.ts';
import { ExecutorDecorator } from './executor-decorator.ts';
import { TimedExecutor } from './timed-executor.ts';

const never = new AbortController().signal;
const dummy = () =>
  new DummyExecutor({
    clock: systemClock,
    work: async (_order, signal) => {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      return { exitCode: 143 };
    },
  });

/** Starts a worker when the test lets it, whether or not it was given up. */
class Late extends ExecutorDecorator {
  readonly given: AbortSignal[] = [];
  readonly #goes: (() => void)[] = [];

  async start(order: WorkerOrder, signal: AbortSignal): Promise<StartedWorker> {
    this.given.push(signal);
    await new Promise<void>((resolve) => this.#goes.push(resolve));
    return await this.inner.start(order, never);
  }

  go(): void {
    this.#goes.shift()?.();
  }
}

function late() {
  const clock = new ManualClock();
  const inner = new Late(dummy());
  return { clock, inner, executor: new TimedExecutor(inner, { clock, limit: 5_000 }) };
}

test('a start that is in time is none of its business', async () => {
  const { inner, executor, clock } = late();
  const starting = executor.start(orderFor('run'), never);
  inner.go();
  const { worker } = await starting;
  await clock.advance(10_000);
  expect(await executor.status(worker)).toEqual({ kind: 'running' });
  expect(inner.given[0]?.aborted).toBe(false);
  await executor.stop(worker, never);
  await executor.close();
});

test('one that does not answer is given up as unavailable, and a worker that comes after all is ended', async () => {
  const { inner, executor, clock } = late();
  const refused = expect(executor.start(orderFor('run'), never)).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringMatching(/dummy did not start a worker within 5 s.*slipway executor test dummy/),
  });
  await clock.advance(5_000);
  await refused;
  expect(inner.given[0]?.aborted).toBe(true);
  inner.go();
  await expect.poll(async () => (await inner.running()).length).toBe(0);
  await executor.close();
});

test('the worker of a newer start of the same attempt stays', async () => {
  const { inner, executor, clock } = late();
  const order = orderFor('run');
  const first = executor.start(order, never).catch((thrown: Error) => thrown.message);
  await clock.advance(5_000);
  expect(await first).toMatch(/did not start/);
  const second = executor.start(order, never);
  inner.go();
  await expect.poll(async () => (await inner.running()).length).toBe(1);
  inner.go();
  const { worker } = await second;
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(await executor.status(worker)).toEqual({ kind: 'running' });
  await executor.stop(worker, never);
  await executor.close();
});

test('a failure and a start that somebody gave up are passed on', async () => {
  const executor = new TimedExecutor(
    new DummyExecutor({
      clock: systemClock,
      work: async () => ({ exitCode: 0 }),
      behave: () => ({ failStart: 'refused' }),
    }),
    { clock: new ManualClock(), limit: 5_000 },
  );
  await expect(executor.start(orderFor('run'), never)).rejects.toMatchObject({ code: 'refused' });
  await expect(executor.start(orderFor('run'), AbortSignal.abort(new Error('given up')))).rejects.toThrow(
    'given up',
  );
});
