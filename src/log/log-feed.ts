import type { BuildId } from '../model/ids.ts';
import type { LogPiece } from './log-chunk.ts';

/** What was just stored, as it was stored: entries from `first` to before `total`. */
export interface FreshPieces {
  readonly first: number;
  readonly total: number;
  readonly closed: boolean;
  readonly bytes: number;
  readonly pieces: readonly LogPiece[];
}

/** What one reader may have waiting; of a slower one nothing is kept, it reads the database. */
const mostWaiting = 256;
const mostBytes = 1024 * 1024;

/** One reader's news of one log: what was stored in this process, or a hint that it should look for itself. */
export class LogFeed {
  #fresh: FreshPieces[] = [];
  #bytes = 0;
  #look = false;
  #quiet = true;
  #wake: (() => void) | undefined;

  /** To be called every now and then: who heard nothing since the last time looks for itself. */
  tick(): void {
    if (this.#quiet) this.hint();
    this.#quiet = true;
  }

  push(fresh: FreshPieces): void {
    this.#quiet = false;
    if (this.#look) return;
    this.#bytes += fresh.bytes;
    if (this.#fresh.length >= mostWaiting || this.#bytes > mostBytes) this.hint();
    else this.#fresh.push(fresh);
    this.#wake?.();
  }

  hint(): void {
    this.forget();
    this.#look = true;
    this.#wake?.();
  }

  /** The reader is about to read the database: what it has not taken yet will be there. */
  forget(): void {
    this.#fresh = [];
    this.#bytes = 0;
    this.#look = false;
  }

  /** The oldest that waits, `look` after a hint, undefined when there is nothing. */
  take(): FreshPieces | 'look' | undefined {
    if (this.#look) return 'look';
    const fresh = this.#fresh.shift();
    if (fresh !== undefined) this.#bytes -= fresh.bytes;
    return fresh;
  }

  /** Resolves when there is something to take; at once when there is. One waits at a time. */
  async waited(): Promise<void> {
    if (this.#look || this.#fresh.length > 0) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
  }
}

/** The readers of this process, by the log they follow. */
export class LogFeeds {
  readonly #feeds = new Map<BuildId, Set<LogFeed>>();

  open(buildId: BuildId): { readonly feed: LogFeed; close(): void } {
    const feed = new LogFeed();
    const feeds = this.#feeds.get(buildId) ?? new Set();
    this.#feeds.set(buildId, feeds.add(feed));
    return {
      feed,
      close: () => {
        feeds.delete(feed);
        if (feeds.size === 0 && this.#feeds.get(buildId) === feeds) this.#feeds.delete(buildId);
      },
    };
  }

  push(buildId: BuildId, fresh: FreshPieces): void {
    for (const feed of this.#feeds.get(buildId) ?? []) feed.push(fresh);
  }

  hint(buildId: BuildId): void {
    for (const feed of this.#feeds.get(buildId) ?? []) feed.hint();
  }

  get size(): number {
    return this.#feeds.size;
  }

  tickAll(): void {
    for (const feeds of this.#feeds.values()) for (const feed of feeds) feed.tick();
  }

  hintAll(): void {
    for (const buildId of this.#feeds.keys()) this.hint(buildId);
  }
}
