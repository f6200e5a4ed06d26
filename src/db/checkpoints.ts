import { statSync } from 'node:fs';
import { Worker } from 'node:worker_threads';

export interface CheckpointSettings {
  /** Milliseconds between two looks while something is written. */
  readonly pause: number;
  /** The write-ahead log's bytes from which on it is worth a thread: a machine with little to do never starts it. */
  readonly worthAThread: number;
}

const usual: CheckpointSettings = { pause: 1_000, worthAThread: 4 * 1024 * 1024 };

/**
 * Keeps the write-ahead log of an SQLite database short, in a thread of its own: with many builds a change touches pages
 * far apart, and SQLite's own checkpoint lets whoever happened to come last wait until all of them are on the disk.
 */
export class Checkpoints {
  readonly #file: string;
  readonly #settings: CheckpointSettings;
  #timer: NodeJS.Timeout | undefined;
  #thread: Worker | undefined;
  #ended: Promise<unknown> | undefined;
  #copying = false;
  #changedSince = false;
  #closed = false;

  constructor(file: string, settings = usual) {
    this.#file = file;
    this.#settings = settings;
  }

  /** Something was committed. Costs nothing. */
  changed(): void {
    this.#changedSince = true;
    if (this.#timer !== undefined || this.#closed) return;
    this.#timer = setTimeout(() => this.#look(), this.#settings.pause);
    this.#timer.unref();
  }

  #look(): void {
    this.#timer = undefined;
    if (this.#closed || !this.#changedSince) return;
    if (this.#copying || (this.#thread === undefined && this.#size() < this.#settings.worthAThread)) return;
    this.#changedSince = false;
    this.#copying = true;
    this.#thread ??= this.#start();
    this.#thread.postMessage('copy');
  }

  #size(): number {
    return statSync(`${this.#file}-wal`, { throwIfNoEntry: false })?.size ?? 0;
  }

  /** Without it SQLite's own checkpoint does the same, later and in everybody's way. */
  #start(): Worker {
    const thread = new Worker(new URL('./checkpoint-thread.ts', import.meta.url), {
      workerData: this.#file,
      resourceLimits: { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 16 },
    });
    thread.unref();
    thread.on('message', () => {
      this.#copying = false;
      if (this.#changedSince) this.changed();
    });
    thread.on('error', () => {
      this.#closed = true;
    });
    this.#ended = new Promise((resolve) => thread.once('exit', resolve));
    return thread;
  }

  /** Before the database's own connection, which then has the last word about the file. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#thread?.ref();
    this.#thread?.postMessage('close');
    await this.#ended;
  }
}
