import type { Clock } from '../base/clock.ts';
import type { ExecutorErrorCode } from './executor-error.ts';
import type { StartResult } from './watched-executor.ts';

/** `at`: milliseconds since 1970. */
export interface StartFailure {
  readonly at: number;
  readonly code: ExecutorErrorCode;
  readonly message: string;
}

/** Failures that are kept. */
const kept = 5;

/** How the last starts of one executor went. That there was no room is no failure. */
export class StartHistory {
  readonly #clock: Clock;
  readonly #failures: StartFailure[] = [];
  #lastStart: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(result: StartResult): void {
    const at = this.#clock.now();
    if (result.kind === 'started') this.#lastStart = at;
    else if (result.code !== 'at-capacity') {
      this.#failures.unshift({ at, code: result.code, message: result.message });
      this.#failures.length = Math.min(this.#failures.length, kept);
    }
  }

  /** When a worker was last started. */
  get lastStart(): number | undefined {
    return this.#lastStart;
  }

  /** The newest first. */
  get failures(): readonly StartFailure[] {
    return [...this.#failures];
  }
}
