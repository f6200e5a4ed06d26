export interface StandstillOptions<Seen> {
  /** Milliseconds since any fixed moment. */
  readonly monotonic: () => number;
  /** What is looked at whether it is still the same one; unique among all that are seen at a time. */
  readonly idOf: (seen: Seen) => string;
  /** Whether nothing has moved between two looks at the same one. */
  readonly same: (before: Seen, now: Seen) => boolean;
}

/**
 * What others hold and have given no sign of for too long. That is measured from seeing it first to seeing it unchanged,
 * by this process's own monotonic clock, so that it does not matter what time it is anywhere
 * (docs/adr/0015-leases-are-watched.md).
 */
export class StandstillWatch<Seen> {
  readonly #options: StandstillOptions<Seen>;
  #known = new Map<string, { readonly seen: Seen; readonly since: number }>();
  #looked = Number.NEGATIVE_INFINITY;

  constructor(options: StandstillOptions<Seen>) {
    this.#options = options;
  }

  /**
   * Of all that there is to see now, what stood still for `patience` milliseconds. To be asked several times in that time:
   * what did not look for a third of it was paused, or without the database, and so may the others have been.
   */
  stoodStill(all: readonly Seen[], patience: number): readonly Seen[] {
    const { monotonic, idOf, same } = this.#options;
    const at = monotonic();
    const before = at - this.#looked > patience / 3 ? new Map<string, never>() : this.#known;
    this.#looked = at;
    this.#known = new Map();
    return all.filter((seen) => {
      const known = before.get(idOf(seen));
      const since = known !== undefined && same(known.seen, seen) ? known.since : at;
      this.#known.set(idOf(seen), { seen, since });
      return at - since >= patience;
    });
  }
}
