import { backOff } from '../base/back-off.ts';
import type { LogRun } from '../log/log-store.ts';
import type { LogBatch, LogBatchReply } from './generated/buildman.ts';
import { type LinkStream, type StreamOptions, settled } from './link-stream.ts';
import { runToWire } from './log-batches.ts';
import { RpcError } from './rpc-error.ts';

/** Batches sent and not answered. More hide a longer way to the manager; they are sent again after a break. */
const window = 8;
/** Of small batches: what comes meanwhile goes together, so a slow manager gets fewer and longer ones. */
const smallWindow = 2;
/** Bytes from which on a batch is none of the small ones, and nothing is added to it. */
const large = 8 * 1024;

interface Batch {
  readonly kind: 'batch';
  readonly sequence: number;
  readonly runs: LogRun[];
  bytes: number;
  /** It went out once, so the manager may have it as it is. */
  tried: boolean;
}

interface Barrier {
  readonly kind: 'barrier';
  readonly act: () => Promise<void>;
  running: boolean;
}

/**
 * The log's way to the manager: batches in order, several under way, sent again from the first unanswered one after
 * the stream broke. Batches are kept until they are answered, which means durable.
 *
 * `#items`, oldest first: `#sent` batches that went out on the current stream, then those that wait. A barrier goes
 * only when it is the oldest, and nothing behind it goes before it is done.
 */
export class LogUplink {
  readonly #options: StreamOptions & { readonly buffer: number };
  readonly #items: (Batch | Barrier)[] = [];
  #sent = 0;
  #bytes = 0;
  #sequence = 0;
  #call: LinkStream<LogBatch, LogBatchReply> | undefined;
  #waiting: (() => void)[] = [];
  readonly stopped: Promise<void>;

  constructor(options: StreamOptions & { readonly buffer: number }) {
    this.#options = options;
    options.ended.addEventListener('abort', () => this.#wake(), { once: true });
    this.stopped = this.#run();
  }

  /**
   * Takes one batch; its buffers must not change any more. Resolves when there is room for another one, so that who
   * waits for it holds no more than `buffer` bytes here. Never rejects: what the log cannot say, `ended` says.
   */
  async send(runs: readonly LogRun[]): Promise<void> {
    if (runs.length === 0 || this.#options.ended.aborted) return;
    const bytes = runs.reduce((sum, { text }) => sum + text.length + 64, 0);
    const last = this.#items.at(-1);
    if (last?.kind === 'batch' && !last.tried && last.bytes + bytes <= large) {
      last.runs.push(...runs);
      last.bytes += bytes;
    } else {
      this.#items.push({ kind: 'batch', sequence: ++this.#sequence, runs: [...runs], bytes, tried: false });
    }
    this.#bytes += bytes;
    this.#pump();
    while (this.#bytes > this.#options.buffer && !this.#options.ended.aborted) await this.#change();
  }

  /** Runs `act` when all that was sent before is durable; what is sent later waits until it is done. */
  barrier<Result>(act: () => Promise<Result>): Promise<Result> {
    const { ended } = this.#options;
    return new Promise((resolve, reject) => {
      const onEnd = (): void => reject(ended.reason);
      if (ended.aborted) return onEnd();
      ended.addEventListener('abort', onEnd, { once: true });
      const once = async (): Promise<void> => {
        try {
          resolve(await act());
        } catch (thrown) {
          reject(thrown);
        } finally {
          ended.removeEventListener('abort', onEnd);
        }
      };
      this.#items.push({ kind: 'barrier', act: once, running: false });
      this.#pump();
    });
  }

  /** Resolves when everything sent so far is durable; rejects with the RpcError that ended the link. */
  async drained(): Promise<void> {
    await this.barrier(async () => {});
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  async #run(): Promise<void> {
    const { client, clock, ended, onFailure } = this.#options;
    for (let tries = 0; !ended.aborted; tries++) {
      const before = this.#items[0];
      this.#sent = 0;
      const call = client.logBatches();
      const over = settled(call, ended);
      call.on('data', (reply: LogBatchReply) => this.#onReply(call, reply));
      this.#call = call;
      this.#pump();
      const failure = await over;
      this.#call = undefined;
      if (ended.aborted) return;
      if (this.#items[0] !== before) tries = 0;
      onFailure(failure);
      await clock.sleep(backOff(tries, { first: 100, cap: 2_000 }), ended).catch(() => {});
    }
  }

  #pump(): void {
    const first = this.#items[0];
    if (first?.kind === 'barrier') {
      if (!first.running) this.#pass(first);
      return;
    }
    if (this.#call === undefined) return;
    while (this.#sent < window) {
      const item = this.#items[this.#sent];
      if (item === undefined || item.kind === 'barrier') return;
      if (this.#sent >= smallWindow && item.bytes < large) return;
      item.tried = true;
      this.#call.write({
        jobJwt: this.#sent === 0 ? this.#options.token : '',
        sequenceNumber: item.sequence,
        runs: item.runs.map(runToWire),
      });
      this.#sent++;
    }
  }

  #pass(barrier: Barrier): void {
    barrier.running = true;
    void barrier.act().then(() => {
      this.#items.shift();
      this.#pump();
    });
  }

  #onReply(
    call: LinkStream<LogBatch, LogBatchReply>,
    { sequenceNumber, success, cancel }: LogBatchReply,
  ): void {
    if (call !== this.#call) return;
    this.#options.onAnswer();
    if (cancel) {
      this.#options.onEnd(new RpcError('cancelled', 'The build manager cancelled the build.'));
      return;
    }
    const first = this.#items[0];
    if (first?.kind === 'batch' && sequenceNumber < first.sequence - 1) {
      this.#options.onEnd(
        new RpcError('protocol', 'The build manager lost log entries that it had confirmed.'),
      );
      return;
    }
    this.#forget(sequenceNumber);
    this.#wake();
    // The manager misses a batch: a new stream begins with the first it has not got.
    if (!success) call.cancel();
    else this.#pump();
  }

  #forget(upTo: number): void {
    for (
      let first = this.#items[0];
      first?.kind === 'batch' && first.sequence <= upTo;
      first = this.#items[0]
    ) {
      this.#items.shift();
      this.#sent--;
      this.#bytes -= first.bytes;
    }
  }
}
