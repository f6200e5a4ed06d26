import { StandstillWatch } from '../base/standstill-watch.ts';

/** An attempt's lease as it was read. */
export interface SeenLease {
  readonly id: string;
  readonly manager: string;
  /** Looked at for whether it changes, and never as a time. */
  readonly leaseUntil: number;
}

/** A lease that nobody has touched since it was read so. */
export function sameLease(before: SeenLease, now: SeenLease): boolean {
  return before.id === now.id && before.manager === now.manager && before.leaseUntil === now.leaseUntil;
}

/**
 * Finds the attempts whose supervision has ended although the manager lives: it did not extend the lease for as long as a
 * lease lasts.
 */
export function watchLeases(monotonic: () => number): StandstillWatch<SeenLease> {
  return new StandstillWatch({ monotonic, idOf: ({ id }) => id, same: sameLease });
}
