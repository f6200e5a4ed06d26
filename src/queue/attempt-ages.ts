/** An attempt that somebody has, as it was read. A claim after a release is another one. */
export interface ClaimedAt {
  readonly id: string;
  /** By the time of day of whoever claimed it. */
  readonly scheduledAt: number;
}

/**
 * How long attempts have been running that others claimed, for who takes them over. One that was not there at the last look
 * was claimed since, whatever the time of day says; from then on this process's own monotonic clock counts. The two times
 * of day are compared only for what was there at the first look (docs/adr/0015-leases-are-watched.md).
 */
export class AttemptAges {
  readonly #now: () => number;
  readonly #monotonic: () => number;
  /** When they were claimed, by the monotonic clock. */
  #begun = new Map<string, number>();
  #looked = Number.NEGATIVE_INFINITY;

  /** `now`: milliseconds since 1970. `monotonic`: milliseconds since any fixed moment. */
  constructor(now: () => number, monotonic: () => number) {
    this.#now = now;
    this.#monotonic = monotonic;
  }

  /** `all`: every attempt that anybody has now. */
  look(all: readonly ClaimedAt[]): void {
    const at = this.#monotonic();
    this.#begun = new Map(all.map((claimed) => [keyOf(claimed), at - this.of(claimed)]));
    this.#looked = at;
  }

  /** Milliseconds. */
  of(claimed: ClaimedAt): number {
    const at = this.#monotonic();
    const begun = this.#begun.get(keyOf(claimed));
    if (begun !== undefined) return Math.round(at - begun);
    const told = Math.max(0, this.#now() - claimed.scheduledAt);
    return Math.round(Math.min(told, at - this.#looked));
  }
}

function keyOf({ id, scheduledAt }: ClaimedAt): string {
  return `${id} ${scheduledAt}`;
}
