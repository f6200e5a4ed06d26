import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../src/base/coded-error.ts';
import type { Executor, StartedWorker, WorkerOrder, WorkerStatus } from '../../src/executor/executor.ts';
import { ExecutorError } from '../../src/executor/executor-error.ts';
import type { AttemptId, BuildId } from '../../src/model/ids.ts';
import { attemptFaultsOf } from './schedule.ts';

export interface FaultyExecutorOptions {
  /** Ports of the worker hosts on loopback. */
  readonly hosts: readonly number[];
  readonly seed: number;
  /** Which build of the schedule it is. */
  readonly numberOf: (buildId: BuildId) => Promise<number>;
}

/** What a worker host is asked to start. */
export interface HostOrder {
  readonly order: WorkerOrder;
  readonly build: number;
}

export interface HostedWorker {
  readonly attemptId: AttemptId;
  readonly buildId: BuildId;
}

const answerLimit = 3_000;
const watchEvery = 500;

/**
 * Starts workers on worker hosts, which live as long as they live, whatever happens to managers. Names of workers are
 * `host/attempt`, so that every manager understands those of the others. What goes wrong at the first start of an
 * attempt is a function of the seed, the build and the epoch (`attemptFaultsOf`); a host that does not answer makes
 * every call fail as `unavailable`.
 */
export class FaultyExecutor implements Executor {
  readonly name = 'hosts';
  readonly type = 'hosts';
  readonly #options: FaultyExecutorOptions;
  readonly #asked = new Set<AttemptId>();
  readonly #watched = new Map<string, AttemptId>();
  readonly #listeners = new Set<Parameters<Executor['onGone']>[0]>();
  readonly #closing = new AbortController();
  readonly #watching: Promise<void>;

  constructor(options: FaultyExecutorOptions) {
    this.#options = options;
    this.#watching = this.#watch();
  }

  async start(order: WorkerOrder, signal: AbortSignal): Promise<StartedWorker> {
    const build = await this.#options.numberOf(order.buildId);
    const first = !this.#asked.has(order.attemptId);
    this.#asked.add(order.attemptId);
    const faults = attemptFaultsOf(this.#options.seed, build, order.epoch).start;
    const hosted: HostOrder = { order, build };
    switch (first ? faults.kind : 'fine') {
      case 'fails':
        throw new ExecutorError(
          faults.kind === 'fails' ? faults.code : 'start-failed',
          'The schedule says that this start fails.',
        );
      case 'answers-late': {
        const started = await this.#start(hosted, signal);
        await sleep(faults.kind === 'answers-late' ? faults.after : 0, undefined, { signal });
        return started;
      }
      case 'answer-lost':
        await this.#start(hosted, signal);
        throw new ExecutorError('start-failed', 'The schedule says that the answer to this start is lost.');
      case 'twice': {
        const [started] = await Promise.all([this.#start(hosted, signal), this.#start(hosted, signal)]);
        return started;
      }
      default:
        return await this.#start(hosted, signal);
    }
  }

  async #start(hosted: HostOrder, signal: AbortSignal): Promise<StartedWorker> {
    const { attemptId } = hosted.order;
    const host = Number.parseInt(attemptId.slice(0, 8), 16) % this.#options.hosts.length;
    await this.#ask(host, 'POST', '/start', hosted, signal);
    const worker = `${host}/${attemptId}`;
    this.#watched.set(worker, attemptId);
    return { worker };
  }

  async stop(worker: string, signal: AbortSignal): Promise<void> {
    const { host, attemptId } = parseWorker(worker);
    if (host === undefined) return;
    this.#watched.delete(worker);
    await this.#ask(host, 'POST', `/stop/${attemptId}`, {}, signal);
  }

  async status(worker: string): Promise<WorkerStatus> {
    const { host, attemptId } = parseWorker(worker);
    if (host === undefined) return { kind: 'gone', reason: 'There is no such worker.' };
    return (await this.#ask(host, 'GET', `/status/${attemptId}`)) as WorkerStatus;
  }

  async running(): Promise<readonly { readonly worker: string; readonly attemptId: AttemptId }[]> {
    const lists = await Promise.all(
      this.#options.hosts.map(async (_, host) =>
        ((await this.#ask(host, 'GET', '/workers')) as HostedWorker[]).map(({ attemptId }) => ({
          worker: `${host}/${attemptId}`,
          attemptId,
        })),
      ),
    );
    return lists.flat();
  }

  onGone(tell: Parameters<Executor['onGone']>[0]): () => void {
    const own: typeof tell = (gone) => tell(gone);
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }

  async adopt(keep: (attemptId: AttemptId) => Promise<boolean>): Promise<void> {
    const found = await this.running().catch(() => []);
    for (const { worker, attemptId } of found) {
      if (await keep(attemptId)) this.#watched.set(worker, attemptId);
      else await this.stop(worker, this.#closing.signal).catch(() => {});
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#watching;
  }

  async #watch(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await sleep(watchEvery, undefined, { signal }).catch(() => {});
      for (const [worker, attemptId] of [...this.#watched]) {
        if (signal.aborted) return;
        const status = await this.status(worker).catch(() => undefined);
        if (status?.kind !== 'gone' || !this.#watched.delete(worker)) continue;
        for (const listener of [...this.#listeners]) listener({ worker, attemptId, status });
      }
    }
  }

  async #ask(
    host: number,
    method: string,
    path: string,
    body?: unknown,
    signal?: AbortSignal,
  ): Promise<unknown> {
    const limit = AbortSignal.timeout(answerLimit);
    try {
      const answer = await fetch(`http://127.0.0.1:${this.#options.hosts[host]}${path}`, {
        method,
        signal: signal === undefined ? limit : AbortSignal.any([limit, signal]),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      if (!answer.ok) throw new Error(`it answered ${answer.status} ${await answer.text()}`);
      return await answer.json();
    } catch (thrown) {
      throw new ExecutorError(
        'unavailable',
        `Worker host ${host} does not answer: ${messageOf(thrown)}`,
        thrown,
      );
    }
  }
}

function parseWorker(worker: string): { host: number | undefined; attemptId: string } {
  const match = /^(\d+)\/([0-9a-f-]+)$/.exec(worker);
  return { host: match?.[1] === undefined ? undefined : Number(match[1]), attemptId: match?.[2] ?? '' };
}
