import type { Clock } from '../base/clock.ts';
import type { Retention } from './retention.ts';
import type { StrayBlobs } from './stray-blobs.ts';

export interface RetentionKeeperOptions {
  readonly retention: Retention;
  readonly strays: StrayBlobs;
  readonly clock: Clock;
  /** Milliseconds builds are kept after their end; absent: for ever. */
  readonly keepBuilds?: number;
  /** Milliseconds logs are kept after their end; absent: as long as their builds. */
  readonly keepLogs?: number;
  /** Milliseconds between two rounds; five minutes unless given. */
  readonly interval?: number;
  /** Told of a round that failed; the next one comes all the same. */
  readonly onError: (error: unknown) => void;
  readonly onPruned?: (what: {
    readonly builds: number;
    readonly logs: number;
    readonly uploads: number;
  }) => void | Promise<void>;
}

/**
 * Removes stray blobs, and, where that is wanted, builds and logs that are old, from time to time, from `start` to
 * `stop`.
 */
export class RetentionKeeper implements AsyncDisposable {
  readonly #options: RetentionKeeperOptions;
  #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: RetentionKeeperOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#running !== undefined) return;
    this.#stopping = new AbortController();
    this.#running = this.#run(this.#stopping.signal);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    this.#running = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, interval = 5 * 60_000, onError } = this.#options;
    while (!signal.aborted) {
      try {
        await clock.sleep(interval, signal);
        await this.#round(signal);
      } catch (error) {
        if (!signal.aborted) onError(error);
      }
    }
  }

  async #round(signal: AbortSignal): Promise<void> {
    const { retention, strays, clock, keepBuilds, keepLogs, onPruned } = this.#options;
    const now = clock.now();
    const logs = keepLogs === undefined ? 0 : await retention.pruneLogs(now - keepLogs, signal);
    const { builds, uploads } =
      keepBuilds === undefined
        ? { builds: 0, uploads: 0 }
        : (await retention.prune(now - keepBuilds, signal)).removed;
    if (builds + logs + uploads > 0) await onPruned?.({ builds, logs, uploads });
    await strays.sweep(signal);
  }
}
