import { expect, test, vi } from 'vitest';
import { newAttemptId, newBuildId } from '../model/ids.ts';
import type { Executor, WorkerOrder, WorkerStatus } from './executor.ts';
import { ExecutorError } from './executor-error.ts';

/** One executor under test. What its worker does is told by the token. */
export interface ExecutorSubject extends AsyncDisposable {
  /** Its workers: `run` lives until it is stopped, `exit-7` exits with status 7 at once. At most three at once. */
  readonly executor: Executor;
  /** An executor whose every start fails. */
  readonly broken: Executor;
  /** Whether it learns with which status a worker exited; yes, unless false. */
  readonly exitCodes?: boolean;
  /** Throws when a worker left anything behind. */
  assertNothingLeft(): Promise<void>;
}

export function orderFor(token: string): WorkerOrder {
  return {
    buildId: newBuildId(),
    attemptId: newAttemptId(),
    epoch: 1,
    namespace: 'team',
    platform: '',
    triesLeft: 2,
    token,
    server: '127.0.0.1:1',
    serverTls: false,
    registryHost: '127.0.0.1:1',
    maxLifetime: 60_000,
  };
}

/** Resolves with the status the executor tells of an attempt. */
export function untilGone(executor: Executor, attemptId: string): Promise<WorkerStatus> {
  return new Promise((resolve) => {
    const stop = executor.onGone((gone) => {
      if (gone.attemptId !== attemptId) return;
      stop();
      resolve(gone.status);
    });
  });
}

/** Its status once it is not about to start any more: somewhere else that takes a while. */
function onceStarted(executor: Executor, worker: string): Promise<WorkerStatus> {
  return vi.waitFor(
    async () => {
      const status = await executor.status(worker);
      if (status.kind === 'starting') throw new Error('it is still starting');
      return status;
    },
    { timeout: 60_000, interval: 50 },
  );
}

const never = new AbortController().signal;

/** What every executor does, wherever it runs workers. */
export function executorSuite(open: () => Promise<ExecutorSubject>): void {
  test('starts a worker, counts it, and stops it', async () => {
    await using subject = await open();
    const { executor } = subject;
    const order = orderFor('run');
    const { worker } = await executor.start(order, never);
    expect(await onceStarted(executor, worker)).toEqual({ kind: 'running' });
    expect(await executor.running()).toEqual([{ worker, attemptId: order.attemptId }]);
    await executor.stop(worker, never);
    expect(await executor.running()).toEqual([]);
    expect(await executor.status(worker)).toMatchObject({ kind: 'gone' });
    await subject.assertNothingLeft();
  });

  test('starting twice is starting once', async () => {
    await using subject = await open();
    const { executor } = subject;
    const order = orderFor('run');
    const [first, second] = await Promise.all([executor.start(order, never), executor.start(order, never)]);
    expect(await executor.start(order, never)).toEqual(first);
    expect(second).toEqual(first);
    expect(await executor.running()).toHaveLength(1);
    await executor.stop(first.worker, never);
  });

  test('tells when a worker ends by itself, with its exit status', async () => {
    await using subject = await open();
    const { executor } = subject;
    const order = orderFor('exit-7');
    const gone = untilGone(executor, order.attemptId);
    const { worker } = await executor.start(order, never);
    const expected = { kind: 'gone', ...(subject.exitCodes === false ? {} : { exitCode: 7 }) };
    expect(await gone).toMatchObject(expected);
    expect(await executor.status(worker)).toMatchObject(expected);
    expect(await executor.running()).toEqual([]);
    await executor.stop(worker, never);
    await subject.assertNothingLeft();
  });

  test('stopping a worker that is gone, stopped or unknown is success', async () => {
    await using subject = await open();
    const { executor } = subject;
    const { worker } = await executor.start(orderFor('run'), never);
    await Promise.all([executor.stop(worker, never), executor.stop(worker, never)]);
    await executor.stop(worker, never);
    await executor.stop('nobody', never);
    await subject.assertNothingLeft();
  });

  test('a worker that was stopped is not told of as lost', async () => {
    await using subject = await open();
    const { executor } = subject;
    const told: string[] = [];
    executor.onGone(({ worker }) => told.push(worker));
    const { worker } = await executor.start(orderFor('run'), never);
    await executor.stop(worker, never);
    const order = orderFor('exit-7');
    const gone = untilGone(executor, order.attemptId);
    const last = await executor.start(order, never);
    await gone;
    expect(told).toEqual([last.worker]);
    await executor.stop(last.worker, never);
  });

  test('a start over its limit says at-capacity and leaves nothing', async () => {
    await using subject = await open();
    const { executor } = subject;
    const workers = [];
    for (let n = 0; n < 3; n += 1) workers.push(await executor.start(orderFor('run'), never));
    const refused = await executor.start(orderFor('run'), never).catch((thrown: unknown) => thrown);
    expect(refused).toBeInstanceOf(ExecutorError);
    expect(refused).toMatchObject({ code: 'at-capacity' });
    for (const { worker } of workers) await executor.stop(worker, never);
    await subject.assertNothingLeft();
  });

  test('a start that fails says start-failed and leaves nothing', async () => {
    await using subject = await open();
    const failed = await subject.broken.start(orderFor('run'), never).catch((thrown: unknown) => thrown);
    expect(failed).toBeInstanceOf(ExecutorError);
    expect(failed).toMatchObject({ code: 'start-failed' });
    expect(await subject.broken.running()).toEqual([]);
    await subject.assertNothingLeft();
  });

  test('adopting keeps what is kept and ends what is refused', async () => {
    await using subject = await open();
    const { executor } = subject;
    const order = orderFor('run');
    const { worker } = await executor.start(order, never);
    await executor.adopt(async (attemptId) => attemptId === order.attemptId);
    expect(await onceStarted(executor, worker)).toEqual({ kind: 'running' });
    await executor.stop(worker, never);
    await subject.assertNothingLeft();
  });
}
