import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/coded-error.ts';
import { SteadyClock } from '../base/steady-clock.ts';
import type { Executor, ReadyStep, StartStep, WorkerOrder, WorkerStatus } from './executor.ts';
import { maskSecrets } from './mask-secrets.ts';

export type TrialStep = ReadyStep | 'started' | StartStep | 'registered' | 'stopped';

/** What a trial tells, as it happens. `took`: milliseconds since what was told before. */
export type TrialEvent =
  | { readonly kind: 'passed'; readonly step: TrialStep; readonly took: number }
  | { readonly kind: 'failed'; readonly step: TrialStep; readonly message: string };

export interface WorkerTrialOptions {
  /** The executor itself: not cordoned, not limited, not left alone. */
  readonly executor: Executor;
  /** Of an attempt that nobody else knows, with a token that is good for registering. */
  readonly order: WorkerOrder;
  /** Whether a worker has registered with that token. */
  readonly registered: () => Promise<boolean>;
  /** What no message may say, beside the order's token. */
  readonly secrets?: readonly string[];
  /** Milliseconds a worker has to register, and then to be gone once it is stopped. */
  readonly limit: number;
  readonly stopLimit?: number;
  readonly clock: Clock;
  /** Ends the trial; its worker is stopped nevertheless. */
  readonly signal: AbortSignal;
}

const look = 250;

/**
 * Starts one worker that builds nothing, and tells of each step until it is gone again. What this type of executor cannot
 * tell apart is left out. After a failure only the end of its worker is told.
 */
export async function* runTrial(options: WorkerTrialOptions): AsyncGenerator<TrialEvent> {
  const { executor, order, secrets = [], signal } = options;
  const clock = new SteadyClock(options.clock, () => performance.now());
  let last = clock.now();
  const passed = (step: TrialStep): TrialEvent => {
    const took = clock.now() - last;
    last += took;
    return { kind: 'passed', step, took };
  };
  const failed = (step: TrialStep, thrown: unknown): TrialEvent => {
    const said = typeof thrown === 'string' ? thrown : messageOf(thrown);
    return { kind: 'failed', step, message: maskSecrets(said, [order.token, ...secrets]) };
  };

  let next: TrialStep = 'reachable';
  let worker: string;
  try {
    for await (const step of executor.check?.(order, signal) ?? []) {
      yield passed(step);
      next = step === 'reachable' ? 'allowed' : 'started';
    }
    next = 'started';
    ({ worker } = await executor.start(order, signal));
  } catch (thrown) {
    signal.throwIfAborted();
    yield failed(next, thrown);
    return;
  }
  let stopped = false;
  try {
    yield passed('started');
    const told = new Set<StartStep>();
    const end = clock.now() + options.limit;
    for (;;) {
      // In this order: a worker registers, and then it may be gone.
      const status = await executor.status(worker);
      const registered = await options.registered();
      // What is known of a worker may be a second old: one that has registered has come through all of it.
      const behind = registered ? executor.startSteps : await executor.progress?.(worker);
      for (const step of behind ?? []) {
        if (told.has(step)) continue;
        told.add(step);
        yield passed(step);
      }
      if (registered) {
        yield passed('registered');
        break;
      }
      if (status.kind === 'gone') {
        yield failed('registered', `It ended without having registered. ${endOf(status)}`);
        break;
      }
      if (clock.now() >= end) {
        const seconds = Math.round(options.limit / 1000);
        yield failed(
          'registered',
          `It did not register within ${seconds} s. It has to reach ${order.server}: check that name, the way there and what it trusts.`,
        );
        break;
      }
      await clock.sleep(look, signal);
    }
    stopped = true;
    if (executor.leavesWorkers === true) {
      yield failed(
        'stopped',
        `DEBUG is set for this executor, so ${worker} was left for you to look into. It ends when its time is over; end it yourself where it runs, or unset DEBUG and test again.`,
      );
      return;
    }
    await executor.stop(worker, signal);
    yield (await isGone(options, worker))
      ? passed('stopped')
      : failed('stopped', 'It was stopped and still runs. End it where it runs, and look why.');
  } catch (thrown) {
    signal.throwIfAborted();
    yield failed(stopped ? 'stopped' : 'registered', thrown);
  } finally {
    // Whoever asked may have gone away; the worker must not stay. Stopping one that is gone does nothing.
    await executor.stop(worker, new AbortController().signal).catch(() => {});
  }
}

async function isGone(
  { executor, order, stopLimit = 60_000, clock, signal }: WorkerTrialOptions,
  worker: string,
): Promise<boolean> {
  const steady = new SteadyClock(clock, () => performance.now());
  for (const end = steady.now() + stopLimit; ; ) {
    const status = await executor.status(worker);
    const running = await executor.running();
    if (status.kind === 'gone' && running.every(({ attemptId }) => attemptId !== order.attemptId))
      return true;
    if (steady.now() >= end) return false;
    await steady.sleep(look, signal);
  }
}

function endOf({ reason, output }: Extract<WorkerStatus, { kind: 'gone' }>): string {
  return output === undefined || output.trim() === ''
    ? reason
    : `${reason} The last it said: ${output.trim()}`;
}
