/** Promises nobody waits for at once: counted, their failures told, and waited for at the end. */
export class BackgroundTasks {
  readonly #failed: (thrown: unknown) => void;
  readonly #running = new Set<Promise<void>>();

  constructor(failed: (thrown: unknown) => void) {
    this.#failed = failed;
  }

  run(task: () => Promise<void>): void {
    const running = task()
      .catch(this.#failed)
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Resolves when none runs, also none that was begun meanwhile. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }
}
