import type { Clock } from '../base/clock.ts';
import type { AttemptId } from '../model/ids.ts';
import type { Orchestrator, OrchestratorEvent } from './orchestrator.ts';

interface Tracked {
  /** By the steady clock. */
  at: number;
  ttl: number;
  readonly end: AbortController;
}

/**
 * The orchestrator of a single process. An attempt is tracked from its first beat until it expires or is forgotten;
 * meanwhile exactly one sleeper waits for it.
 */
export class MemoryOrchestrator implements Orchestrator {
  readonly connected = true;
  readonly #clock: Clock;
  readonly #steady: () => number;
  readonly #tracked = new Map<AttemptId, Tracked>();
  readonly #listeners = new Set<(event: OrchestratorEvent) => void>();
  readonly #sleepers = new Set<Promise<void>>();
  #closed = false;

  /** `steady`: milliseconds since any fixed moment, never set; the process's own unless given. */
  constructor({ clock, steady }: { readonly clock: Clock; readonly steady?: () => number }) {
    this.#clock = clock;
    this.#steady = steady ?? (() => performance.now());
  }

  async beat(attemptId: AttemptId, ttl: number): Promise<void> {
    if (this.#closed) return;
    const known = this.#tracked.get(attemptId);
    if (known !== undefined) {
      const sooner = ttl < known.ttl;
      known.at = this.#steady();
      known.ttl = ttl;
      if (!sooner) return;
      known.end.abort();
    }
    const tracked: Tracked = { at: this.#steady(), ttl, end: new AbortController() };
    this.#tracked.set(attemptId, tracked);
    const sleeper = this.#expire(attemptId, tracked).finally(() => this.#sleepers.delete(sleeper));
    this.#sleepers.add(sleeper);
  }

  async #expire(attemptId: AttemptId, tracked: Tracked): Promise<void> {
    for (;;) {
      const left = Math.ceil(tracked.at + tracked.ttl - this.#steady());
      if (left <= 0) break;
      try {
        await this.#clock.sleep(left, tracked.end.signal);
      } catch {
        return;
      }
    }
    if (this.#tracked.get(attemptId) === tracked) this.#tracked.delete(attemptId);
    this.#tell({ kind: 'expired', attemptId });
  }

  async lastBeat(attemptId: AttemptId): Promise<number | undefined> {
    const tracked = this.#tracked.get(attemptId);
    return tracked === undefined ? undefined : Math.round(this.#clock.now() - (this.#steady() - tracked.at));
  }

  async forget(attemptId: AttemptId): Promise<void> {
    this.#tracked.get(attemptId)?.end.abort();
    this.#tracked.delete(attemptId);
  }

  async publish(event: OrchestratorEvent): Promise<void> {
    if (!this.#closed) this.#tell(event);
  }

  subscribe(listen: (event: OrchestratorEvent) => void): () => void {
    const own = (event: OrchestratorEvent) => listen(event);
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }

  #tell(event: OrchestratorEvent): void {
    for (const listen of [...this.#listeners]) listen(event);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#listeners.clear();
    for (const { end } of this.#tracked.values()) end.abort();
    this.#tracked.clear();
    await Promise.all(this.#sleepers);
  }
}
