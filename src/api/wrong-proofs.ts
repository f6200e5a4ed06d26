import type { Clock } from '../base/clock.ts';

const span = 60_000;
const mostKept = 10_000;

/**
 * Who sent wrong proofs to a trigger is not listened to for the rest of the minute, right or wrong: nothing is learnt by
 * trying. It is counted by address, so that strangers cannot keep a host away from its trigger.
 */
export class WrongProofs {
  readonly #clock: Clock;
  readonly #most: number;
  readonly #counts = new Map<string, number>();
  #since = 0;

  /** `most`: wrong proofs a minute, of one address for one trigger. */
  constructor({ clock, most = 30 }: { readonly clock: Clock; readonly most?: number }) {
    this.#clock = clock;
    this.#most = most;
  }

  /** Milliseconds until it is listened to again; undefined: it is now. */
  wait(trigger: string, address: string): number | undefined {
    this.#turn();
    const count = this.#counts.get(keyOf(trigger, address)) ?? 0;
    return count < this.#most ? undefined : this.#since + span - this.#clock.now();
  }

  add(trigger: string, address: string): void {
    this.#turn();
    const key = keyOf(trigger, address);
    const count = this.#counts.get(key);
    // There is no room for more addresses than that in a minute; those are refused one by one.
    if (count === undefined && this.#counts.size >= mostKept) return;
    this.#counts.set(key, (count ?? 0) + 1);
  }

  #turn(): void {
    const now = this.#clock.now();
    if (now - this.#since < span && now >= this.#since) return;
    this.#since = now;
    this.#counts.clear();
  }
}

function keyOf(trigger: string, address: string): string {
  return `${trigger.slice(0, 64)} ${address}`;
}
