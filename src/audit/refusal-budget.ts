import type { Clock } from '../base/clock.ts';

const span = 60_000;
const mostAddresses = 10_000;

/**
 * How many refusals are recorded: strangers can cause as many as they like, and must not fill the disk with them. What
 * is left out is counted, and the next record that is written says how many those were.
 */
export class RefusalBudget {
  readonly #clock: Clock;
  readonly #perAddress: number;
  readonly #inAll: number;
  readonly #used = new Map<string, number>();
  #since = 0;
  #all = 0;
  #leftOut = 0;

  /** `perAddress` and `inAll` are records a minute. */
  constructor({
    clock,
    perAddress = 60,
    inAll = 600,
  }: {
    readonly clock: Clock;
    readonly perAddress?: number;
    readonly inAll?: number;
  }) {
    this.#clock = clock;
    this.#perAddress = perAddress;
    this.#inAll = inAll;
  }

  /** Undefined: it is not to be recorded. Else how many were left out since the last that was. */
  take(address: string): number | undefined {
    const now = this.#clock.now();
    if (now - this.#since >= span || now < this.#since) {
      this.#since = now;
      this.#all = 0;
      this.#used.clear();
    }
    const used = this.#used.get(address) ?? 0;
    if (this.#all >= this.#inAll || used >= this.#perAddress || this.#used.size >= mostAddresses) {
      this.#leftOut += 1;
      return undefined;
    }
    this.#used.set(address, used + 1);
    this.#all += 1;
    const leftOut = this.#leftOut;
    this.#leftOut = 0;
    return leftOut;
  }
}
