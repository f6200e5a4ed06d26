import type { BuildId } from '../model/ids.ts';

/**
 * Tells other managers that a log has grown or was closed, so that their readers look at once. May lose hints:
 * readers also poll.
 */
export interface LogHints {
  tell(buildId: BuildId): void;
  listen(wake: (buildId: BuildId) => void): () => void;
}

/** Readers of this process that wait for a log to grow. */
export class LogWaiters {
  readonly #waiting = new Map<BuildId, Set<() => void>>();

  /** Arm first, then look, then await: what comes in between is not missed. */
  arm(buildId: BuildId): { readonly woken: Promise<void>; disarm(): void } {
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiters = this.#waiting.get(buildId) ?? new Set();
    this.#waiting.set(buildId, waiters.add(resolve));
    return {
      woken: promise,
      disarm: () => {
        waiters.delete(resolve);
        if (waiters.size === 0 && this.#waiting.get(buildId) === waiters) this.#waiting.delete(buildId);
        resolve();
      },
    };
  }

  wake(buildId: BuildId): void {
    for (const resolve of this.#waiting.get(buildId) ?? []) resolve();
  }

  wakeAll(): void {
    for (const buildId of this.#waiting.keys()) this.wake(buildId);
  }

  get size(): number {
    return this.#waiting.size;
  }
}
