import { describe, expect, test } from 'vitest';
import { ManualClock, systemClock } from '../base/clock.ts';
import { type DummyBehaviour, DummyExecutor, type DummyWork } from './dummy-executor.ts';
import { executorSuite, orderFor, untilGone } from './executor.suite.ts';
import { LimitedExecutor } from './limited-executor.ts';

const work: DummyWork = async ({ token }, signal) => {
  if (token === 'exit-7') return { exitCode: 7 };
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  return { exitCode: 143 };
};

const never = new AbortController().signal;

describe('dummy executor', () => {
  executorSuite(async () => {
    const executor = new LimitedExecutor(new DummyExecutor({ clock: systemClock, work }), 3);
    const broken = new DummyExecutor({
      clock: systemClock,
      work,
      behave: () => ({ failStart: 'start-failed' }),
    });
    return {
      executor,
      broken,
      assertNothingLeft: async () => {
        expect(await executor.running()).toEqual([]);
        expect(await broken.running()).toEqual([]);
      },
      [Symbol.asyncDispose]: async () => {
        await executor.close();
        await broken.close();
      },
    };
  });

  const programmed = (behaviour: DummyBehaviour) => {
    const clock = new ManualClock();
    return { clock, executor: new DummyExecutor({ clock, work, behave: () => behaviour }) };
  };

  test('a worker that never registers lives until it is stopped', async () => {
    const { clock, executor } = programmed({ neverRegister: true });
    const { worker } = await executor.start(orderFor('exit-7'), never);
    await clock.advance(3_600_000);
    expect(await executor.status(worker)).toEqual({ kind: 'running' });
    await executor.stop(worker, never);
    expect(await executor.status(worker)).toMatchObject({ kind: 'gone' });
  });

  test('a worker dies when it was told to', async () => {
    const { clock, executor } = programmed({ dieAfter: 5000 });
    const order = orderFor('run');
    const gone = untilGone(executor, order.attemptId);
    const { worker } = await executor.start(order, never);
    await clock.advance(4999);
    expect(await executor.status(worker)).toEqual({ kind: 'running' });
    await clock.advance(1);
    expect(await gone).toMatchObject({ kind: 'gone', signal: 'SIGKILL' });
    expect(clock.sleeping).toBe(0);
  });

  test('an answer may come late while the worker is at work', async () => {
    const { clock, executor } = programmed({ answerAfter: 10_000 });
    const order = orderFor('run');
    const starting = executor.start(order, never);
    await clock.advance(0);
    expect(await executor.running()).toHaveLength(1);
    await clock.advance(10_000);
    expect(await starting).toEqual({ worker: order.attemptId });
    await executor.close();
    expect(clock.sleeping).toBe(0);
  });

  test('a worker may begin late', async () => {
    const { clock, executor } = programmed({ delay: 1000 });
    const order = orderFor('exit-7');
    const gone = untilGone(executor, order.attemptId);
    const { worker } = await executor.start(order, never);
    await clock.advance(999);
    expect(await executor.status(worker)).toEqual({ kind: 'running' });
    await clock.advance(1);
    expect(await gone).toMatchObject({ exitCode: 7 });
  });
});
