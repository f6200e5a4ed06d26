/**
 * An Aho-Corasick automaton over bytes. A state is the longest end of what was read that begins a pattern; state 0 is
 * none. Children are kept as linked siblings: patterns are few and long, so nearly every state has one child, and
 * memory is some 20 bytes per byte of pattern.
 */
export class SecretAutomaton {
  /** First steps, by byte: nearly all input stays in state 0 and needs only this table. */
  readonly #root = new Int32Array(256);
  readonly #firstChild: Int32Array;
  readonly #sibling: Int32Array;
  readonly #byte: Uint8Array;
  readonly #failure: Int32Array;
  /** How many bytes of input a state stands for. */
  readonly #depth: Int32Array;
  /** How many of them may be the beginning of a pattern that is not complete yet. */
  readonly #open: Int32Array;
  /** The longest pattern that ends where this state is; 0 for none. */
  readonly #match: Int32Array;
  #states = 1;

  constructor(patterns: readonly Uint8Array[]) {
    const size = 1 + patterns.reduce((sum, pattern) => sum + pattern.length, 0);
    this.#firstChild = new Int32Array(size);
    this.#sibling = new Int32Array(size);
    this.#byte = new Uint8Array(size);
    this.#failure = new Int32Array(size);
    this.#depth = new Int32Array(size);
    this.#open = new Int32Array(size);
    this.#match = new Int32Array(size);
    for (const pattern of patterns) this.#insert(pattern);
    this.#link();
  }

  /** Bytes at the end of the input that may be the beginning of a pattern: less than the longest pattern has. */
  open(state: number): number {
    return this.#open[state] ?? 0;
  }

  /** The longest pattern that ends here; 0 for none. */
  match(state: number): number {
    return this.#match[state] ?? 0;
  }

  next(state: number, byte: number): number {
    let from = state;
    while (from !== 0) {
      const child = this.#child(from, byte);
      if (child !== 0) return child;
      from = this.#failure[from] ?? 0;
    }
    return this.#root[byte] ?? 0;
  }

  /** The first position at or behind `from` whose byte leaves state 0; the length when there is none. */
  leavesRoot(bytes: Uint8Array, from: number): number {
    const root = this.#root;
    const end = bytes.length;
    let at = from;
    while (at < end && root[bytes[at] as number] === 0) at++;
    return at;
  }

  #insert(pattern: Uint8Array): void {
    let state = 0;
    for (const byte of pattern) {
      let child = state === 0 ? (this.#root[byte] ?? 0) : this.#child(state, byte);
      if (child === 0) {
        child = this.#states++;
        this.#byte[child] = byte;
        this.#depth[child] = (this.#depth[state] ?? 0) + 1;
        if (state === 0) this.#root[byte] = child;
        this.#sibling[child] = this.#firstChild[state] ?? 0;
        this.#firstChild[state] = child;
      }
      state = child;
    }
    this.#match[state] = pattern.length;
  }

  #child(state: number, byte: number): number {
    let child = this.#firstChild[state] ?? 0;
    while (child !== 0 && this.#byte[child] !== byte) child = this.#sibling[child] ?? 0;
    return child;
  }

  /** Breadth first, so that the failure of a state, which is shorter, is known before it is needed. */
  #link(): void {
    const queue: number[] = [0];
    for (const state of queue) {
      const goesOn = this.#firstChild[state] !== 0;
      this.#open[state] = (goesOn ? this.#depth[state] : this.#open[this.#failure[state] ?? 0]) ?? 0;
      for (let child = this.#firstChild[state] ?? 0; child !== 0; child = this.#sibling[child] ?? 0) {
        queue.push(child);
        const failure = state === 0 ? 0 : this.next(this.#failure[state] ?? 0, this.#byte[child] ?? 0);
        this.#failure[child] = failure;
        this.#match[child] = Math.max(this.#match[child] ?? 0, this.#match[failure] ?? 0);
      }
    }
  }
}
