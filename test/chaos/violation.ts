/** One breach of an invariant (ARCHITECTURE.md, "Invariants"), and the build that it happened to. */
export interface Violation {
  readonly invariant: 'I1' | 'I2' | 'I3' | 'I4' | 'I5' | 'I6' | 'I7' | 'capacity' | 'processes';
  readonly buildId?: string;
  readonly what: string;
}

export type Violate = (invariant: Violation['invariant'], what: string, buildId?: string) => void;
