import type { Clock } from '../base/clock.ts';

/** No worker can be started: `message` says what each executor said. `since`: milliseconds since 1970. */
export interface FailureAlert {
  readonly since: number;
  readonly message: string;
  /** All that take the builds it is about. */
  readonly executors: readonly string[];
}

/** Alerts at most: one for each set of executors that some build may run on. */
const most = 20;

/**
 * That every executor fails that some build may run on, and builds wait for it. It ends when one of them starts a worker.
 */
export class FailureAlerts {
  readonly #clock: Clock;
  readonly #onChange: () => void;
  readonly #alerts = new Map<string, FailureAlert>();

  constructor({ clock, onChange = () => {} }: { readonly clock: Clock; readonly onChange?: () => void }) {
    this.#clock = clock;
    this.#onChange = onChange;
  }

  raise(executors: readonly string[], message: string): void {
    const key = JSON.stringify(executors);
    const before = this.#alerts.get(key);
    if (before === undefined && this.#alerts.size >= most) return;
    this.#alerts.set(key, { since: before?.since ?? this.#clock.now(), message, executors });
    this.#onChange();
  }

  /** This one started a worker. */
  clear(executor: string): void {
    for (const [key, alert] of this.#alerts) {
      if (!alert.executors.includes(executor)) continue;
      this.#alerts.delete(key);
      this.#onChange();
    }
  }

  get all(): readonly FailureAlert[] {
    return [...this.#alerts.values()];
  }
}
