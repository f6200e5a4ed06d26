import type { Clock } from '../base/clock.ts';
import type { Uploads } from './uploads.ts';

/** Removes unused uploads from time to time, from `start` to `stop`. */
export class UploadSweeper {
  readonly #uploads: Uploads;
  readonly #clock: Clock;
  readonly #interval: number;
  readonly #onError: (error: unknown) => void;
  #stopping = new AbortController();
  #running: Promise<void> | undefined;

  /** `interval` is milliseconds. `onError` is told of a sweep that failed; the next one is tried all the same. */
  constructor({
    uploads,
    clock,
    interval = 10 * 60_000,
    onError,
  }: {
    readonly uploads: Uploads;
    readonly clock: Clock;
    readonly interval?: number;
    readonly onError: (error: unknown) => void;
  }) {
    this.#uploads = uploads;
    this.#clock = clock;
    this.#interval = interval;
    this.#onError = onError;
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
    while (!signal.aborted) {
      try {
        await this.#clock.sleep(this.#interval, signal);
        await this.#uploads.sweep(signal);
      } catch (error) {
        if (!signal.aborted) this.#onError(error);
      }
    }
  }
}
