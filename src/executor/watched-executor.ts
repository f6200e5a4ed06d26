import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/coded-error.ts';
import { SteadyClock } from '../base/steady-clock.ts';
import type { Executor, StartedWorker, WorkerOrder } from './executor.ts';
import { ExecutorDecorator } from './executor-decorator.ts';
import { ExecutorError, type ExecutorErrorCode } from './executor-error.ts';
import { maskSecrets } from './mask-secrets.ts';

/** How one start went. `took`: milliseconds. */
export type StartResult =
  | { readonly kind: 'started'; readonly took: number }
  | {
      readonly kind: 'failed';
      readonly took: number;
      readonly code: ExecutorErrorCode;
      readonly message: string;
    };

export interface WatchedExecutorOptions {
  /** Told of every start that was not given up on. */
  readonly onStart: (result: StartResult) => void;
  /** What no message may say, beside the order's token. */
  readonly secrets?: readonly string[];
  readonly clock: Clock;
}

/**
 * An executor whose starts are measured and told of. It throws nothing but ExecutorErrors, and what they say has no
 * secret in it: from here on messages go to logs and to people.
 */
export class WatchedExecutor extends ExecutorDecorator {
  readonly #options: WatchedExecutorOptions;
  readonly #clock: Clock;

  constructor(inner: Executor, options: WatchedExecutorOptions) {
    super(inner);
    this.#options = options;
    this.#clock = new SteadyClock(options.clock, () => performance.now());
  }

  async start(order: WorkerOrder, signal: AbortSignal): Promise<StartedWorker> {
    const { onStart, secrets = [] } = this.#options;
    const begun = this.#clock.now();
    const took = () => this.#clock.now() - begun;
    try {
      const started = await this.inner.start(order, signal);
      onStart({ kind: 'started', took: took() });
      return started;
    } catch (thrown) {
      signal.throwIfAborted();
      const failure = harmless(this.name, thrown, [order.token, ...secrets]);
      onStart({ kind: 'failed', took: took(), code: failure.code, message: failure.message });
      throw failure;
    }
  }
}

/** The same error when there is nothing to hide in it; else one without what led to it, which may say it too. */
function harmless(name: string, thrown: unknown, secrets: readonly string[]): ExecutorError {
  const known = thrown instanceof ExecutorError;
  const said = known ? thrown.message : `Executor ${name}: ${messageOf(thrown)}`;
  const message = maskSecrets(said, secrets);
  const told = tellAll(thrown);
  if (message === said && secrets.every((secret) => secret === '' || !told.includes(secret)))
    return known ? thrown : new ExecutorError('start-failed', said, thrown);
  return new ExecutorError(known ? thrown.code : 'start-failed', message);
}

/** Everything that a logger would write of an error. */
function tellAll(thrown: unknown): string {
  const parts: string[] = [];
  const seen = new Set<unknown>();
  for (let each = thrown; each instanceof Error && !seen.has(each); each = each.cause) {
    seen.add(each);
    parts.push(each.message, each.stack ?? '', JSON.stringify({ ...each, cause: undefined }) ?? '');
  }
  return parts.join('\n');
}
