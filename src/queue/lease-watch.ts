/** An attempt's lease as it was read. */
export interface SeenLease {
  readonly id: string;
  readonly manager: string;
  /** Looked at for whether it changes, and never as a time. */
  readonly leaseUntil: number;
}

/**
 * Whose supervision of an attempt has ended although the manager lives: it did not extend the lease for as long as a lease
 * lasts. That is measured from seeing it first to seeing it unchanged, by this process's own monotonic clock, so that it
 * does not matter what time it is anywhere (docs/adr/0015-leases-are-watched.md).
 */
export class LeaseWatch {
  readonly #monotonic: () => number;
  #seen = new Map<string, SeenLease & { readonly since: number }>();
  #looked = Number.NEGATIVE_INFINITY;

  /** `monotonic`: milliseconds since any fixed moment. */
  constructor(monotonic: () => number) {
    this.#monotonic = monotonic;
  }

  /**
   * Of all leases that others hold now, those that stood still for `lease` milliseconds. To be asked several times in that
   * time: what did not look for a third of it was paused, or without the database, and so may the others have been.
   */
  stoodStill(leases: readonly SeenLease[], lease: number): readonly SeenLease[] {
    const at = this.#monotonic();
    const before = at - this.#looked > lease / 3 ? new Map<string, never>() : this.#seen;
    this.#looked = at;
    this.#seen = new Map();
    return leases.filter((seen) => {
      const known = before.get(seen.id);
      const same = known?.manager === seen.manager && known.leaseUntil === seen.leaseUntil;
      const since = same ? known.since : at;
      this.#seen.set(seen.id, { ...seen, since });
      return at - since >= lease;
    });
  }
}
