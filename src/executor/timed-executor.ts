import type { Clock } from '../base/clock.ts';
import type { AttemptId } from '../model/ids.ts';
import type { Executor, StartedWorker, WorkerOrder } from './executor.ts';
import { ExecutorDecorator } from './executor-decorator.ts';
import { ExecutorError } from './executor-error.ts';

export interface TimedExecutorOptions {
  /** Milliseconds for one start. */
  readonly limit: number;
  readonly clock: Clock;
}

/** Milliseconds for ending what came too late; after it the reaper finds it. */
const stopTime = 60_000;

/**
 * An executor whose starts have a time. What it runs workers on may take connections and never answer: then the next
 * executor is to have its turn before the attempt is given up, and this one is to count as failing. A worker that comes
 * after its time is ended again.
 */
export class TimedExecutor extends ExecutorDecorator {
  readonly #options: TimedExecutorOptions;
  /** The last start of each attempt that is under way: a worker that an older one brings may be that one's. */
  readonly #starts = new Map<AttemptId, symbol>();

  constructor(inner: Executor, options: TimedExecutorOptions) {
    super(inner);
    this.#options = options;
  }

  /** Throws ExecutorError `unavailable` when the time is over. */
  async start(order: WorkerOrder, signal: AbortSignal): Promise<StartedWorker> {
    const { limit, clock } = this.#options;
    const own = Symbol(order.attemptId);
    this.#starts.set(order.attemptId, own);
    const given = new AbortController();
    const ended = new AbortController();
    const starting = this.inner.start(order, AbortSignal.any([signal, given.signal]));
    const forget = () => {
      if (this.#starts.get(order.attemptId) === own) this.#starts.delete(order.attemptId);
    };
    const late = clock.sleep(limit, ended.signal).then(() => 'late' as const);
    late.catch(() => {});
    try {
      const first = await Promise.race([starting, late]);
      if (first !== 'late') {
        forget();
        return first;
      }
    } catch (thrown) {
      forget();
      throw thrown;
    } finally {
      ended.abort();
    }
    given.abort(new Error('the time for starting a worker is over'));
    starting
      .then(async ({ worker }) => {
        if (this.#starts.get(order.attemptId) === own)
          await this.inner.stop(worker, AbortSignal.timeout(stopTime));
      })
      .catch(() => {})
      .finally(forget);
    throw new ExecutorError(
      'unavailable',
      `Executor ${this.name} did not start a worker within ${Math.round(limit / 100) / 10} s. What it runs workers on does not answer, or is slow: see slipway executor test ${this.name}.`,
    );
  }
}
