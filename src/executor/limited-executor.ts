import { abortable } from '../base/abortable.ts';
import type { AttemptId } from '../model/ids.ts';
import type { Executor, StartedWorker, WorkerOrder } from './executor.ts';
import { ExecutorDecorator } from './executor-decorator.ts';
import { ExecutorError } from './executor-error.ts';

/**
 * MAX_WORKERS: an executor that runs no more workers at once. Workers that are being started count, so the limit is
 * exact for the starts of this process; other managers count when the executor sees their workers too.
 */
export class LimitedExecutor extends ExecutorDecorator {
  readonly #maxWorkers: number;
  /** How many starts of an attempt are under way. */
  readonly #starting = new Map<AttemptId, number>();
  /** The last look at what runs: one at a time, so that no start begins between a look and what follows from it. */
  #admission: Promise<unknown> = Promise.resolve();

  constructor(inner: Executor, maxWorkers: number) {
    super(inner);
    this.#maxWorkers = maxWorkers;
  }

  async start(order: WorkerOrder, signal: AbortSignal): Promise<StartedWorker> {
    const admitted = this.#admission.then(async () => {
      // Given up while it waited for its turn: those behind it need not wait for another look.
      signal.throwIfAborted();
      await this.#admit(order.attemptId);
    });
    this.#admission = admitted.catch(() => {});
    try {
      await abortable(admitted, signal);
    } catch (thrown) {
      // Who gave up does not hold the place that comes after all.
      admitted.then(
        () => this.#count(order.attemptId, -1),
        () => {},
      );
      throw thrown;
    }
    try {
      return await this.inner.start(order, signal);
    } finally {
      this.#count(order.attemptId, -1);
    }
  }

  /** Throws ExecutorError `at-capacity`. A start that is repeated takes no second place. */
  async #admit(attemptId: AttemptId): Promise<void> {
    // Before the look: what is started while it lasts may be missing in it.
    const starting = [...this.#starting.keys()];
    const running = (await this.inner.running()).map((worker) => worker.attemptId);
    const taken = new Set([...starting, ...running]);
    if (!taken.has(attemptId) && taken.size >= this.#maxWorkers)
      throw new ExecutorError(
        'at-capacity',
        `Executor ${this.name} runs ${this.#maxWorkers} workers already, which is its MAX_WORKERS.`,
      );
    this.#count(attemptId, 1);
  }

  #count(attemptId: AttemptId, change: 1 | -1): void {
    const count = (this.#starting.get(attemptId) ?? 0) + change;
    if (count === 0) this.#starting.delete(attemptId);
    else this.#starting.set(attemptId, count);
  }
}
