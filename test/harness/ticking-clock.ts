import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { type Clock, ManualClock } from '../../src/base/clock.ts';

/** Milliseconds between two steps. */
const stepEvery = 10;

/**
 * A clock that goes by itself, `rate` times as fast as the machine's, in steps; what is done between two steps (calls of
 * servers and processes, say) takes as long as it takes. The rate may change at any time.
 */
export class TickingClock implements Clock, AsyncDisposable {
  readonly #clock: ManualClock;
  readonly #stopping = new AbortController();
  readonly #ticking: Promise<void>;
  rate = 1;

  /** Begins at the machine's time, for there are servers with clocks of their own. */
  constructor() {
    this.#clock = new ManualClock(Date.now());
    this.#ticking = this.#tick();
  }

  now(): number {
    return this.#clock.now();
  }

  sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    // Who waits for a part of a millisecond does not make the time of day one that no clock shows.
    return this.#clock.sleep(Math.ceil(milliseconds), signal);
  }

  async #tick(): Promise<void> {
    for (let before = performance.now(); !this.#stopping.signal.aborted; ) {
      await sleep(stepEvery, undefined, { signal: this.#stopping.signal }).catch(() => {});
      const now = performance.now();
      await this.#clock.advance(Math.round((now - before) * this.rate));
      before = now;
      await turn();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#ticking;
  }
}
