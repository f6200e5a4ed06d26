import { type Clock, systemClock } from '../base/clock.ts';
import { formatBytes } from './format.ts';
import type { Terminal } from './terminal.ts';

/**
 * One line on a terminal that is rewritten in place, at most ten times a second; nothing at all into a pipe, where the
 * caller prints a plain sentence when it is over.
 */
export class ProgressLine {
  readonly #terminal: Pick<Terminal, 'interactive' | 'stderr' | 'columns'>;
  readonly #label: string;
  #last = 0;
  #shown = false;

  readonly #clock: Pick<Clock, 'now'>;

  constructor(
    terminal: Pick<Terminal, 'interactive' | 'stderr' | 'columns'>,
    label: string,
    clock: Pick<Clock, 'now'> = systemClock,
  ) {
    this.#terminal = terminal;
    this.#label = label;
    this.#clock = clock;
  }

  update(done: number, total: number | undefined, note = ''): void {
    if (!this.#terminal.interactive) return;
    const now = this.#clock.now();
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
