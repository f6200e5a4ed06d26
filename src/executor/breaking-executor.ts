import { messageOf } from '../base/coded-error.ts';
import { unreachable } from '../base/unreachable.ts';
import type { CircuitBreaker } from './circuit-breaker.ts';
import type { Executor, StartedWorker, WorkerOrder } from './executor.ts';
import { ExecutorDecorator } from './executor-decorator.ts';
import { ExecutorError } from './executor-error.ts';

/** An executor that is left alone for a while after starts have failed one after another. */
export class BreakingExecutor extends ExecutorDecorator {
  readonly #breaker: CircuitBreaker;
  #last = '';

  constructor(inner: Executor, breaker: CircuitBreaker) {
    super(inner);
    this.#breaker = breaker;
  }

  /** Throws ExecutorError `circuit-open` while it is left alone. */
  async start(order: WorkerOrder, signal: AbortSignal): Promise<StartedWorker> {
    if (!this.#breaker.admit()) {
      const { failures, wait } = this.#breaker;
      const next =
        wait === 0 ? 'One start is under way to try it.' : `It is tried in ${Math.ceil(wait / 1000)} s.`;
      throw new ExecutorError(
        'circuit-open',
        `Executor ${this.name} is left alone after ${failures} starts failed one after another. ${next} The last one said: ${this.#last}`,
      );
    }
    try {
      const started = await this.inner.start(order, signal);
      this.#breaker.succeeded();
      return started;
    } catch (thrown) {
      if (signal.aborted || !isFailure(thrown)) this.#breaker.undecided();
      else {
        this.#last = messageOf(thrown);
        this.#breaker.failed();
      }
      throw thrown;
    }
  }
}

/** Whether it says that the executor does not work. No room, and an order that is not for it, do not. */
function isFailure(thrown: unknown): boolean {
  if (!(thrown instanceof ExecutorError)) return true;
  switch (thrown.code) {
    case 'at-capacity':
    case 'refused':
    case 'circuit-open':
      return false;
    case 'start-failed':
    case 'misconfigured':
    case 'unavailable':
      return true;
    default:
      return unreachable(thrown.code);
  }
}
