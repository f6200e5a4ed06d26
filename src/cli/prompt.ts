import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { printLine, type Terminal } from './terminal.ts';

export type Answer =
  | { readonly kind: 'answer'; readonly text: string }
  /** Ctrl-C, or the signal fired. */
  | { readonly kind: 'interrupted' }
  /** End of input (Ctrl-D). */
  | { readonly kind: 'closed' };

/**
 * Asks on the terminal. While a question is open the terminal is read key by key, so Ctrl-C comes as an answer and not
 * as a signal; afterwards it is as it was before. Hidden answers are not shown while they are typed.
 */
export async function prompt(
  terminal: Pick<Terminal, 'stdin' | 'stderr'>,
  question: string,
  { hidden = false, signal }: { readonly hidden?: boolean; readonly signal?: AbortSignal } = {},
): Promise<Answer> {
  let quiet = false;
  const output = new Writable({
    write: (chunk, _encoding, done) => {
      if (!quiet) terminal.stderr.write(chunk);
      done();
    },
  });
  const reader = createInterface({ input: terminal.stdin, output, terminal: true, historySize: 0 });
  try {
    const answer = await new Promise<Answer>((resolve) => {
      const interrupted = () => resolve({ kind: 'interrupted' });
      reader.once('SIGINT', interrupted);
      reader.once('close', () => resolve({ kind: 'closed' }));
      if (signal?.aborted) interrupted();
      signal?.addEventListener('abort', interrupted, { once: true });
      reader.question(question, (text) => resolve({ kind: 'answer', text }));
      quiet = hidden;
    });
    if (hidden || answer.kind !== 'answer') printLine(terminal.stderr);
    return answer;
  } finally {
    reader.close();
  }
}
