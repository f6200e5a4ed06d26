import { type Clock, systemClock } from '../base/clock.ts';
import { formatSpan } from './format.ts';
import { harmless } from './harmless-text.ts';
import { paint, type Terminal, writeAll } from './terminal.ts';

/** An entry of a build's log as the REST API gives it. */
export interface LogEntryView {
  readonly message: string;
  readonly type?: string;
  readonly data?: { readonly datetime?: string; readonly partial?: boolean; readonly [key: string]: unknown };
}

type PrintTarget = Pick<Terminal, 'stdout' | 'interactive' | 'colour'>;

const phaseTitles: Readonly<Record<string, string>> = {
  waiting: 'Waiting in the queue',
  'build-scheduled': 'Starting a worker',
  unpacking: 'Fetching and unpacking the source',
  pulling: 'Pulling base images',
  building: 'Building',
  pushing: 'Pushing',
  complete: 'Complete',
  error: 'Failed',
  internalerror: 'Failed for an internal reason',
  expired: 'Failed: no worker finished it',
  cancelled: 'Cancelled',
};

/** Prints entries as they come: phases as headings, steps in bold, errors in red; the text itself made harmless. */
export class LogPrinter {
  readonly #terminal: PrintTarget;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #started: number;
  #midLine = false;

  constructor(terminal: PrintTarget, clock: Pick<Clock, 'now'> = systemClock) {
    this.#terminal = terminal;
    this.#clock = clock;
    this.#started = clock.now();
  }

  /** Waits when the terminal or the pipe is slower than the build. */
  async print(entries: readonly LogEntryView[]): Promise<void> {
    let text = '';
    for (const entry of entries) text += this.#render(entry);
    await writeAll(this.#terminal.stdout, text);
  }

  #render(entry: LogEntryView): string {
    if (entry.type === 'phase') {
      const start = this.#midLine ? '\n' : '';
      this.#midLine = false;
      const title = phaseTitles[entry.message] ?? harmless(entry.message, false);
      const at = this.#terminal.interactive
        ? paint(this.#terminal, 'dim', ` (${formatSpan(this.#clock.now() - this.#started)})`)
        : '';
      return `${start}${paint(this.#terminal, 'cyan', `==> ${title}`)}${at}\n`;
    }
    const text = harmless(entry.message, this.#terminal.colour);
    const styled =
      entry.type === 'command'
        ? paint(this.#terminal, 'bold', text)
        : entry.type === 'error'
          ? paint(this.#terminal, 'red', text)
          : text;
    this.#midLine = entry.data?.partial === true;
    return this.#midLine ? styled : `${styled}\n`;
  }
}
