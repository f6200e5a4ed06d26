import { messageOf } from '../base/coded-error.ts';
import type { AttemptId } from '../model/ids.ts';
import { type ChoosingRules, type PassedOver, passedOver } from './choosing-rules.ts';
import type { Executor, StartedWorker, WorkerOrder, WorkerStatus } from './executor.ts';
import { ExecutorError } from './executor-error.ts';
import type { FailureAlerts } from './failure-alerts.ts';

export interface FailoverEntry extends ChoosingRules {
  readonly executor: Executor;
}

export interface FailoverOptions {
  /** In the order they are asked. */
  readonly entries: readonly FailoverEntry[];
  /** Names of the executors that somebody has cordoned or drains now; asked at every start. Absent: none. */
  readonly cordoned?: () => Promise<ReadonlySet<string>>;
  /** Told when every executor that takes an order fails, and when one starts a worker. */
  readonly alerts?: Pick<FailureAlerts, 'raise' | 'clear'>;
  /** Told when one executor does not say what it runs, or cannot look after its former workers. */
  readonly onTrouble?: (executor: string, error: unknown) => void;
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
  readonly #onTrouble: NonNullable<FailoverOptions['onTrouble']>;
  readonly #cordoned: NonNullable<FailoverOptions['cordoned']>;
  readonly #alerts: FailoverOptions['alerts'];

  /** Throws ExecutorError `misconfigured` when two executors share a name, or there is none. */
  constructor({
    entries,
    cordoned = async () => new Set(),
    alerts,
    onFallback = () => {},
    onTrouble = () => {},
  }: FailoverOptions) {
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
    this.#onTrouble = onTrouble;
    this.#cordoned = cordoned;
    this.#alerts = alerts;
  }

  /**
   * When none started the worker: `at-capacity` if only room is missing or somebody has cordoned what would take it,
   * `refused` if none takes the order, else `start-failed` with what each said. An executor that is left alone because its
   * starts failed does not count while another one is only full.
   */
  async start(order: WorkerOrder, signal: AbortSignal): Promise<StartedWorker> {
    const running = await this.#find(order.attemptId);
    if (running !== undefined) return running;
    const failures: ExecutorError[] = [];
    const asked: string[] = [];
    const passed: PassedOver[] = [];
    const cordoned = await this.#cordoned();
    for (const { executor, ...rules } of this.#entries) {
      const now = cordoned.has(executor.name) ? { ...rules, cordoned: true } : rules;
      const why = passedOver(now, order);
      if (why === 'retries') this.#onFallback(executor.name, why, order);
      if (why !== undefined) {
        passed.push(why);
        continue;
      }
      asked.push(executor.name);
      try {
        const { worker } = await executor.start(order, signal);
        this.#alerts?.clear(executor.name);
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
    const error = noneStarted(failures, passed, order);
    if (error.code === 'start-failed' && failures.every(({ code }) => code !== 'at-capacity'))
      this.#alerts?.raise(asked, error.message);
    throw error;
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
      this.#entries.map(async ({ executor }) => {
        // One that cannot be reached must not keep the others from working.
        const running = await this.#orTrouble(executor, () => executor.running());
        return (running ?? []).map(({ worker, attemptId }) => ({
          worker: `${executor.name}/${worker}`,
          attemptId,
        }));
      }),
    );
    return lists.flat();
  }

  async #orTrouble<T>({ name }: Executor, ask: () => Promise<T>): Promise<T | undefined> {
    try {
      return await ask();
    } catch (thrown) {
      this.#onTrouble(name, thrown);
      return undefined;
    }
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
    await Promise.all(
      this.#entries.map(({ executor }) => this.#orTrouble(executor, () => executor.adopt(keep))),
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.#entries.map(({ executor }) => executor.close()));
  }

  #parse(worker: string): { readonly executor: Executor | undefined; readonly inner: string } {
    const slash = worker.indexOf('/');
    // Written down when there was one executor, and no list of them.
    if (slash < 0) return { executor: this.#entries[0]?.executor, inner: worker };
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
      `Every executor that takes builds of ${namespace} is cordoned. Uncordon one: slipway executor uncordon NAME`,
    );
  }
  if (failures.length === 0) {
    return new ExecutorError(
      'refused',
      `No executor takes builds of ${namespace}${platform === '' ? '' : ` for ${platform}`} with the tries they have ` +
        'left. Check NAMESPACE_WHITELIST, STAGED_ROLLOUT, MINIMUM_RETRY_THRESHOLD and PLATFORMS of EXECUTORS.',
    );
  }
  const full = failures.find(({ code }) => code === 'at-capacity');
  if (full !== undefined && failures.every(({ code }) => code === 'at-capacity' || code === 'circuit-open'))
    return full;
  const said = failures.map(({ message }) => message).join(' ');
  return new ExecutorError('start-failed', `No executor could start a worker. ${said}`, failures);
}
