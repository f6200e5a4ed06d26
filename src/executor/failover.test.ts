import { describe, expect, test } from 'vitest';
import { systemClock } from '../base/clock.ts';
import { passedOver } from './choosing-rules.ts';
import { DummyExecutor, type DummyWork } from './dummy-executor.ts';
import { executorSuite, orderFor, untilGone } from './executor.suite.ts';
import type { WorkerOrder } from './executor.ts';
import { ExecutorDecorator } from './executor-decorator.ts';
import { ExecutorError, type ExecutorErrorCode } from './executor-error.ts';
import { FailoverExecutor } from './failover.ts';
import { FailureAlerts } from './failure-alerts.ts';
import { LimitedExecutor } from './limited-executor.ts';

const never = new AbortController().signal;
const work: DummyWork = async ({ token }, signal) => {
  if (token === 'exit-7') return { exitCode: 7 };
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  return { exitCode: 143 };
};

const dummy = (name: string, failStart?: ExecutorErrorCode, maxWorkers = Number.POSITIVE_INFINITY) =>
  new LimitedExecutor(
    new DummyExecutor({
      name,
      clock: systemClock,
      work,
      behave: () => (failStart === undefined ? {} : { failStart }),
    }),
    maxWorkers,
  );

const order = (changes: Partial<WorkerOrder> = {}): WorkerOrder => ({ ...orderFor('run'), ...changes });

describe('failover executor', () => {
  executorSuite(async () => {
    const executor = new FailoverExecutor({
      entries: [{ executor: dummy('a', undefined, 1) }, { executor: dummy('b', undefined, 2) }],
    });
    const broken = new FailoverExecutor({
      entries: [{ executor: dummy('a', 'at-capacity') }, { executor: dummy('b', 'start-failed') }],
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

  test('asks the next when one cannot, and says which runs the worker', async () => {
    const fallbacks: string[] = [];
    const executor = new FailoverExecutor({
      entries: [
        { executor: dummy('patient'), minimumRetryThreshold: 1 },
        { executor: dummy('broken', 'unavailable') },
        { executor: dummy('last') },
      ],
      onFallback: (name, why) => fallbacks.push(`${name}: ${why}`),
    });
    const first = order({ triesLeft: 1 });
    const second = order({ triesLeft: 0 });
    expect(await executor.start(first, never)).toEqual({
      worker: `patient/${first.attemptId}`,
      executor: 'patient',
    });
    expect(await executor.start(second, never)).toEqual({
      worker: `last/${second.attemptId}`,
      executor: 'last',
    });
    expect(fallbacks).toEqual(['patient: retries', 'broken: unavailable']);
    const gone = untilGone(executor, second.attemptId);
    await executor.stop(`last/${second.attemptId}`, never);
    expect(await executor.status(`last/${second.attemptId}`)).toMatchObject({ kind: 'gone' });
    expect(await executor.status(`removed/${second.attemptId}`)).toMatchObject({ kind: 'gone' });
    await executor.close();
    await expect(Promise.race([gone, Promise.resolve('not told')])).resolves.toBe('not told');
  });

  test('says refused when no executor takes the order, whatever is waited for', async () => {
    const executor = new FailoverExecutor({
      entries: [
        { executor: dummy('a'), namespaceWhitelist: ['others'] },
        { executor: dummy('b'), minimumRetryThreshold: 2 },
        { executor: dummy('c'), platforms: ['linux/s390x'] },
      ],
    });
    await expect(
      executor.start(order({ triesLeft: 1, platform: 'linux/amd64' }), never),
    ).rejects.toMatchObject({ code: 'refused' });
  });

  test('says at-capacity when what would take the order is cordoned: that ends', async () => {
    const executor = new FailoverExecutor({
      entries: [
        { executor: dummy('a'), namespaceWhitelist: ['others'] },
        { executor: dummy('b'), cordoned: true },
      ],
    });
    await expect(executor.start(order(), never)).rejects.toMatchObject({ code: 'at-capacity' });
  });

  test('says at-capacity only when room is all that is missing', async () => {
    const full = new FailoverExecutor({
      entries: [{ executor: dummy('a', 'at-capacity') }, { executor: dummy('b', 'at-capacity') }],
    });
    await expect(full.start(order(), never)).rejects.toMatchObject({ code: 'at-capacity' });
  });

  test('passes over what is cordoned at that moment, and says so when nothing else is left', async () => {
    const cordoned = new Set(['a']);
    const executor = new FailoverExecutor({
      entries: [{ executor: dummy('a') }, { executor: dummy('b') }],
      cordoned: async () => cordoned,
    });
    expect(await executor.start(order(), never)).toMatchObject({ executor: 'b' });
    cordoned.add('b');
    await expect(executor.start(order(), never)).rejects.toMatchObject({ code: 'at-capacity' });
    cordoned.delete('a');
    expect(await executor.start(order(), never)).toMatchObject({ executor: 'a' });
    await executor.close();
  });

  test('an executor that does not answer keeps no other from working', async () => {
    const troubles: string[] = [];
    class Silent extends ExecutorDecorator {
      async start(): Promise<never> {
        throw new ExecutorError('unavailable', 'No answer.');
      }
      override async running(): Promise<never> {
        throw new ExecutorError('unavailable', 'No answer.');
      }
      override async adopt(): Promise<never> {
        throw new ExecutorError('unavailable', 'No answer.');
      }
    }
    const executor = new FailoverExecutor({
      entries: [{ executor: new Silent(dummy('a')) }, { executor: dummy('b') }],
      onTrouble: (name) => troubles.push(name),
    });
    await executor.adopt(async () => true);
    const first = order();
    expect(await executor.start(first, never)).toMatchObject({ executor: 'b' });
    expect(await executor.running()).toEqual([
      { worker: `b/${first.attemptId}`, attemptId: first.attemptId },
    ]);
    expect(new Set(troubles)).toEqual(new Set(['a']));
    await executor.close();
  });

  test('raises an alert when all that take an order fail, until one of them starts a worker', async () => {
    let broken = true;
    const picky = (name: string) =>
      new DummyExecutor({
        name,
        clock: systemClock,
        work,
        behave: () => (broken ? { failStart: 'unavailable' } : {}),
      });
    const alerts = new FailureAlerts({ clock: systemClock });
    const executor = new FailoverExecutor({
      entries: [
        { executor: picky('a') },
        { executor: picky('b'), minimumRetryThreshold: 1 },
        { executor: dummy('c'), namespaceWhitelist: ['other'] },
      ],
      alerts,
    });
    await executor.start(order({ triesLeft: 0 }), never).catch(() => {});
    await executor.start(order({ triesLeft: 2 }), never).catch(() => {});
    expect(alerts.all.map(({ executors }) => executors)).toEqual([['a'], ['a', 'b']]);
    expect(alerts.all[1]?.message).toContain('Executor a was told to fail this start.');
    await executor.start(order({ namespace: 'other' }), never);
    expect(alerts.all).toHaveLength(2);
    broken = false;
    await executor.start(order(), never);
    expect(alerts.all).toEqual([]);
    await executor.close();
  });

  test('no alert is raised while one of them is only full', async () => {
    const alerts = new FailureAlerts({ clock: systemClock });
    const executor = new FailoverExecutor({
      entries: [{ executor: dummy('a', 'start-failed') }, { executor: dummy('b', 'at-capacity') }],
      alerts,
    });
    await expect(executor.start(order(), never)).rejects.toMatchObject({ code: 'start-failed' });
    expect(alerts.all).toEqual([]);
  });

  test('says at-capacity when those that are not left alone are full', async () => {
    const executor = new FailoverExecutor({
      entries: [{ executor: dummy('a', 'circuit-open') }, { executor: dummy('b', 'at-capacity') }],
    });
    await expect(executor.start(order(), never)).rejects.toMatchObject({ code: 'at-capacity' });
  });

  test('finds workers that were written down before there was a list', async () => {
    const local = dummy('local');
    const executor = new FailoverExecutor({ entries: [{ executor: local }] });
    const { worker } = await local.start(order(), never);
    expect(await executor.status(worker)).toEqual({ kind: 'running' });
    await executor.stop(worker, never);
    expect(await local.running()).toEqual([]);
  });

  test.each([
    ['the same name twice', ['a', 'a']],
    ['no entry', []],
    ['a slash', ['a/b']],
  ])('refuses %s', (_, names) => {
    const entries = names.map((name) => ({ executor: dummy(name) }));
    expect(() => new FailoverExecutor({ entries })).toThrow(
      expect.objectContaining({ code: 'misconfigured' }),
    );
  });
});

describe('who is passed over', () => {
  test('a whitelist alone lets only its namespaces through', () => {
    const rules = { namespaceWhitelist: ['team'] };
    expect(passedOver(rules, order({ namespace: 'team' }))).toBeUndefined();
    expect(passedOver(rules, order({ namespace: 'other' }))).toBe('namespace');
  });

  test('a rollout takes the namespaces whose hash ends low, and those of the whitelist', () => {
    // sha256("team") ends in 0x32, sha256("abc") in 0xad.
    const team = order({ namespace: 'team' });
    const abc = order({ namespace: 'abc' });
    expect([team, abc].map((each) => passedOver({ stagedRollout: 0 }, each))).toEqual([
      'namespace',
      'namespace',
    ]);
    expect(passedOver({ stagedRollout: 0xad / 256 }, abc)).toBe('namespace');
    expect(passedOver({ stagedRollout: 0xae / 256 }, abc)).toBeUndefined();
    expect([team, abc].map((each) => passedOver({ stagedRollout: 1 }, each))).toEqual([undefined, undefined]);
    expect(passedOver({ stagedRollout: 0, namespaceWhitelist: ['abc'] }, abc)).toBeUndefined();
  });

  test('what is for another platform says so whether or not it is cordoned: that would not help', () => {
    const rules = { platforms: ['linux/amd64'], cordoned: true };
    expect(passedOver(rules, { ...orderFor('run'), platform: 'linux/arm64' })).toBe('platform');
    expect(passedOver(rules, { ...orderFor('run'), platform: 'linux/amd64' })).toBe('cordoned');
  });

  test('an order without a platform fits every executor', () => {
    const rules = { platforms: ['linux/arm64'] };
    expect(passedOver(rules, order({ platform: '' }))).toBeUndefined();
    expect(passedOver(rules, order({ platform: 'linux/arm64' }))).toBeUndefined();
    expect(passedOver(rules, order({ platform: 'linux/amd64' }))).toBe('platform');
  });
});
