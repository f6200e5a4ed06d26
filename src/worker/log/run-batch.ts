import type { LogRun } from '../../log/log-store.ts';

/** Lines of one kind that follow each other more closely share a run, and so a time. Milliseconds. */
const sameTime = 250;

interface Span {
  from: number;
  to: number;
  count: number;
  readonly type: 'command' | 'error' | undefined;
  readonly time: number;
  readonly partial: boolean;
}

/** Collects lines in one buffer until they are worth sending. */
export class RunBatch {
  readonly #capacity: number;
  #buffer: Buffer;
  #used = 0;
  #spans: Span[] = [];

  /** `capacity`: bytes; at least as many as the longest run. */
  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#buffer = Buffer.allocUnsafeSlow(capacity);
  }

  get isEmpty(): boolean {
    return this.#spans.length === 0;
  }

  /** Whether that many bytes fit. */
  hasRoom(length: number): boolean {
    return this.#used + length < this.#capacity;
  }

  /** Copies; see RunSink. The caller has made sure that there is room. */
  add(bytes: Buffer, count: number, type: Span['type'], partial: boolean, time: number): void {
    const last = this.#spans.at(-1);
    if (
      last !== undefined &&
      last.type === type &&
      !last.partial &&
      !partial &&
      time - last.time < sameTime
    ) {
      this.#buffer[this.#used++] = 10;
      this.#used += bytes.copy(this.#buffer, this.#used);
      last.to = this.#used;
      last.count += count;
      return;
    }
    const from = this.#used;
    this.#used += bytes.copy(this.#buffer, from);
    this.#spans.push({ from, to: this.#used, count, type, time, partial });
  }

  /** What was collected; the batch is empty then. */
  take(): LogRun[] {
    const bytes = this.#handOver();
    const runs = this.#spans.map(({ from, to, count, type, time, partial }) => ({
      text: bytes.subarray(from, to),
      count,
      time,
      ...(type === undefined ? {} : { type }),
      ...(partial ? { partial } : {}),
    }));
    this.#spans = [];
    this.#used = 0;
    return runs;
  }

  /** A full buffer is given away; of a nearly empty one a copy, so that a quiet log does not hold much memory. */
  #handOver(): Buffer {
    const used = this.#buffer.subarray(0, this.#used);
    if (this.#used < this.#capacity / 4) return Buffer.from(used);
    this.#buffer = Buffer.allocUnsafeSlow(this.#capacity);
    return used;
  }
}
