/** Says whether a line must be handed on; it is `bytes` from `start` to before `end`, or its first `lineLimit` bytes. */
export type LineTest = (bytes: Buffer, start: number, end: number) => boolean;

/**
 * Follows raw output line by line in bounded memory: lines that `wants` names are handed on (their first `lineLimit`
 * bytes), and the last lines are kept, to explain a failure from. Only these are decoded, as UTF-8 with replacement:
 * a build writes far more than anybody looks at here.
 */
export class OutputTail {
  readonly #onLine: (line: string) => void;
  readonly #wants: LineTest;
  readonly #kept: string[] = [];
  /** Where the last lines of the bytes in hand begin and end, in turns. */
  readonly #bounds = new Int32Array(2 * keptLines);
  #line: Buffer[] = [];
  #lineLength = 0;

  constructor(onLine: (line: string) => void = () => {}, wants: LineTest = () => true) {
    this.#onLine = onLine;
    this.#wants = wants;
  }

  add(bytes: Buffer): void {
    let from = 0;
    if (this.#lineLength > 0) {
      const end = bytes.indexOf(newline);
      this.#append(end < 0 ? bytes : bytes.subarray(0, end));
      if (end < 0) return;
      this.#endLine();
      from = end + 1;
    }
    from = this.#wholeLines(bytes, from);
    this.#append(bytes.subarray(from));
  }

  #wholeLines(bytes: Buffer, start: number): number {
    const bounds = this.#bounds;
    let from = start;
    let count = 0;
    for (let end = bytes.indexOf(newline, from); end >= 0; end = bytes.indexOf(newline, from)) {
      const last = Math.min(end, from + lineLimit);
      if (this.#wants(bytes, from, last)) this.#onLine(bytes.toString('utf8', from, last));
      const at = 2 * (count % keptLines);
      bounds[at] = from;
      bounds[at + 1] = last;
      count += 1;
      from = end + 1;
    }
    for (let line = Math.max(0, count - keptLines); line < count; line += 1) {
      const at = 2 * (line % keptLines);
      this.#keep(bytes.toString('utf8', bounds[at], bounds[at + 1]));
    }
    return from;
  }

  /** The last lines, oldest first; call when the output has ended. */
  lines(): readonly string[] {
    if (this.#lineLength > 0) this.#endLine();
    return this.#kept;
  }

  #append(bytes: Buffer): void {
    const room = lineLimit - this.#lineLength;
    if (room <= 0 || bytes.length === 0) return;
    // A copy: the chunk a line began in must not be kept alive by it.
    this.#line.push(Buffer.from(bytes.subarray(0, room)));
    this.#lineLength += Math.min(room, bytes.length);
  }

  #endLine(): void {
    const bytes = Buffer.concat(this.#line);
    const line = bytes.toString('utf8');
    this.#line = [];
    this.#lineLength = 0;
    if (this.#wants(bytes, 0, bytes.length)) this.#onLine(line);
    this.#keep(line);
  }

  #keep(line: string): void {
    this.#kept.push(line);
    if (this.#kept.length > keptLines) this.#kept.shift();
  }
}

const newline = 0x0a;
export const lineLimit = 8 * 1024;
export const keptLines = 50;
