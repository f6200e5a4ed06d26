import type { Verdict } from './verdict.ts';

export interface PatienceOptions {
  /** Milliseconds a worker may take until it runs. */
  readonly toStart: number;
  /** Milliseconds an image that cannot be pulled is tried. */
  readonly toPull: number;
}

/**
 * How long each worker has been waiting for the same thing, as this process saw it. What waits too long is gone, with
 * what it waited for as the reason: so the build says that instead of "did not register in time".
 */
export class Patience {
  readonly #options: PatienceOptions;
  readonly #starting = new Map<string, number>();
  readonly #pulling = new Map<string, number>();

  constructor(options: PatienceOptions) {
    this.#options = options;
  }

  judge(worker: string, verdict: Verdict, now: number): Verdict {
    if (verdict.kind !== 'starting') {
      this.forget(worker);
      return verdict;
    }
    const { toStart, toPull } = this.#options;
    const { why } = verdict;
    if (why?.kind === 'image') {
      if (now - since(this.#pulling, worker, now) >= toPull)
        return { kind: 'gone', reason: why.reason, ask: 'events' };
    } else this.#pulling.delete(worker);
    if (now - since(this.#starting, worker, now) < toStart) return verdict;
    const reason = `The pod of the worker did not start within ${Math.round(toStart / 1000)} s. ${why?.reason ?? ''}`;
    return { kind: 'gone', reason: reason.trim(), ask: 'events' };
  }

  forget(worker: string): void {
    this.#starting.delete(worker);
    this.#pulling.delete(worker);
  }

  /** What it waits for is not known of workers that are not there any more. */
  keep(workers: { has(worker: string): boolean }): void {
    for (const worker of [...this.#starting.keys(), ...this.#pulling.keys()])
      if (!workers.has(worker)) this.forget(worker);
  }
}

function since(times: Map<string, number>, worker: string, now: number): number {
  const at = times.get(worker) ?? now;
  times.set(worker, at);
  return at;
}
