import type { Accounts, Principal } from './accounts.ts';
import type { LoginLimiter } from './login-limiter.ts';
import { PasswordsBusy } from './password-hash.ts';
import { looksLikeToken } from './personal-token.ts';

export type SignInVerdict =
  | { readonly kind: 'accepted'; readonly principal: Principal }
  | { readonly kind: 'refused' }
  /** Too many failures; `retryAfter` is milliseconds. The credentials were not looked at. */
  | { readonly kind: 'locked'; readonly retryAfter: number }
  /** Too many checks at once. */
  | { readonly kind: 'busy' };

/** The user name that says that the password is a token, whoever's it is. */
const tokenUser = '$oauthtoken';

/**
 * Signs in by user name and password, where the password may be a personal token; robots by their token. The only place that checks a
 * password on behalf of somebody outside, so that failures are counted wherever they come from.
 */
export class SignIn {
  readonly #accounts: Accounts;
  readonly #limiter: LoginLimiter;

  constructor(accounts: Accounts, limiter: LoginLimiter) {
    this.#accounts = accounts;
    this.#limiter = limiter;
  }

  async check(
    { username, password }: { readonly username: string; readonly password: string },
    address: string,
  ): Promise<SignInVerdict> {
    return await this.#counted(username, address, () => this.#verify(username, password));
  }

  /** As `check`, for a password alone: a token is none. */
  async checkPassword(
    { username, password }: { readonly username: string; readonly password: string },
    address: string,
  ): Promise<SignInVerdict> {
    return await this.#counted(username, address, () => this.#accounts.verifyPassword(username, password));
  }

  async #counted(
    username: string,
    address: string,
    verify: () => Promise<Principal | undefined>,
  ): Promise<SignInVerdict> {
    const retryAfter = await this.#limiter.lockedFor(username, address);
    if (retryAfter > 0) return { kind: 'locked', retryAfter };
    let principal: Principal | undefined;
    try {
      principal = await verify();
    } catch (thrown) {
      if (thrown instanceof PasswordsBusy) return { kind: 'busy' };
      throw thrown;
    }
    if (principal === undefined) {
      await this.#limiter.failed(username, address);
      return { kind: 'refused' };
    }
    await this.#limiter.succeeded(username, address);
    return { kind: 'accepted', principal };
  }

  async #verify(username: string, password: string): Promise<Principal | undefined> {
    if (username === tokenUser) return await this.#accounts.verifyToken(password);
    if (username.includes('+')) {
      const robot = await this.#accounts.verifyToken(password);
      return robot?.kind === 'robot' && robot.name === username ? robot : undefined;
    }
    if (looksLikeToken(password)) {
      const owner = await this.#accounts.verifyToken(password);
      if (owner?.kind === 'user' && owner.username === username) return owner;
    }
    return await this.#accounts.verifyPassword(username, password);
  }
}
