/**
 * An Aho-Corasick automaton over bytes. A state is the longest end of what was read that begins a pattern; state 0 is
 * none. Children are kept as linked siblings: patterns are few and long, so nearly every state has one child, and
 * memory is some 20 bytes per byte of pattern.
 */
export class SecretAutomaton {
  /** First steps, by byte: nearly all input stays in state 0 and needs only this table. */
  readonly #root = new Int32Array(256);
  /** Pairs of bytes that begin a pattern, as bits: single letters of a secret are in every text. */
  readonly #pairs = new Uint8Array(65536 / 8);
  /** No pattern is a single byte, which its pair would not tell. */
  #paired = true;
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
  /** The number of the opening that ends here, from 1; 0 for none. What follows belongs to it. */
  readonly #opens: Int32Array;
  #states = 1;

  constructor(secrets: readonly Uint8Array[], openings: readonly Uint8Array[] = []) {
    const patterns = [...secrets, ...openings];
    const size = 1 + patterns.reduce((sum, pattern) => sum + pattern.length, 0);
    this.#firstChild = new Int32Array(size);
    this.#sibling = new Int32Array(size);
    this.#byte = new Uint8Array(size);
    this.#failure = new Int32Array(size);
    this.#depth = new Int32Array(size);
    this.#open = new Int32Array(size);
    this.#match = new Int32Array(size);
    this.#opens = new Int32Array(size);
    for (const [index, pattern] of patterns.entries()) {
      const state = this.#insert(pattern);
      if (index >= secrets.length) this.#opens[state] = index - secrets.length + 1;
      const pair = ((pattern[0] ?? 0) << 8) | (pattern[1] ?? 0);
      this.#pairs[pair >> 3] = (this.#pairs[pair >> 3] ?? 0) | (1 << (pair & 7));
      if (pattern.length < 2) this.#paired = false;
    }
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

  /** The place of the opening that ends here among those given; undefined: none does. */
  opens(state: number): number | undefined {
    const number = this.#opens[state] ?? 0;
    return number === 0 ? undefined : number - 1;
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

  /**
   * The first position at or behind `from` from where state 0 is left for good: by a byte that begins a pattern, and
   * that the next one does not rule out. The length when there is none.
   */
  leavesRoot(bytes: Uint8Array, from: number): number {
    const root = this.#root;
    const pairs = this.#pairs;
    const end = bytes.length;
    for (let at = from; at < end; at++) {
      const byte = bytes[at] as number;
      if (root[byte] === 0) continue;
      if (!this.#paired || at + 1 === end) return at;
      const pair = (byte << 8) | (bytes[at + 1] as number);
      if (((pairs[pair >> 3] as number) & (1 << (pair & 7))) !== 0) return at;
    }
    return end;
  }

  #insert(pattern: Uint8Array): number {
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
    return state;
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
        if (this.#opens[child] === 0) this.#opens[child] = this.#opens[failure] ?? 0;
      }
    }
  }
}
