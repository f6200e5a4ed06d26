import { backOff } from '../base/back-off.ts';
import type { Clock } from '../base/clock.ts';
import { SteadyClock } from '../base/steady-clock.ts';

/** Times are milliseconds since 1970. */
export type BreakerState =
  | { readonly kind: 'closed' }
  /** Nothing is let through until then. */
  | { readonly kind: 'open'; readonly since: number; readonly until: number }
  /** One is let through, to see how it goes. */
  | { readonly kind: 'half-open'; readonly since: number };

export interface CircuitBreakerOptions {
  readonly clock: Clock;
  /** Milliseconds that go on whatever the time of day is set to; the process's own unless given. */
  readonly monotonic?: () => number;
  /** Failures one after another that open it. */
  readonly threshold?: number;
  /** Milliseconds it stays open the first time, and at most; each time twice as long as before, less a random part. */
  readonly first?: number;
  readonly cap?: number;
  readonly random?: () => number;
}

/**
 * Keeps from asking again and again what fails again and again.
 *
 * | state     | success | failure                        | lets through        |
 * |-----------|---------|--------------------------------|---------------------|
 * | closed    | closed  | open after so many in a row    | all                 |
 * | open      | closed  | open                           | none before `until` |
 * | half-open | closed  | open, for longer               | one at a time       |
 *
 * A success or failure in `open` is of a call that was let through before.
 */
export class CircuitBreaker {
  readonly #options: CircuitBreakerOptions;
  readonly #clock: Clock;
  #failures = 0;
  /** How often it has opened since it was closed. */
  #openings = 0;
  #open: { readonly since: number; readonly until: number } | undefined;
  #probing = false;

  constructor(options: CircuitBreakerOptions) {
    this.#options = options;
    this.#clock = new SteadyClock(options.clock, options.monotonic ?? (() => performance.now()));
  }

  get state(): BreakerState {
    if (this.#open === undefined) return { kind: 'closed' };
    const { since, until } = this.#open;
    return this.#clock.now() < until ? { kind: 'open', since, until } : { kind: 'half-open', since };
  }

  /** Failures one after another so far. */
  get failures(): number {
    return this.#failures;
  }

  /** Milliseconds until it lets one through; 0 when it does. */
  get wait(): number {
    return Math.max(0, (this.#open?.until ?? 0) - this.#clock.now());
  }

  /** Whether a call may be made now. Whoever is let through tells by `succeeded`, `failed` or `undecided`. */
  admit(): boolean {
    const { kind } = this.state;
    if (kind === 'closed') return true;
    if (kind === 'open' || this.#probing) return false;
    this.#probing = true;
    return true;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#openings = 0;
    this.#open = undefined;
    this.#probing = false;
  }

  failed(): void {
    const { threshold = 3, first = 10_000, cap = 300_000, random } = this.#options;
    this.#failures += 1;
    const { kind } = this.state;
    if (kind === 'open' || (kind === 'closed' && this.#failures < threshold)) return;
    // In half-open, one that was let through long ago says nothing new either.
    if (kind === 'half-open' && !this.#probing) return;
    this.#probing = false;
    const wait = backOff(this.#openings, { first, cap, ...(random === undefined ? {} : { random }) });
    this.#openings += 1;
    const now = this.#clock.now();
    this.#open = { since: this.#open?.since ?? now, until: now + wait };
  }

  /** It neither worked nor failed: it was given up, or there was no room. */
  undecided(): void {
    this.#probing = false;
  }
}
