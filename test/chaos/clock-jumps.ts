import type { Random } from './random.ts';

/** How far the clock of a manager is set wrong: by up to 90 s, or also by more than a lease lasts. */
export type ClockJumps = 'small' | 'large';

/** What a run draws unless it is told otherwise. */
export const usualJumps: ClockJumps = 'large';

/** Milliseconds beyond every lease, and beyond MACHINE_MAX_TIME as well. */
export const threeHours = 3 * 3_600_000;

/** Milliseconds, in either direction. */
export function clockOffset(random: Random, jumps: ClockJumps): number {
  const small = random.whole(1, 90) * (random.chance(0.5) ? 1_000 : -1_000);
  if (jumps === 'small') return small;
  const large = random.of(`large clock ${small}`);
  return large.chance(0.5) ? small : Math.sign(small) * large.whole(310, 600) * 1_000;
}

/** One clock in the middle of a run is set three hours ahead. */
export function withThreeHours<Fault extends { readonly kind: string }>(faults: readonly Fault[]): Fault[] {
  const clocks = faults.filter(({ kind }) => kind === 'clock');
  const chosen = clocks[Math.floor(clocks.length / 2)];
  return faults.map((fault) => (fault === chosen ? { ...fault, offset: threeHours } : fault));
}

export function parseClockJumps(text: string): ClockJumps {
  if (text === 'small' || text === 'large') return text;
  throw new Error(`--clock-jumps takes small or large, not "${text}"`);
}
