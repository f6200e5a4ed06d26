import { messageOf } from '../base/coded-error.ts';
import { type BuildView, buildPath, type Client } from './client.ts';
import { prompt } from './prompt.ts';
import { printLine, type Terminal } from './terminal.ts';

type State = 'following' | 'asking' | 'cancelling';

/**
 * What Ctrl-C does while a build is followed.
 *
 * | state      | Ctrl-C                                                                   |
 * |------------|--------------------------------------------------------------------------|
 * | following  | asks whether to cancel; without a terminal to ask on it stops following   |
 * | asking     | stops following                                                           |
 * | cancelling | stops following                                                           |
 *
 * Stopping leaves the build as it is. The answer yes cancels it, and following goes on to its end.
 */
export class Interrupts {
  readonly #terminal: Terminal;
  readonly #client: Client;
  readonly #build: BuildView;
  readonly #stop = new AbortController();
  readonly #over = new AbortController();
  readonly #unsubscribe: () => void;
  #state: State = 'following';
  #question: Promise<void> | undefined;
  #cancelled = false;

  constructor(terminal: Terminal, client: Client, build: BuildView) {
    this.#terminal = terminal;
    this.#client = client;
    this.#build = build;
    this.#unsubscribe = terminal.onInterrupt(() => this.#interrupt());
  }

  /** Fires when following is to stop. */
  get stop(): AbortSignal {
    return this.#stop.signal;
  }

  /** Whether the person had the build cancelled. */
  get cancelled(): boolean {
    return this.#cancelled;
  }

  /** Whether a question is open. */
  get asking(): boolean {
    return this.#state === 'asking';
  }

  /** Waits while a question is open, so that nothing is printed over it. */
  async settled(): Promise<void> {
    await this.#question;
  }

  /** Takes an open question back and hands Ctrl-C back to the process. */
  async end(): Promise<void> {
    this.#unsubscribe();
    this.#over.abort();
    await this.#question;
  }

  #interrupt(): void {
    const { stdin, interactive } = this.#terminal;
    if (this.#state !== 'following' || !interactive || stdin.isTTY !== true) {
      this.#stop.abort(new Error('interrupted'));
      return;
    }
    this.#state = 'asking';
    this.#question = this.#ask();
  }

  async #ask(): Promise<void> {
    const answer = await prompt(
      this.#terminal,
      '\nCancel the build? [y/N] (Ctrl-C again stops following only) ',
      { signal: AbortSignal.any([this.#over.signal, this.#stop.signal]) },
    );
    if (this.#over.signal.aborted) return;
    if (answer.kind === 'interrupted') this.#stop.abort(new Error('interrupted'));
    this.#state = 'following';
    if (answer.kind !== 'answer' || !/^y(es)?$/i.test(answer.text.trim())) return;
    this.#state = 'cancelling';
    // Before the answer: the build's end may come first.
    this.#cancelled = true;
    try {
      await this.#client.delete(buildPath(this.#build));
    } catch (error) {
      this.#cancelled = false;
      this.#state = 'following';
      printLine(this.#terminal.stderr, messageOf(error));
    }
  }
}
