import { expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import type { WorkerStatus } from '../executor/executor.ts';
import type { AttemptState } from '../model/attempt.ts';
import { type AttemptId, newAttemptId } from '../model/ids.ts';
import type { RunningAttempt } from '../queue/build-queue.ts';
import { WorkerReaper } from './worker-reaper.ts';

/** Workers by the state of their attempt, and a reaper that looks when it is told to. */
function scene() {
  const states = new Map<AttemptId, AttemptState>();
  const alive = new Map<string, AttemptId>();
  const stopped: string[] = [];
  const supervised = new Set<AttemptId>();
  const onTrial = new Set<AttemptId>();
  let tellGone: (gone: { worker: string; attemptId: AttemptId; status: WorkerStatus }) => void = () => {};
  const clock = new ManualClock();
  /** What the time of day is wrong by. */
  const wrong = { by: 0 };
  const reaper = new WorkerReaper({
    supervises: (id) => supervised.has(id),
    queue: {
      attempt: async (id) => {
        const state = states.get(id);
        return state === undefined ? undefined : ({ id, state } as RunningAttempt);
      },
    },
    executor: {
      running: async () => [...alive].map(([worker, attemptId]) => ({ worker, attemptId })),
      stop: async (worker) => {
        stopped.push(worker);
        alive.delete(worker);
      },
      onGone: (tell) => {
        tellGone = tell;
        return () => {};
      },
    },
    trials: { register: async (id) => onTrial.has(id), runs: async (id) => onTrial.has(id) },
    clock: {
      now: () => clock.now() + wrong.by,
      sleep: (milliseconds, signal) => clock.sleep(milliseconds, signal),
    },
    monotonic: () => clock.now(),
    logger: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
    every: 1_000,
    grace: 5_000,
  });
  return {
    clock,
    wrong,
    reaper,
    stopped,
    supervised,
    onTrial,
    states,
    add(worker: string, state: AttemptState): AttemptId {
      const id = newAttemptId();
      states.set(id, state);
      alive.set(worker, id);
      return id;
    },
    die(worker: string): void {
      const attemptId = alive.get(worker);
      if (attemptId === undefined) throw new Error(`no worker ${worker}`);
      alive.delete(worker);
      tellGone({ worker, attemptId, status: { kind: 'gone', reason: 'it exited' } });
    },
  };
}

test('a worker has a while to exit by itself after its attempt ended elsewhere, and is stopped then', async () => {
  const { clock, reaper, stopped, states, add } = scene();
  const id = add('one', 'building');
  add('two', 'building');
  await using started = reaper;
  started.start();
  await clock.advance(20_000);
  expect(stopped).toEqual([]);
  states.set(id, 'done');
  await clock.advance(5_000);
  expect(stopped).toEqual([]);
  await clock.advance(2_000);
  expect(stopped).toEqual(['one']);
});

test('the while is as long whatever the time of day is set to', async () => {
  const { clock, wrong, reaper, stopped, add } = scene();
  wrong.by = 600_000;
  add('one', 'done');
  await using started = reaper;
  started.start();
  await clock.advance(2_000);
  wrong.by = 0;
  await clock.advance(2_000);
  expect(stopped).toEqual([]);
  await clock.advance(2_000);
  expect(stopped).toEqual(['one']);
});

test('what this manager supervises is left to its supervision', async () => {
  const { clock, reaper, stopped, supervised, add } = scene();
  supervised.add(add('one', 'done'));
  await using started = reaper;
  started.start();
  await clock.advance(60_000);
  expect(stopped).toEqual([]);
});

test('what is left of a worker that has gone is removed when its attempt is over, not before', async () => {
  const { clock, reaper, stopped, states, add, die } = scene();
  const id = add('one', 'pushing');
  await using started = reaper;
  started.start();
  die('one');
  await clock.advance(10_000);
  expect(stopped).toEqual([]);
  states.set(id, 'done');
  await clock.advance(1_000);
  expect(stopped).toEqual(['one']);
  await clock.advance(10_000);
  expect(stopped).toEqual(['one']);
});

test('a worker that tries out an executor is left alone until its trial is over', async () => {
  const { clock, reaper, stopped, states, onTrial, add } = scene();
  const id = add('trial', 'scheduled');
  // Its attempt is in no queue.
  states.delete(id);
  onTrial.add(id);
  await reaper.look();
  await clock.advance(10_000);
  await reaper.look();
  expect(stopped).toEqual([]);
  onTrial.delete(id);
  await reaper.look();
  await clock.advance(10_000);
  await reaper.look();
  expect(stopped).toEqual(['trial']);
});
