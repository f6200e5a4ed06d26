import type { FollowEvent } from './follow.ts';
import type { Interrupts } from './interrupts.ts';

export type Show = (event: FollowEvent) => Promise<void>;

/** Events held back while a question is open; beyond that the server is read no further. */
const mostHeld = 16;

/** Shows events in order, and none while a question is open; what comes meanwhile is held, so the end is noticed. */
export class Printing {
  readonly #show: Show;
  readonly #interrupts: Interrupts;
  #last: Promise<void> = Promise.resolve();
  #held = 0;

  constructor(show: Show, interrupts: Interrupts) {
    this.#show = show;
    this.#interrupts = interrupts;
  }

  async add(event: FollowEvent): Promise<void> {
    this.#held += 1;
    this.#last = this.#print(this.#last, event);
    // Whoever waits for the last one gets it; until then it is nobody's.
    this.#last.catch(() => {});
    if (!this.#interrupts.asking || this.#held > mostHeld) await this.#last;
  }

  async over(): Promise<void> {
    await this.#last;
  }

  async #print(before: Promise<void>, event: FollowEvent): Promise<void> {
    await before;
    await this.#interrupts.settled();
    await this.#show(event);
    this.#held -= 1;
  }
}
