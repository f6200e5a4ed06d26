import type { Clock } from '../base/clock.ts';

/** Lets one loop wait for a hint or for time to pass. A hint that comes while nobody waits is kept for the next wait. */
export class WakeUp {
  readonly #clock: Clock;
  #hinted = false;
  #waiting: AbortController | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  wake(): void {
    this.#hinted = true;
    this.#waiting?.abort();
  }

  /** Returns after a hint, after `milliseconds`, or when the signal fires; the caller looks which. */
  async wait(milliseconds: number, signal: AbortSignal): Promise<void> {
    if (!this.#hinted && !signal.aborted) {
      const waiting = new AbortController();
      this.#waiting = waiting;
      try {
        await this.#clock.sleep(milliseconds, AbortSignal.any([waiting.signal, signal]));
      } catch {
        // Woken, or stopped.
      } finally {
        this.#waiting = undefined;
      }
    }
    this.#hinted = false;
  }
}
