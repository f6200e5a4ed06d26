import { PassThrough } from 'node:stream';
import type { Terminal } from '../../src/cli/terminal.ts';

/** A terminal in memory: what was printed, what is typed, and Ctrl-C. */
export class MemoryTerminal {
  readonly typed = Object.assign(new PassThrough(), { isTTY: false });
  readonly #out = collector();
  readonly #err = collector();
  readonly #listeners = new Set<() => void>();
  readonly terminal: Terminal;

  constructor(fields: Partial<Terminal> = {}) {
    this.typed.isTTY = fields.interactive === true;
    this.terminal = {
      stdin: this.typed,
      stdout: this.#out.stream,
      stderr: this.#err.stream,
      interactive: false,
      colour: false,
      columns: () => 80,
      cwd: '/',
      profileFile: '/nonexistent/slipway/profile.json',
      server: undefined,
      token: undefined,
      onInterrupt: (listener) => {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
      },
      ...fields,
    };
  }

  get printed(): string {
    return this.#out.text();
  }

  get complained(): string {
    return this.#err.text();
  }

  get listeningForInterrupts(): boolean {
    return this.#listeners.size > 0;
  }

  /** Ctrl-C as a signal, as it comes while no question is open. */
  interrupt(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}

function collector(): { stream: PassThrough; text: () => string } {
  const stream = new PassThrough();
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  return { stream, text: () => Buffer.concat(chunks).toString() };
}
