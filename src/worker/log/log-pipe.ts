import type { Clock } from '../../base/clock.ts';
import type { LogRun } from '../../log/log-store.ts';
import { Masker } from '../../log/mask.ts';
import { LineSplitter, longestRun } from './line-splitter.ts';
import { RunBatch } from './run-batch.ts';

/** Where batches go, in order. `send` resolves when another one may follow. */
export interface BatchSink {
  send(runs: readonly LogRun[]): Promise<void>;
}

export interface LogPipeOptions {
  readonly sink: BatchSink;
  readonly secrets: readonly Uint8Array[];
  readonly clock: Clock;
}

/** Bytes of text at which a batch is sent at once. Each batch is one transaction of the server: see docs/performance.md. */
const fullBatch = 1024 * 1024;
/**
 * Milliseconds that lines may wait for company: nobody who reads along notices, and a build that says something all the
 * time costs the server a fraction. After a silence they wait only for what comes with them.
 */
const linger = 200;
const lingerAfterSilence = 5;
/** Milliseconds after which the beginning of a line is shown although its end has not come. */
const openLineWait = 200;

/**
 * The log on its way out of the worker: raw bytes are masked, cut into lines and sent in batches. Nothing is lost and
 * nothing is reordered; memory is one batch, plus what the sink keeps.
 */
export class LogPipe {
  readonly #options: LogPipeOptions;
  #masker: Masker;
  readonly #splitter: LineSplitter;
  readonly #batch = new RunBatch(Math.max(fullBatch, 2 * longestRun));
  readonly #stop = new AbortController();
  #time = 0;
  #lastSend = 0;
  #openSince = 0;
  #ticking: Promise<void> | undefined;
  #room: Promise<void> = Promise.resolve();

  constructor(options: LogPipeOptions) {
    this.#options = options;
    this.#masker = new Masker({ secrets: options.secrets });
    this.#splitter = new LineSplitter((bytes, count, type, partial) =>
      this.#add(bytes, count, type, partial),
    );
  }

  /** Raw output, cut anywhere. Resolves when more may come. The bytes may be reused afterwards. */
  async write(bytes: Buffer): Promise<void> {
    this.#time = this.#options.clock.now();
    this.#take(this.#masker.write(bytes));
    await this.#room;
  }

  /** A text of the worker's own that leaves it by another way than the log. */
  mask(text: string): string {
    const masker = new Masker({ secrets: this.#options.secrets });
    return Buffer.concat([masker.write(Buffer.from(text)), masker.flush()]).toString('utf8');
  }

  /** One or more lines of the worker's own, apart from what the engine writes. */
  async say(text: string): Promise<void> {
    this.#time = this.#options.clock.now();
    this.endOutput();
    this.#splitter.add(Buffer.from(`${this.mask(text)}\n`));
    this.#schedule();
    await this.#room;
  }

  /** Whoever wrote has ended: what is held back goes out, and an open line ends. */
  endOutput(): void {
    this.#take(this.#masker.flush());
    this.#splitter.endLine();
    this.#schedule();
  }

  /** Hands everything to the sink; the log goes on afterwards. */
  flush(): void {
    this.#send();
  }

  /** Everything has been handed to the sink when it resolves. Safe to call twice. */
  async close(): Promise<void> {
    this.endOutput();
    this.flush();
    this.#stop.abort();
    await this.#ticking;
    await this.#room;
  }

  #take(bytes: Buffer): void {
    if (bytes.length === 0) return;
    const wasOpen = this.#splitter.waiting > 0;
    this.#splitter.add(bytes);
    // A line that grows steadily is shown steadily: its waiting time begins with the first byte that waits.
    if (!wasOpen || bytes.includes(10)) this.#openSince = this.#time;
    this.#schedule();
  }

  #add(bytes: Buffer, count: number, type: 'command' | 'error' | undefined, partial: boolean): void {
    if (!this.#batch.hasRoom(bytes.length + 1)) this.#send();
    this.#batch.add(bytes, count, type, partial, this.#time);
    if (!this.#batch.hasRoom(longestRun)) this.#send();
  }

  #send(): void {
    if (this.#batch.isEmpty) return;
    this.#lastSend = this.#options.clock.now();
    this.#room = this.#options.sink.send(this.#batch.take());
  }

  #schedule(): void {
    if (this.#ticking !== undefined || this.#stop.signal.aborted) return;
    if (this.#batch.isEmpty && this.#splitter.waiting === 0) return;
    this.#ticking = this.#tick().catch(() => {
      // Only the clock throws here, when the pipe is closed: close() has sent everything.
    });
  }

  async #tick(): Promise<void> {
    const { clock } = this.#options;
    try {
      const now = clock.now();
      const wait = this.#batch.isEmpty
        ? Math.max(1, this.#openSince + openLineWait - now)
        : now - this.#lastSend > openLineWait
          ? lingerAfterSilence
          : linger;
      await clock.sleep(wait, this.#stop.signal);
      if (this.#splitter.waiting > 0 && clock.now() - this.#openSince >= openLineWait) {
        this.#time = clock.now();
        this.#splitter.releaseOpen();
        this.#openSince = clock.now();
      }
      this.#send();
      // A full sink is not fed by the timer: the next tick comes when it has room.
      await this.#room;
    } finally {
      this.#ticking = undefined;
    }
    this.#schedule();
  }
}
