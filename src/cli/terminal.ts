import type { Readable, Writable } from 'node:stream';

/** What a command may know of where it runs; made by the composition root, so that commands read no globals. */
export interface Terminal {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** stdout and stderr are a terminal: a progress line, questions. */
  readonly interactive: boolean;
  readonly colour: boolean;
  /** Columns of the terminal; 80 when unknown. */
  readonly columns: () => number;
  readonly cwd: string;
  /** Where the profile is kept. */
  readonly profileFile: string;
  /** Overrides from the environment. */
  readonly server: string | undefined;
  readonly token: string | undefined;
  /** Calls back on Ctrl-C until the returned function is called; without a listener the process ends as usual. */
  readonly onInterrupt: (listener: () => void) => () => void;
}

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

const codes: Record<Style, readonly [number, number]> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
};

export function paint(terminal: Pick<Terminal, 'colour'>, style: Style, text: string): string {
  if (!terminal.colour) return text;
  const [on, off] = codes[style];
  return `\u001b[${on}m${text}\u001b[${off}m`;
}

/** Writes, and waits when the terminal or the pipe is slower than we are, so that memory stays bounded. */
export async function writeAll(stream: Writable, text: string | Uint8Array): Promise<void> {
  if (text.length === 0 || stream.write(text) || stream.destroyed) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      stream.off('drain', done);
      stream.off('close', done);
      resolve();
    };
    stream.on('drain', done);
    stream.on('close', done);
  });
}

/** What comes on standard input up to the first end of a line. */
export async function firstLineOf(input: Readable): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const chunk of input) parts.push(Buffer.from(chunk));
  return Buffer.concat(parts).toString('utf8').split(/\r?\n/, 1)[0] ?? '';
}

export function printLine(stream: Writable, text = ''): void {
  stream.write(`${text}\n`);
}
