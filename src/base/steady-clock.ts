import type { Clock } from './clock.ts';

/**
 * Begins with the time another clock has now, and from then on goes as time passes, whatever that clock is set to. What
 * is measured with one of these is never longer or shorter because somebody corrected the time of day.
 */
export class SteadyClock implements Clock {
  readonly #clock: Clock;
  readonly #monotonic: () => number;
  /** What is to be added to the monotonic time. */
  readonly #begin: number;

  /** `monotonic`: milliseconds since any fixed moment. */
  constructor(clock: Clock, monotonic: () => number) {
    this.#clock = clock;
    this.#monotonic = monotonic;
    this.#begin = clock.now() - monotonic();
  }

  now(): number {
    return Math.round(this.#begin + this.#monotonic());
  }

  sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    return this.#clock.sleep(milliseconds, signal);
  }
}
