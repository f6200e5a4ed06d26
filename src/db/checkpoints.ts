export interface CheckpointSettings {
  /** Transactions after which a checkpoint is worth its two waits for the disk. */
  readonly transactions: number;
  /** Milliseconds without any use after which nobody is expected at once. */
  readonly quiet: number;
}

const usual: CheckpointSettings = { transactions: 24, quiet: 3 };

/**
 * Picks the moments at which the write-ahead log of an SQLite database is copied into its file: those in which nobody uses
 * the database. SQLite's own checkpoint makes whoever happens to commit wait for it, and with many builds, whose pages lie
 * far apart, that was one transaction in thirty. Where there never is such a moment SQLite's own is left, which is rarer
 * then (sqlite-dialect.ts).
 */
export class Checkpoints {
  readonly #copy: () => void;
  readonly #settings: CheckpointSettings;
  #timer: NodeJS.Timeout | undefined;
  #committed = 0;

  /** `copy` makes a checkpoint that waits for nobody. */
  constructor(copy: () => void, settings = usual) {
    this.#copy = copy;
    this.#settings = settings;
  }

  committed(): void {
    this.#committed += 1;
  }

  /** Somebody has the database. */
  used(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Nobody has it any more. */
  free(): void {
    if (this.#committed < this.#settings.transactions) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#committed = 0;
      this.#copy();
    }, this.#settings.quiet);
    this.#timer.unref();
  }
}
