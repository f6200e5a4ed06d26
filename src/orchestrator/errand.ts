import type { Clock } from '../base/clock.ts';

export interface ErrandOptions {
  /** Returns the milliseconds after which it is to be run again unasked; undefined: only when woken. */
  readonly run: () => Promise<number | undefined>;
  /** The least time between two runs, in milliseconds. */
  readonly apart: number;
  readonly clock: Clock;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/**
 * Work that is done again and again, one run at a time: however often it is woken meanwhile, it runs once more. A run
 * that throws is over; whoever made it fail has been told by then, and wakes it when there is hope.
 *
 *     idle → wake → running → waiting (until due, or woken and `apart` is over) → running … → idle
 */
export class Errand {
  readonly #options: ErrandOptions;
  #woken = false;
  #running: Promise<void> | undefined;
  #hurry: AbortController | undefined;

  constructor(options: ErrandOptions) {
    this.#options = options;
    options.signal.addEventListener('abort', () => this.#hurry?.abort(), { once: true });
  }

  wake(): void {
    if (this.#options.signal.aborted) return;
    this.#woken = true;
    this.#hurry?.abort();
    this.#running ??= this.#runs();
  }

  /** Resolves when it is not running. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #runs(): Promise<void> {
    const { run, apart, clock, signal } = this.#options;
    while (!signal.aborted) {
      this.#woken = false;
      const again = await run().catch(() => undefined);
      if (apart > 0) await clock.sleep(apart, signal).catch(() => {});
      if (this.#woken) continue;
      if (again === undefined) break;
      const hurry = new AbortController();
      this.#hurry = hurry;
      if (!signal.aborted) await clock.sleep(Math.max(0, again - apart), hurry.signal).catch(() => {});
      this.#hurry = undefined;
    }
    // In the same turn in which it was found to be over, so that no wake is lost.
    this.#running = undefined;
  }
}
