/** When something was disturbed, by `performance.now()`. */
export interface Disturbance {
  readonly from: number;
  /** Undefined: it lasts. */
  until: number | undefined;
}

/**
 * Milliseconds after the end of a disturbance in which its effects still come: workers are given up for a silence that
 * began meanwhile, managers start and connect again, and what gave up waits before it tries again.
 */
const aftermath = 20_000;

/** What was done to everybody, and when. */
export class Disturbances {
  readonly #all: Disturbance[] = [];

  begin(): Disturbance {
    const begun: Disturbance = { from: performance.now(), until: undefined };
    this.#all.push(begun);
    return begun;
  }

  /** Whether anything was disturbed, or still felt, between two moments. */
  between({ from, until }: { readonly from: number; readonly until: number }): boolean {
    return this.#all.some((one) => one.from <= until && (one.until ?? until) + aftermath >= from);
  }
}
