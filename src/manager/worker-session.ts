import type { WorkerStage } from '../model/attempt.ts';

import type { WorkerIdentity } from './worker-sessions.ts';

const rememberedPhases = 64;

/**
 * What one process remembers of a worker that talks to it. All of it may be lost: the queue knows the attempt, and a
 * worker that comes back after a restart is served from there.
 */
export class WorkerSession {
  /** What the queue says of the attempt, too. */
  proven: WorkerIdentity | undefined;
  /** The registration whose worker has the attempt, since it was heard: it has its build pack. As the queue said. */
  heard: number | undefined;
  /** It asked for its build, at this manager or another, and could not be answered. */
  unserved = false;
  /** The worker's last report is being looked into. */
  reporting = false;
  /** The attempt is being ended as the worker reported, or was a moment ago. */
  concluding = false;
  /** The worker itself brought the attempt to its end. */
  ended = false;
  cancelled = false;
  /** The last stage whose entry in the log this process knows of. */
  stage: WorkerStage | undefined;
  readonly #listeners = new Set<() => void>();
  readonly #answers = new Map<number, Promise<boolean>>();
  #last: Promise<unknown> = Promise.resolve();

  /** Reports are taken one after the other; one that is repeated, even while it is under way, gets the same answer. */
  answer(sequence: number, take: () => Promise<boolean>): Promise<boolean> {
    const known = this.#answers.get(sequence);
    if (known !== undefined) return known;
    const answer = this.#last.then(take);
    this.#last = answer.catch(() => {});
    this.#answers.set(sequence, answer);
    answer.catch(() => this.#answers.delete(sequence));
    if (this.#answers.size > rememberedPhases) {
      const [oldest] = this.#answers.keys();
      if (oldest !== undefined) this.#answers.delete(oldest);
    }
    return answer;
  }

  onCancel(tell: () => void): () => void {
    const own = () => tell();
    if (this.cancelled) own();
    else this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }

  cancel(): void {
    this.cancelled = true;
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) listener();
  }

  get listened(): boolean {
    return this.#listeners.size > 0;
  }
}
