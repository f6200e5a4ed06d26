import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/coded-error.ts';
import type { AttemptId } from '../model/ids.ts';
import type { Executor, StartedWorker, WorkerOrder, WorkerStatus } from './executor.ts';
import { ExecutorError, type ExecutorErrorCode } from './executor-error.ts';

/** What one worker is to do wrong. Times are milliseconds. */
export interface DummyBehaviour {
  /** `start` fails so. */
  readonly failStart?: ExecutorErrorCode;
  /** `start` does nothing and never answers, until it is given up. */
  readonly neverAnswer?: boolean;
  /** `start` takes so long to answer; the worker itself begins at once. */
  readonly answerAfter?: number;
  /** The worker begins so long after it was started. */
  readonly delay?: number;
  /** The worker never says a word, and lives until it is stopped. */
  readonly neverRegister?: boolean;
  /** The worker dies so long after it began, as if by a signal. */
  readonly dieAfter?: number;
}

/** The work of one worker; resolves with its exit status. It ends soon after the signal fires. */
export type DummyWork = (
  order: WorkerOrder,
  signal: AbortSignal,
) => Promise<{ readonly exitCode: number; readonly output?: string }>;

export interface DummyExecutorOptions {
  readonly name?: string;
  readonly work: DummyWork;
  readonly behave?: (order: WorkerOrder) => DummyBehaviour;
  readonly clock: Clock;
}

interface DummyWorker {
  readonly attemptId: AttemptId;
  readonly end: AbortController;
  readonly over: Promise<void>;
  status: WorkerStatus;
}

const killed = Symbol('killed');

/**
 * An executor whose workers are functions of this process, and which fails on demand: the whole path of a build can be
 * run and broken anywhere. Its workers do not outlive the process, so there is nothing to adopt.
 */
export class DummyExecutor implements Executor {
  readonly name: string;
  readonly type = 'dummy';
  readonly #options: DummyExecutorOptions;
  readonly #workers = new Map<AttemptId, DummyWorker>();
  readonly #listeners = new Set<Parameters<Executor['onGone']>[0]>();

  constructor(options: DummyExecutorOptions) {
    this.#options = options;
    this.name = options.name ?? 'dummy';
  }

  async start(order: WorkerOrder, signal: AbortSignal): Promise<StartedWorker> {
    signal.throwIfAborted();
    const behaviour = this.#options.behave?.(order) ?? {};
    const known = this.#workers.get(order.attemptId);
    if (known === undefined || known.status.kind === 'gone') {
      if (behaviour.failStart !== undefined) {
        throw new ExecutorError(behaviour.failStart, `Executor ${this.name} was told to fail this start.`);
      }
      if (behaviour.neverAnswer === true)
        return await new Promise<never>((_, reject) => rejectOn(signal, reject));
      this.#begin(order, behaviour);
    }
    if (behaviour.answerAfter !== undefined) await this.#options.clock.sleep(behaviour.answerAfter);
    return { worker: order.attemptId };
  }

  #begin(order: WorkerOrder, behaviour: DummyBehaviour): void {
    const end = new AbortController();
    const over = this.#run(order, behaviour, end).then((status) => {
      worker.status = status;
      if (end.signal.reason === killed || !end.signal.aborted) this.#tell(order.attemptId, status);
    });
    const worker: DummyWorker = { attemptId: order.attemptId, end, over, status: { kind: 'running' } };
    this.#workers.set(order.attemptId, worker);
  }

  async #run(
    order: WorkerOrder,
    { delay = 0, neverRegister = false, dieAfter }: DummyBehaviour,
    end: AbortController,
  ): Promise<WorkerStatus> {
    const { clock, work } = this.#options;
    const alive = new AbortController();
    try {
      if (delay > 0) await clock.sleep(delay, end.signal);
      if (dieAfter !== undefined) {
        clock.sleep(dieAfter, alive.signal).then(
          () => end.abort(killed),
          () => {},
        );
      }
      if (neverRegister) return await new Promise<never>((_, reject) => rejectOn(end.signal, reject));
      const result = await work(order, end.signal);
      if (end.signal.aborted) return ended(end.signal);
      return { kind: 'gone', ...result, reason: `The worker exited with status ${result.exitCode}.` };
    } catch (thrown) {
      if (end.signal.aborted) return ended(end.signal);
      return { kind: 'gone', exitCode: 70, reason: 'The worker failed.', output: messageOf(thrown) };
    } finally {
      alive.abort();
    }
  }

  #tell(attemptId: AttemptId, status: WorkerStatus): void {
    for (const listener of [...this.#listeners]) listener({ worker: attemptId, attemptId, status });
  }

  async stop(worker: string, _signal: AbortSignal): Promise<void> {
    const known = this.#workers.get(worker as AttemptId);
    known?.end.abort();
    await known?.over;
  }

  /** Ends a worker as `kill -9` would: nobody asked for it. */
  kill(attemptId: AttemptId): void {
    this.#workers.get(attemptId)?.end.abort(killed);
  }

  async status(worker: string): Promise<WorkerStatus> {
    return (
      this.#workers.get(worker as AttemptId)?.status ?? { kind: 'gone', reason: 'There is no such worker.' }
    );
  }

  async running(): Promise<readonly { readonly worker: string; readonly attemptId: AttemptId }[]> {
    return [...this.#workers.values()]
      .filter(({ status }) => status.kind !== 'gone')
      .map(({ attemptId }) => ({ worker: attemptId, attemptId }));
  }

  onGone(tell: Parameters<Executor['onGone']>[0]): () => void {
    const own: typeof tell = (gone) => tell(gone);
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }

  async adopt(keep: (attemptId: AttemptId) => Promise<boolean>): Promise<void> {
    for (const { worker, attemptId } of await this.running()) {
      if (!(await keep(attemptId))) await this.stop(worker, AbortSignal.timeout(60_000));
    }
  }

  async close(): Promise<void> {
    this.#listeners.clear();
    for (const { end } of this.#workers.values()) end.abort();
    await Promise.all([...this.#workers.values()].map(({ over }) => over));
  }
}

function rejectOn(signal: AbortSignal, reject: (reason: unknown) => void): void {
  if (signal.aborted) reject(signal.reason);
  else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
}

function ended(signal: AbortSignal): WorkerStatus {
  return signal.reason === killed
    ? { kind: 'gone', signal: 'SIGKILL', reason: 'The worker was ended by signal SIGKILL.' }
    : { kind: 'gone', reason: 'The worker was stopped.' };
}
