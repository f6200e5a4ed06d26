/**
 * Pieces of work that keep the process busy, one at a time: before each of them, whatever else waits gets its turn. However
 * many ask at once, nobody waits longer than for one piece.
 */
export class Turns {
  #last: Promise<void> = Promise.resolve();

  /** Resolves in a turn of the event loop that nobody else was given. */
  async next(): Promise<void> {
    this.#last = this.#last.then(async () => await new Promise<void>((resolve) => setImmediate(resolve)));
    await this.#last;
  }
}
