import type { Clock } from '../base/clock.ts';
import { SteadyClock } from '../base/steady-clock.ts';
import type { Executor } from '../executor/executor.ts';
import { isRunning } from '../model/attempt.ts';
import type { AttemptId } from '../model/ids.ts';
import type { BuildQueue } from '../queue/build-queue.ts';
import type { ManagerLog } from './manager-log.ts';
import type { WorkerTrials } from './worker-trials.ts';

export interface WorkerReaperOptions {
  /** Whether this manager minds an attempt; then its supervision does all. */
  readonly supervises: (attemptId: AttemptId) => boolean;
  readonly queue: Pick<BuildQueue, 'attempt'>;
  readonly executor: Pick<Executor, 'running' | 'stop' | 'onGone'>;
  readonly trials?: WorkerTrials;
  readonly clock: Clock;
  /** Milliseconds that go on whatever the time of day is set to; the process's own unless given. */
  readonly monotonic?: () => number;
  readonly logger: ManagerLog;
  /** Milliseconds between two looks. */
  readonly every?: number;
  /** Milliseconds a worker has to exit by itself after its attempt ended. */
  readonly grace?: number;
}

/**
 * An executor may know workers whose attempt another manager minds, which took it over and may not reach them. So
 * whoever has such a worker ends it when its attempt is over, and removes what is left of one that has gone.
 *
 * | worker | its attempt runs                     | its attempt is over     |
 * |--------|--------------------------------------|-------------------------|
 * | runs   | left alone                           | stopped after `grace`   |
 * | gone   | left for whoever asks how it ended   | removed                 |
 */
export class WorkerReaper implements AsyncDisposable {
  readonly #options: WorkerReaperOptions;
  readonly #clock: SteadyClock;
  readonly #stopping = new AbortController();
  readonly #overSince = new Map<string, number>();
  /** Workers that are gone and may have left something. */
  readonly #gone = new Map<string, AttemptId>();
  #loop: Promise<void> | undefined;
  #deaf: (() => void) | undefined;

  constructor(options: WorkerReaperOptions) {
    this.#options = options;
    this.#clock = new SteadyClock(options.clock, options.monotonic ?? (() => performance.now()));
  }

  start(): void {
    this.#deaf ??= this.#options.executor.onGone(({ worker, attemptId }) =>
      this.#gone.set(worker, attemptId),
    );
    this.#loop ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#deaf?.();
    this.#stopping.abort();
    await this.#loop;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #run(): Promise<void> {
    const { clock, logger, every = 2_000 } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await clock.sleep(every, signal).catch(() => {});
      if (signal.aborted) return;
      try {
        await this.look();
      } catch (thrown) {
        if (!signal.aborted) logger.error({ err: thrown }, 'looking for workers that nobody needs failed');
      }
    }
  }

  /** One look at every worker this executor knows of. */
  async look(): Promise<void> {
    const { executor, grace = 5_000 } = this.#options;
    const now = this.#clock.now();
    const running = await executor.running();
    const names = new Set(running.map(({ worker }) => worker));
    for (const worker of this.#overSince.keys()) if (!names.has(worker)) this.#overSince.delete(worker);
    for (const { worker, attemptId } of running) {
      if (await this.#needed(attemptId)) {
        this.#overSince.delete(worker);
        continue;
      }
      const since = this.#overSince.get(worker) ?? now;
      this.#overSince.set(worker, since);
      if (now - since >= grace) await this.#end(worker, attemptId);
    }
    for (const [worker, attemptId] of this.#gone) {
      if (await this.#needed(attemptId)) continue;
      this.#gone.delete(worker);
      await this.#end(worker, attemptId);
    }
  }

  async #needed(attemptId: AttemptId): Promise<boolean> {
    if (this.#options.supervises(attemptId)) return true;
    const attempt = await this.#options.queue.attempt(attemptId);
    if (attempt !== undefined) return isRunning(attempt.state);
    return (await this.#options.trials?.runs(attemptId)) === true;
  }

  /** `stop` of what is stopped already, by the supervision of its attempt, does nothing. */
  async #end(worker: string, attemptId: AttemptId): Promise<void> {
    const { executor, logger } = this.#options;
    logger.debug({ worker, attempt: attemptId }, 'ending a worker whose attempt is over');
    await executor.stop(worker, this.#stopping.signal);
  }
}
