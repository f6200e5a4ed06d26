import type { Clock } from '../../base/clock.ts';
import type { TokenKeeper } from '../git-host.ts';
import { HostError } from '../host-error.ts';
import { formatHostToken, type HostToken, parseHostToken } from './host-token.ts';

/** Gets a new token for a refresh token. */
export type Renew = (refresh: string) => Promise<HostToken>;

/** A token is renewed so long before it expires: a request takes its time, and clocks differ. */
const margin = 2 * 60_000;

/** Renewals that are under way in this process, by refresh token: many clients of a trigger may notice at once. */
export type Renewals = Map<string, Promise<HostToken>>;

/**
 * A token that is renewed before it expires, and when the host refuses it. Of several who renew the same one only one
 * wins, so the others look at what is kept before and after.
 */
export class LivingToken {
  #token: HostToken;
  readonly #renew: Renew | undefined;
  readonly #keeper: TokenKeeper | undefined;
  readonly #clock: Clock;
  readonly #renewals: Renewals;

  constructor(options: {
    readonly token: string;
    readonly renew: Renew | undefined;
    readonly keeper: TokenKeeper | undefined;
    readonly clock: Clock;
    readonly renewals: Renewals;
  }) {
    this.#token = parseHostToken(options.token);
    this.#renew = options.renew;
    this.#keeper = options.keeper;
    this.#clock = options.clock;
    this.#renewals = options.renewals;
  }

  /** What to send now. */
  async current(signal: AbortSignal): Promise<string> {
    if (this.#isOld(this.#token) && this.#token.refresh !== undefined)
      return await this.#next(this.#token, signal);
    return this.#token.access;
  }

  /** Another one than `refused`, or undefined when there is none to be had. */
  async afterRefusal(refused: string, signal: AbortSignal): Promise<string | undefined> {
    if (this.#token.access !== refused) return this.#token.access;
    if (this.#token.refresh === undefined) return undefined;
    return await this.#next(this.#token, signal);
  }

  #isOld({ expiresAt }: HostToken): boolean {
    return expiresAt !== undefined && expiresAt - margin <= this.#clock.now();
  }

  async #next(old: HostToken, signal: AbortSignal): Promise<string> {
    const { refresh } = old;
    if (refresh === undefined || this.#renew === undefined) return old.access;
    let renewal = this.#renewals.get(refresh);
    if (renewal === undefined) {
      // Not bound to the signal of whoever comes first: the host may have given the new token away already.
      renewal = this.#replace(old, refresh, this.#renew).finally(() => this.#renewals.delete(refresh));
      this.#renewals.set(refresh, renewal);
    }
    this.#token = await untilAborted(renewal, signal);
    return this.#token.access;
  }

  async #replace(old: HostToken, refresh: string, renew: Renew): Promise<HostToken> {
    const kept = await this.#kept(old);
    if (kept !== undefined) return kept;
    let token: HostToken;
    try {
      token = await renew(refresh);
    } catch (thrown) {
      // Somebody else may have been faster, and is about to keep what it got.
      for (let look = 0; look < 3; look++) {
        const other = await this.#kept(old);
        if (other !== undefined) return other;
        if (!(thrown instanceof HostError && thrown.code === 'unauthorized') || this.#keeper === undefined)
          break;
        await this.#clock.sleep(500);
      }
      throw thrown;
    }
    // Hosts that do not give a new refresh token go on taking the old one.
    const complete = { ...token, refresh: token.refresh ?? refresh };
    await this.#keeper?.renewed(formatHostToken(complete));
    return complete;
  }

  async #kept(old: HostToken): Promise<HostToken | undefined> {
    const text = await this.#keeper?.latest();
    if (text === undefined) return undefined;
    const token = parseHostToken(text);
    return token.access === old.access || this.#isOld(token) ? undefined : token;
  }
}

async function untilAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  const cancelled = () => new HostError('cancelled', 'The request was cancelled while a token was renewed.');
  if (signal.aborted) {
    promise.catch(() => {});
    throw cancelled();
  }
  return await new Promise<Value>((resolve, reject) => {
    const stop = () => reject(cancelled());
    signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
