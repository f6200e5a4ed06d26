/**
 * Follows raw output line by line in bounded memory: each line is handed on (its first `lineLimit` bytes), and the
 * last lines are kept, to explain a failure from. Bytes are decoded as UTF-8 with replacement.
 */
export class OutputTail {
  readonly #onLine: (line: string) => void;
  readonly #kept: string[] = [];
  #line: Buffer[] = [];
  #lineLength = 0;

  constructor(onLine: (line: string) => void = () => {}) {
    this.#onLine = onLine;
  }

  add(bytes: Buffer): void {
    let from = 0;
    for (;;) {
      const end = bytes.indexOf(newline, from);
      if (end < 0) break;
      this.#append(bytes.subarray(from, end));
      this.#endLine();
      from = end + 1;
    }
    this.#append(bytes.subarray(from));
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
    const line = Buffer.concat(this.#line).toString('utf8');
    this.#line = [];
    this.#lineLength = 0;
    this.#kept.push(line);
    if (this.#kept.length > keptLines) this.#kept.shift();
    this.#onLine(line);
  }
}

const newline = 0x0a;
export const lineLimit = 8 * 1024;
export const keptLines = 50;
