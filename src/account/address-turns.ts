import { networkOf } from './network.ts';
import { PasswordsBusy } from './password-hash.ts';

const waitingAtMost = { address: 64, all: 1_000 } as const;

/**
 * Lets one password be checked at a time for each address, so that a burst from one neither takes the hashing from
 * everybody else nor has more than one failure on its way that is not known yet.
 */
export class AddressTurns {
  /** Who waits, by network; an entry is there while a check of it runs. */
  readonly #waiting = new Map<string, (() => void)[]>();
  #all = 0;

  /** Throws PasswordsBusy when too many wait already. */
  async take<T>(address: string, work: () => Promise<T>): Promise<T> {
    const network = networkOf(address);
    const queue = this.#waiting.get(network);
    if (queue === undefined) this.#waiting.set(network, []);
    else {
      if (queue.length >= waitingAtMost.address || this.#all >= waitingAtMost.all) throw new PasswordsBusy();
      this.#all += 1;
      await new Promise<void>((resolve) => queue.push(resolve));
      this.#all -= 1;
    }
    try {
      return await work();
    } finally {
      const next = this.#waiting.get(network)?.shift();
      if (next === undefined) this.#waiting.delete(network);
      else next();
    }
  }
}
