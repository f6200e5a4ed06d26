import { backOff } from '../base/back-off.ts';
import type { Clock } from '../base/clock.ts';
import type { OrchestratorError } from './orchestrator-error.ts';
import { translateRedisError } from './redis-errors.ts';
import { RedisSession, type RedisSessionOptions } from './redis-session.ts';

export type RedisState =
  | { readonly kind: 'connected' }
  /** Milliseconds until the next try. */
  | { readonly kind: 'disconnected'; readonly error: OrchestratorError; readonly retryIn: number };

export interface RedisLinkOptions {
  readonly session: RedisSessionOptions;
  readonly clock: Clock;
  /** Milliseconds. */
  readonly backOff: { readonly first: number; readonly cap: number };
  readonly onConnected: () => void;
  readonly onState: (state: RedisState) => void;
}

/**
 * Keeps a session with Redis, and opens another when it is over.
 *
 * | state     | session   | left when                                           |
 * |-----------|-----------|-----------------------------------------------------|
 * | opening   | undefined | it is open (connected), or it failed (waiting)      |
 * | connected | there     | it is over (waiting)                                |
 * | waiting   | undefined | the back-off, which grows with every try, is over   |
 * | closed    | undefined | never                                               |
 */
export class RedisLink {
  readonly #options: RedisLinkOptions;
  readonly #closing = new AbortController();
  #session: RedisSession | undefined;
  #running: Promise<void> = Promise.resolve();
  #firstTry: (error: OrchestratorError | undefined) => void = () => {};

  constructor(options: RedisLinkOptions) {
    this.#options = options;
  }

  /** The session, while there is one. */
  get session(): RedisSession | undefined {
    return this.#session;
  }

  /** Resolves when the first try was made: with undefined, or with why it failed. It is tried on in any case. */
  start(): Promise<OrchestratorError | undefined> {
    const first = new Promise<OrchestratorError | undefined>((resolve) => {
      this.#firstTry = resolve;
    });
    this.#running = this.#run();
    return first;
  }

  async #run(): Promise<void> {
    const { clock, onState } = this.#options;
    const { signal } = this.#closing;
    for (let tries = 0; !signal.aborted; tries += 1) {
      const began = clock.now();
      const error = await this.#oneSession(signal);
      if (signal.aborted) return;
      if (clock.now() - began > this.#options.backOff.cap) tries = 0;
      const retryIn = backOff(tries, this.#options.backOff);
      onState({ kind: 'disconnected', error, retryIn });
      this.#firstTry(error);
      await clock.sleep(retryIn, signal).catch(() => {});
    }
  }

  /** Lives as long as one session; returns why it ended, or could not begin. */
  async #oneSession(signal: AbortSignal): Promise<OrchestratorError> {
    let session: RedisSession;
    try {
      session = await RedisSession.open(this.#options.session, signal);
    } catch (thrown) {
      return translateRedisError(thrown, this.#options.session.server);
    }
    try {
      this.#session = session;
      this.#options.onConnected();
      this.#options.onState({ kind: 'connected' });
      this.#firstTry(undefined);
      const stop = () => session[Symbol.dispose]();
      signal.addEventListener('abort', stop, { once: true });
      const error = await session.over;
      signal.removeEventListener('abort', stop);
      return error;
    } finally {
      this.#session = undefined;
      session[Symbol.dispose]();
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#firstTry(undefined);
    await this.#running;
  }
}
