import { setTimeout as sleepFor } from 'node:timers/promises';

/**
 * Time as a dependency, so that no test sleeps. `now` is milliseconds since 1970; `sleep` rejects with the
 * signal's reason (an AbortError) when the signal fires first.
 */
export interface Clock {
  now(): number;
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: async (milliseconds, signal) => {
    await sleepFor(milliseconds, undefined, signal === undefined ? {} : { signal });
  },
};

/** A clock for tests: time moves only by `advance`, which wakes the sleepers that are due, in order. */
export class ManualClock implements Clock {
  #now: number;
  readonly #sleepers = new Set<{ due: number; wake: () => void }>();

  constructor(start = 1_700_000_000_000) {
    this.#now = start;
  }

  now(): number {
    return this.#now;
  }

  sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const sleeper = {
        due: this.#now + milliseconds,
        wake: () => {
          this.#sleepers.delete(sleeper);
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      const onAbort = () => {
        this.#sleepers.delete(sleeper);
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#sleepers.add(sleeper);
    });
  }

  /** Moves time and lets everything that became due run. */
  async advance(milliseconds: number): Promise<void> {
    const target = this.#now + milliseconds;
    for (;;) {
      const next = [...this.#sleepers].filter((s) => s.due <= target).sort((a, b) => a.due - b.due)[0];
      if (next === undefined) break;
      this.#now = Math.max(this.#now, next.due);
      next.wake();
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#now = target;
    await new Promise((resolve) => setImmediate(resolve));
  }

  get sleeping(): number {
    return this.#sleepers.size;
  }
}
