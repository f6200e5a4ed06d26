import { describe, expect, test } from 'vitest';
import { ManualClock, systemClock } from '../base/clock.ts';
import { BreakingExecutor } from './breaking-executor.ts';
import { CircuitBreaker } from './circuit-breaker.ts';
import { DummyExecutor, type DummyWork } from './dummy-executor.ts';
import { executorSuite, orderFor } from './executor.suite.ts';
import type { Executor, StartedWorker, WorkerOrder } from './executor.ts';
import { ExecutorDecorator } from './executor-decorator.ts';
import { ExecutorError, type ExecutorErrorCode } from './executor-error.ts';
import { LimitedExecutor } from './limited-executor.ts';
import { TimedExecutor } from './timed-executor.ts';
import { type StartResult, WatchedExecutor } from './watched-executor.ts';

const never = new AbortController().signal;
const work: DummyWork = async ({ token }, signal) => {
  if (token === 'exit-7') return { exitCode: 7 };
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  return { exitCode: 143 };
};
const dummy = () => new DummyExecutor({ clock: systemClock, work });

/** Throws what the token is a key of. */
class Failing extends ExecutorDecorator {
  readonly #errors: Readonly<Record<string, () => unknown>>;
  readonly asked: string[] = [];

  constructor(errors: Readonly<Record<string, () => unknown>>) {
    super(dummy());
    this.#errors = errors;
  }

  async start(order: WorkerOrder, signal: AbortSignal): Promise<StartedWorker> {
    this.asked.push(order.token);
    const error = this.#errors[order.token];
    if (error !== undefined) throw error();
    return await this.inner.start(order, signal);
  }
}

const failures = (['at-capacity', 'refused', 'start-failed', 'misconfigured', 'unavailable'] as const).map(
  (code) => [code, () => new ExecutorError(code, `It said ${code}.`)] as const,
);
const failing = () => new Failing(Object.fromEntries(failures));
const codeOf = async (started: Promise<unknown>): Promise<ExecutorErrorCode | 'started'> =>
  await started.then(
    () => 'started' as const,
    (thrown: ExecutorError) => thrown.code,
  );

describe('all decorators around one executor', () => {
  const around = (inner: Executor) =>
    new LimitedExecutor(
      new BreakingExecutor(
        new WatchedExecutor(new TimedExecutor(inner, { clock: systemClock, limit: 60_000 }), {
          clock: systemClock,
          onStart: () => {},
        }),
        new CircuitBreaker({ clock: systemClock }),
      ),
      3,
    );
  executorSuite(async () => {
    const executor = around(dummy());
    const broken = around(
      new DummyExecutor({ clock: systemClock, work, behave: () => ({ failStart: 'start-failed' }) }),
    );
    return {
      executor,
      broken,
      assertNothingLeft: async () => expect(await executor.running()).toEqual([]),
      [Symbol.asyncDispose]: async () => {
        await executor.close();
        await broken.close();
      },
    };
  });
});

describe('the limit', () => {
  test('holds for starts at the same time too', async () => {
    // Nobody sees a worker of it before its start is over.
    class Slow extends ExecutorDecorator {
      async start(order: WorkerOrder, signal: AbortSignal): Promise<StartedWorker> {
        for (let n = 0; n < 20; n += 1) await new Promise((turn) => setImmediate(turn));
        return await this.inner.start(order, signal);
      }
    }
    const slow = new Slow(dummy());
    const executor = new LimitedExecutor(slow, 2);
    const starts = Array.from({ length: 6 }, () => codeOf(executor.start(orderFor('run'), never)));
    expect((await Promise.all(starts)).sort()).toEqual([
      ...Array.from({ length: 4 }, () => 'at-capacity'),
      'started',
      'started',
    ]);
    expect(await slow.running()).toHaveLength(2);
    await executor.close();
  });

  test('gives the place of a start that failed to the next, and a repeated start its own', async () => {
    const executor = new LimitedExecutor(failing(), 1);
    expect(await codeOf(executor.start(orderFor('start-failed'), never))).toBe('start-failed');
    const order = orderFor('run');
    const first = await executor.start(order, never);
    expect(await executor.start(order, never)).toEqual(first);
    expect(await codeOf(executor.start(orderFor('run'), never))).toBe('at-capacity');
    await executor.stop(first.worker, never);
    expect(await codeOf(executor.start(orderFor('run'), never))).toBe('started');
    await executor.close();
  });
});

describe('a limited executor that does not say what runs', () => {
  test('keeps nobody waiting who has given up, and counts nobody twice', async () => {
    const looks: (() => void)[] = [];
    class Mute extends ExecutorDecorator {
      async start(order: WorkerOrder, signal: AbortSignal): Promise<StartedWorker> {
        return await this.inner.start(order, signal);
      }

      override async running() {
        await new Promise<void>((resolve) => looks.push(resolve));
        return await this.inner.running();
      }
    }
    const executor = new LimitedExecutor(new Mute(dummy()), 1);
    const given = new AbortController();
    const starts = Array.from({ length: 8 }, () => executor.start(orderFor('run'), given.signal));
    const told = Promise.allSettled(starts);
    await expect.poll(() => looks.length).toBe(1);
    given.abort(new Error('given up'));
    expect((await told).map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 'rejected'));
    // Only the first one had begun to look. It was given up, so it holds no place.
    looks[0]?.();
    const last = executor.start(orderFor('run'), never);
    await expect.poll(() => looks.length).toBe(2);
    looks[1]?.();
    expect(await codeOf(last)).toBe('started');
    await executor.close();
  });
});

describe('the breaker', () => {
  const broken = () => {
    const inner = failing();
    const clock = new ManualClock();
    const breaker = new CircuitBreaker({ clock, monotonic: () => clock.now(), threshold: 2, first: 1_000 });
    return { inner, clock, breaker, executor: new BreakingExecutor(inner, breaker) };
  };

  test('opens for what says that the executor does not work', async () => {
    for (const [code] of failures) {
      const { executor } = broken();
      await codeOf(executor.start(orderFor(code), never));
      await codeOf(executor.start(orderFor(code), never));
      const opens = code !== 'at-capacity' && code !== 'refused';
      expect([code, await codeOf(executor.start(orderFor('run'), never))]).toEqual([
        code,
        opens ? 'circuit-open' : 'started',
      ]);
      await executor.close();
    }
  });

  test('does not open for starts that were given up', async () => {
    const { executor } = broken();
    const given = AbortSignal.abort();
    for (let n = 0; n < 3; n += 1) await codeOf(executor.start(orderFor('unavailable'), given));
    expect(await codeOf(executor.start(orderFor('run'), never))).toBe('started');
    await executor.close();
  });

  test('asks nothing while it is open, says what was said last, and tries one start then', async () => {
    const { executor, inner, clock, breaker } = broken();
    await codeOf(executor.start(orderFor('unavailable'), never));
    await codeOf(executor.start(orderFor('start-failed'), never));
    inner.asked.length = 0;
    await expect(executor.start(orderFor('run'), never)).rejects.toMatchObject({
      code: 'circuit-open',
      message: expect.stringMatching(/after 2 starts .* It said start-failed\.$/),
    });
    expect(inner.asked).toEqual([]);
    await clock.advance(breaker.wait);
    expect(await codeOf(executor.start(orderFor('run'), never))).toBe('started');
    expect(breaker.state).toEqual({ kind: 'closed' });
    await executor.close();
  });
});

describe('what watches', () => {
  test('tells how each start went, but for those that were given up', async () => {
    const told: StartResult[] = [];
    const inner = new Failing({
      unavailable: () => new ExecutorError('unavailable', 'No answer.'),
      odd: () => new TypeError('x is not a function'),
    });
    const executor = new WatchedExecutor(inner, {
      clock: systemClock,
      onStart: (result) => told.push(result),
    });
    for (const token of ['run', 'unavailable', 'odd']) await codeOf(executor.start(orderFor(token), never));
    await codeOf(executor.start(orderFor('odd'), AbortSignal.abort()));
    expect(told).toMatchObject([
      { kind: 'started' },
      { kind: 'failed', code: 'unavailable', message: 'No answer.' },
      { kind: 'failed', code: 'start-failed', message: 'Executor dummy: x is not a function' },
    ]);
    await executor.close();
  });

  test('lets no secret out, wherever in the error it stands', async () => {
    const key = 'wJalrXUtnFEMI/K7MDENG';
    const token = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl';
    const inner = new Failing({
      [token]: () => new ExecutorError('unavailable', `POST with Bearer ${token} and ${key} failed.`),
      cause: () => new ExecutorError('unavailable', 'No answer.', new Error(`key ${key}`)),
      field: () => Object.assign(new Error('No answer.'), { request: { key } }),
      url: () => new Error('connect to https://admin:hunter2@api.example:6443 failed'),
    });
    const told: StartResult[] = [];
    const executor = new WatchedExecutor(inner, {
      clock: systemClock,
      secrets: [key],
      onStart: (result) => told.push(result),
    });
    for (const each of [token, 'cause', 'field', 'url']) {
      const thrown = await executor.start(orderFor(each), never).catch((error: unknown) => error);
      expect(thrown).toBeInstanceOf(ExecutorError);
      const { message, stack, cause, ...rest } = thrown as ExecutorError;
      const all = [message, stack, JSON.stringify(rest), String((cause as Error | undefined)?.stack)].join();
      for (const secret of [key, token, 'hunter2']) expect(all).not.toContain(secret);
    }
    expect(JSON.stringify(told)).not.toMatch(/wJalr|eyJhb|hunter2/);
    expect(told).toMatchObject([
      { message: 'POST with Bearer (hidden) and (hidden) failed.' },
      { message: 'No answer.' },
      { message: expect.stringContaining('No answer.') },
      { message: expect.stringContaining('https://admin:(hidden)@api.example') },
    ]);
    await executor.close();
  });
});
