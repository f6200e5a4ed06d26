import type { Clock } from '../base/clock.ts';

export interface RecurringTaskOptions {
  readonly clock: Clock;
  /** Milliseconds from the end of one round to the next. */
  readonly every: number;
  /** Milliseconds after a round that did something, in which more gathers for the next one; none unless given. */
  readonly gather?: number;
  /** One round; true: there is more to do at once. */
  readonly work: (signal: AbortSignal) => Promise<boolean | undefined>;
  /** Told when a round failed; the next one comes all the same. */
  readonly onError: (thrown: unknown) => void;
}

/** Work that is done again and again in the background, from `start` to `stop`, and at once when it is woken. */
export class RecurringTask {
  readonly #options: RecurringTaskOptions;
  #stopping = new AbortController();
  #running: Promise<void> | undefined;
  #waiting: AbortController | undefined;
  #woken = false;

  constructor(options: RecurringTaskOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#running !== undefined) return;
    this.#stopping = new AbortController();
    this.#running = this.#run(this.#stopping.signal);
  }

  /** There is something to do. */
  wake(): void {
    this.#woken = true;
    this.#waiting?.abort();
  }

  /** Resolves when the round that is under way has ended. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#waiting?.abort();
    await this.#running;
    this.#running = undefined;
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#woken = false;
      let more = false;
      try {
        more = (await this.#options.work(signal)) === true;
      } catch (thrown) {
        if (!signal.aborted) this.#options.onError(thrown);
      }
      if (signal.aborted) return;
      if (more) await this.#options.clock.sleep(this.#options.gather ?? 0, signal).catch(() => {});
      else if (!this.#woken) await this.#wait();
    }
  }

  async #wait(): Promise<void> {
    this.#waiting = new AbortController();
    try {
      await this.#options.clock.sleep(this.#options.every, this.#waiting.signal);
    } catch {
      // Woken, or to be stopped.
    }
    this.#waiting = undefined;
  }
}
