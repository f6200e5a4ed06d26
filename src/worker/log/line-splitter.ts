import { startsStep } from '../../log/step-line.ts';

/** A line longer than this is cut into pieces. Bytes. */
export const longestLine = 64 * 1024;
/** Input is taken in slices of this size, so that no run of lines is larger than the two together. */
const slice = 64 * 1024;
export const longestRun = slice + longestLine;

/**
 * Takes lines: `bytes` holds `count` of them joined by "\n", without the last "\n"; it is only valid during the call.
 * `partial`: a piece of a line that goes on in the next call.
 */
export type RunSink = (
  bytes: Buffer,
  count: number,
  type: 'command' | 'error' | undefined,
  partial: boolean,
) => void;

/**
 * Cuts bytes into lines. It works on whole runs of lines, and looks at single ones only as far as it must to find
 * those that start a step. Whatever the cuts of the input and its encoding, the bytes that come out, with a "\n" behind
 * each line and nothing behind a piece, are those that went in.
 */
export class LineSplitter {
  readonly #sink: RunSink;
  /** The beginning of a line whose end has not come; `#openLength` bytes of it. */
  readonly #open = Buffer.allocUnsafeSlow(longestLine);
  #openLength = 0;
  /** A piece of the open line is out already. */
  #cut = false;

  constructor(sink: RunSink) {
    this.#sink = sink;
  }

  /** Some of a line has come, and its end has not. */
  get isOpen(): boolean {
    return this.#openLength > 0 || this.#cut;
  }

  /** Bytes of the open line that `releaseOpen` could let go. */
  get waiting(): number {
    return this.#openLength;
  }

  add(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; at += slice) {
      this.#addSlice(at === 0 && bytes.length <= slice ? bytes : bytes.subarray(at, at + slice));
    }
  }

  /** Lets the open line go on its way as a piece, but for the bytes of a character that is not whole yet. */
  releaseOpen(): void {
    const end = characterEnd(this.#open, this.#openLength);
    if (end > 0) this.#piece(end);
  }

  /** The input has ended, or something else is to begin a line of its own: an open line ends here. */
  endLine(): void {
    if (!this.isOpen) return;
    this.#sink(this.#open.subarray(0, this.#openLength), 1, this.#typeOfOpen(), false);
    this.#openLength = 0;
    this.#cut = false;
  }

  #addSlice(bytes: Buffer): void {
    let from = 0;
    if (this.isOpen) {
      const end = bytes.indexOf(newline);
      this.#keep(end < 0 ? bytes : bytes.subarray(0, end));
      if (end < 0) return;
      this.endLine();
      from = end + 1;
    }
    const last = bytes.lastIndexOf(newline);
    if (last >= from) {
      this.#lines(bytes, from, last);
      from = last + 1;
    }
    if (from < bytes.length) this.#keep(bytes.subarray(from));
  }

  /** Whole lines: the last one ends at `last`. A slice is no longer than a line may be, so none has to be cut. */
  #lines(bytes: Buffer, from: number, last: number): void {
    let runStart = from;
    let count = 0;
    for (let start = from; start <= last; ) {
      const end = bytes.indexOf(newline, start);
      if (startsStep(bytes, start, end)) {
        if (count > 0) this.#sink(bytes.subarray(runStart, start - 1), count, undefined, false);
        this.#sink(bytes.subarray(start, end), 1, 'command', false);
        runStart = end + 1;
        count = 0;
      } else {
        count++;
      }
      start = end + 1;
    }
    if (count > 0) this.#sink(bytes.subarray(runStart, last), count, undefined, false);
  }

  #keep(bytes: Buffer): void {
    let from = 0;
    while (from < bytes.length) {
      // Full only now that another byte has come: a line of exactly the longest length is not cut.
      if (this.#openLength === longestLine) this.#piece(characterEnd(this.#open, longestLine) || longestLine);
      const copied = bytes.copy(this.#open, this.#openLength, from);
      this.#openLength += copied;
      from += copied;
    }
  }

  #piece(end: number): void {
    this.#sink(this.#open.subarray(0, end), 1, this.#typeOfOpen(), true);
    this.#open.copyWithin(0, end, this.#openLength);
    this.#openLength -= end;
    this.#cut = true;
  }

  #typeOfOpen(): 'command' | undefined {
    return !this.#cut && startsStep(this.#open, 0, this.#openLength) ? 'command' : undefined;
  }
}

/**
 * Where the last whole UTF-8 character before `end` ends. Bytes that are not UTF-8 at all are taken as they are.
 */
export function characterEnd(bytes: Buffer, end: number): number {
  for (let back = 1; back <= 3 && back <= end; back++) {
    const byte = bytes[end - back] ?? 0;
    if (byte < 0x80) return end;
    if (byte >= 0xc0) {
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return length > back ? end - back : end;
    }
  }
  return end;
}

const newline = 10;
