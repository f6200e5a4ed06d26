/** Exponential back-off with full jitter, capped. Times are milliseconds. */
export interface BackOffOptions {
  readonly first: number;
  readonly cap: number;
  /** 0 ≤ random() < 1; injected so that tests can fix it. */
  readonly random?: () => number;
}

/** The wait before attempt `n` (0 is the first retry): between half of and the whole of min(cap, first·2ⁿ). */
export function backOff(n: number, { first, cap, random = Math.random }: BackOffOptions): number {
  const ceiling = Math.min(cap, first * 2 ** Math.min(n, 30));
  return Math.round(ceiling / 2 + (ceiling / 2) * random());
}
