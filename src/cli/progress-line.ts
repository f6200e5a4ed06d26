import { formatBytes } from './format.ts';
import type { Terminal } from './terminal.ts';

/**
 * One line on a terminal that is rewritten in place, at most ten times a second; nothing at all into a pipe, where the
 * caller prints a plain sentence when it is over.
 */
export class ProgressLine {
  readonly #terminal: Terminal;
  readonly #label: string;
  #last = 0;
  #shown = false;

  constructor(terminal: Terminal, label: string) {
    this.#terminal = terminal;
    this.#label = label;
  }

  update(done: number, total: number | undefined, note = ''): void {
    if (!this.#terminal.interactive) return;
    const now = performance.now();
    if (now - this.#last < 100) return;
    this.#last = now;
    this.#shown = true;
    const bar = total === undefined || total === 0 ? '' : ` ${barOf(done / total, 24)}`;
    const amount = total === undefined ? formatBytes(done) : `${formatBytes(done)} of ${formatBytes(total)}`;
    const line = `${this.#label}${bar} ${amount}${note === '' ? '' : `, ${note}`}`;
    this.#terminal.stderr.write(`\r\u001b[2K${line.slice(0, this.#terminal.columns() - 1)}`);
  }

  /** Takes the line away. */
  end(): void {
    if (this.#shown) this.#terminal.stderr.write('\r\u001b[2K');
    this.#shown = false;
  }
}

function barOf(share: number, width: number): string {
  const full = Math.round(Math.max(0, Math.min(1, share)) * width);
  return `[${'#'.repeat(full)}${'.'.repeat(width - full)}]`;
}
