/** What is known of a line that builds wait in. Times are milliseconds. */
export interface Line {
  readonly now: number;
  /** Builds before this one. */
  readonly ahead: number;
  /** Builds that can be under way at once. */
  readonly places: number;
  /** For each build under way, when it began. */
  readonly underWay: readonly number[];
  /** How long builds like these took lately. */
  readonly durations: readonly number[];
}

/**
 * When a build in this line is likely to start; undefined when nothing is known to go by. It supposes that every build
 * takes the usual time: a place gets free when the one that has it longest has had that, and so on.
 */
export function estimateStart({ now, ahead, places, underWay, durations }: Line): number | undefined {
  const free = places - underWay.length;
  if (ahead < free) return now;
  if (durations.length === 0 || places < 1) return undefined;
  const usual = durations.reduce((sum, each) => sum + each, 0) / durations.length;
  // One that takes longer than usual may end at any moment.
  const ends = underWay.map((began) => Math.max(now, began + usual)).sort((a, b) => a - b);
  const before = ahead - Math.max(0, free);
  const rounds = Math.floor(before / places);
  const slot = ends[Math.min(before % places, ends.length - 1)] ?? now;
  return slot + rounds * usual;
}
