import { messageOf } from '../base/coded-error.ts';
import type { AttemptId } from '../model/ids.ts';
import { type ChoosingRules, type PassedOver, passedOver } from './choosing-rules.ts';
import type { Executor, StartedWorker, WorkerOrder, WorkerStatus } from './executor.ts';
import { ExecutorError } from './executor-error.ts';

export interface FailoverEntry extends ChoosingRules {
  readonly executor: Executor;
}

export interface FailoverOptions {
  /** In the order they are asked. */
  readonly entries: readonly FailoverEntry[];
  /** Told when an executor is passed over because of the tries left, and when a start failed. */
  readonly onFallback?: (
    executor: string,
    why: 'retries' | ExecutorError['code'],
    order: WorkerOrder,
  ) => void;
}

/**
 * A list of executors as one: the first that takes the order and can start it runs the worker. Its worker's names are
 * `<executor>/<that executor's name for it>`.
 */
export class FailoverExecutor implements Executor {
  readonly name = 'failover';
  readonly type = 'failover';
  readonly #entries: readonly FailoverEntry[];
  readonly #onFallback: NonNullable<FailoverOptions['onFallback']>;

  /** Throws ExecutorError `misconfigured` when two executors share a name, or there is none. */
  constructor({ entries, onFallback = () => {} }: FailoverOptions) {
    const names = entries.map(({ executor }) => executor.name);
    const twice = names.find((name, at) => names.indexOf(name) !== at || name.includes('/'));
    if (twice !== undefined) {
      throw new ExecutorError(
        'misconfigured',
        `Two entries of EXECUTORS have the NAME ${twice} (or it has a slash). Give each a NAME of its own.`,
      );
    }
    if (names.length === 0) throw new ExecutorError('misconfigured', 'EXECUTORS has no entry.');
    this.#entries = entries;
    this.#onFallback = onFallback;
  }

  /**
   * When none started the worker: `at-capacity` if only room is missing or somebody has cordoned what would take it,
   * `refused` if none takes the order, else `start-failed` with what each said.
   */
  async start(order: WorkerOrder, signal: AbortSignal): Promise<StartedWorker> {
    const running = await this.#find(order.attemptId);
    if (running !== undefined) return running;
    const failures: ExecutorError[] = [];
    const passed: PassedOver[] = [];
    for (const { executor, ...rules } of this.#entries) {
      const why = passedOver(rules, order);
      if (why === 'retries') this.#onFallback(executor.name, why, order);
      if (why !== undefined) {
        passed.push(why);
        continue;
      }
      try {
        const { worker } = await executor.start(order, signal);
        return { worker: `${executor.name}/${worker}`, executor: executor.name };
      } catch (thrown) {
        signal.throwIfAborted();
        const failure =
          thrown instanceof ExecutorError
            ? thrown
            : new ExecutorError('start-failed', `Executor ${executor.name}: ${messageOf(thrown)}`, thrown);
        this.#onFallback(executor.name, failure.code, order);
        failures.push(failure);
      }
    }
    throw noneStarted(failures, passed, order);
  }

  /** A start that is repeated finds the worker where it was started, though another executor may come first now. */
  async #find(attemptId: AttemptId): Promise<StartedWorker | undefined> {
    const found = (await this.running()).find((running) => running.attemptId === attemptId);
    if (found === undefined) return undefined;
    return { worker: found.worker, executor: found.worker.slice(0, found.worker.indexOf('/')) };
  }

  async stop(worker: string, signal: AbortSignal): Promise<void> {
    const { executor, inner } = this.#parse(worker);
    await executor?.stop(inner, signal);
  }

  async status(worker: string): Promise<WorkerStatus> {
    const { executor, inner } = this.#parse(worker);
    if (executor !== undefined) return await executor.status(inner);
    return {
      kind: 'gone',
      reason: `The executor that ran it is not configured any more (worker ${worker}).`,
    };
  }

  async running(): Promise<readonly { readonly worker: string; readonly attemptId: AttemptId }[]> {
    const lists = await Promise.all(
      this.#entries.map(async ({ executor }) =>
        (await executor.running()).map(({ worker, attemptId }) => ({
          worker: `${executor.name}/${worker}`,
          attemptId,
        })),
      ),
    );
    return lists.flat();
  }

  onGone(tell: Parameters<Executor['onGone']>[0]): () => void {
    const ends = this.#entries.map(({ executor }) =>
      executor.onGone((gone) => tell({ ...gone, worker: `${executor.name}/${gone.worker}` })),
    );
    return () => {
      for (const end of ends) end();
    };
  }

  async adopt(keep: (attemptId: AttemptId) => Promise<boolean>): Promise<void> {
    await Promise.all(this.#entries.map(({ executor }) => executor.adopt(keep)));
  }

  async close(): Promise<void> {
    await Promise.all(this.#entries.map(({ executor }) => executor.close()));
  }

  #parse(worker: string): { readonly executor: Executor | undefined; readonly inner: string } {
    const slash = worker.indexOf('/');
    const name = worker.slice(0, slash);
    const entry = this.#entries.find(({ executor }) => executor.name === name);
    return { executor: entry?.executor, inner: worker.slice(slash + 1) };
  }
}

function noneStarted(
  failures: readonly ExecutorError[],
  passed: readonly PassedOver[],
  { namespace, platform }: WorkerOrder,
): ExecutorError {
  if (failures.length === 0 && passed.includes('cordoned')) {
    return new ExecutorError(
      'at-capacity',
      `Every executor that takes builds of ${namespace} is cordoned. Uncordon one.`,
    );
  }
  if (failures.length === 0) {
    return new ExecutorError(
      'refused',
      `No executor takes builds of ${namespace}${platform === '' ? '' : ` for ${platform}`} with the tries they have ` +
        'left. Check NAMESPACE_WHITELIST, STAGED_ROLLOUT and MINIMUM_RETRY_THRESHOLD of EXECUTORS.',
    );
  }
  const [first] = failures;
  if (first !== undefined && failures.every(({ code }) => code === 'at-capacity')) return first;
  const said = failures.map(({ message }) => message).join(' ');
  return new ExecutorError('start-failed', `No executor could start a worker. ${said}`, failures);
}
