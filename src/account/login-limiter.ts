import type { Clock } from '../base/clock.ts';

export interface LoginLimits {
  /** Failures of one user name before it is locked out. */
  readonly perUser: number;
  /** Failures from one address before it is locked out. */
  readonly perAddress: number;
  /** The first lock-out in milliseconds; it doubles with every further failure. */
  readonly firstLock: number;
  readonly longestLock: number;
  /** Milliseconds without a failure after which everything is forgotten. */
  readonly forgetAfter: number;
  /** Names and addresses remembered at most, each. */
  readonly remembered: number;
}

export const defaultLoginLimits: LoginLimits = {
  perUser: 5,
  perAddress: 30,
  firstLock: 2_000,
  longestLock: 15 * 60_000,
  forgetAfter: 60 * 60_000,
  remembered: 10_000,
};

interface Failures {
  count: number;
  lastAt: number;
  lockedUntil: number;
}

/**
 * Slows down guessing of passwords, by user name and by address. A user name is locked for an address only, once the
 * address is known to have failed with it: so nobody can lock another person out from elsewhere; guessing one name
 * from many addresses is bounded by a lock of the name that needs ten times as many failures. Memory is bounded: the
 * one that failed longest ago is forgotten first.
 */
export class LoginLimiter {
  readonly #clock: Clock;
  readonly #limits: LoginLimits;
  readonly #failures = new Map<string, Failures>();

  constructor(clock: Clock, limits: LoginLimits = defaultLoginLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /** Milliseconds until these may try again; 0 when they may now. */
  lockedFor(username: string, address: string): number {
    const now = this.#clock.now();
    const until = this.#keys(username, address).map(({ key }) => this.#failures.get(key)?.lockedUntil ?? 0);
    return Math.max(0, Math.max(...until) - now);
  }

  failed(username: string, address: string): void {
    const now = this.#clock.now();
    const { firstLock, longestLock, forgetAfter, remembered } = this.#limits;
    for (const { key, allowed } of this.#keys(username, address)) {
      const known = this.#failures.get(key);
      const count = known === undefined || now - known.lastAt > forgetAfter ? 1 : known.count + 1;
      const over = count - allowed;
      const lock = over < 0 ? 0 : Math.min(longestLock, firstLock * 2 ** Math.min(over, 30));
      // Deleted and set again, so that the map is in the order of the last failure.
      this.#failures.delete(key);
      this.#failures.set(key, { count, lastAt: now, lockedUntil: lock === 0 ? 0 : now + lock });
    }
    for (const key of this.#failures.keys()) {
      if (this.#failures.size <= remembered * 2) break;
      this.#failures.delete(key);
    }
  }

  /** A right password clears what this user failed from this address, but not the address's other failures. */
  succeeded(username: string, address: string): void {
    this.#failures.delete(pairKey(username, address));
  }

  get remembered(): number {
    return this.#failures.size;
  }

  #keys(username: string, address: string): readonly { key: string; allowed: number }[] {
    const { perUser, perAddress } = this.#limits;
    return [
      { key: pairKey(username, address), allowed: perUser },
      { key: `user ${username.slice(0, 255)}`, allowed: perUser * 10 },
      { key: `address ${network(address)}`, allowed: perAddress },
    ];
  }
}

function pairKey(username: string, address: string): string {
  return `pair ${network(address)} ${username.slice(0, 255)}`;
}

/** An IPv6 client has a /64 to itself at least, so that is what counts as one address. */
function network(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!address.includes(':')) return address;
  const [head = '', tail] = address.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const missing = tail === undefined ? 0 : 8 - left.length - right.length;
  return [...left, ...Array<string>(Math.max(0, missing)).fill('0'), ...right].slice(0, 4).join(':');
}
