import type { Accounts, Principal } from './accounts.ts';
import { AddressTurns } from './address-turns.ts';
import type { LoginLimiter } from './login-limiter.ts';
import { PasswordsBusy } from './password-hash.ts';
import { looksLikeToken } from './personal-token.ts';
import { looksLikeRobotToken } from './robot-token.ts';

interface Credentials {
  readonly username: string;
  readonly password: string;
}

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
 * password on behalf of somebody outside, so that failures are counted wherever they come from. A token that is right is
 * taken whatever is locked: nobody guesses one, so a lock would keep out only whom it belongs to.
 */
export class SignIn {
  readonly #accounts: Accounts;
  readonly #limiter: LoginLimiter;
  readonly #turns = new AddressTurns();

  constructor(accounts: Accounts, limiter: LoginLimiter) {
    this.#accounts = accounts;
    this.#limiter = limiter;
  }

  async check(credentials: Credentials, address: string): Promise<SignInVerdict> {
    const principal = await this.#byToken(credentials);
    return principal === undefined
      ? await this.checkPassword(credentials, address)
      : { kind: 'accepted', principal };
  }

  /** As `check`, for a password alone: a token is none. */
  async checkPassword({ username, password }: Credentials, address: string): Promise<SignInVerdict> {
    try {
      return await this.#turns.take(address, async () => {
        const attempt = await this.#limiter.begin(username, address);
        if (typeof attempt === 'number') return { kind: 'locked', retryAfter: attempt };
        let principal: Principal | undefined;
        try {
          principal = hasToken(username)
            ? undefined
            : await this.#accounts.verifyPassword(username, password);
        } catch (thrown) {
          await attempt.withdraw();
          throw thrown;
        }
        if (principal === undefined) return { kind: 'refused' };
        await attempt.succeeded();
        return { kind: 'accepted', principal };
      });
    } catch (thrown) {
      if (thrown instanceof PasswordsBusy) return { kind: 'busy' };
      throw thrown;
    }
  }

  async #byToken({ username, password }: Credentials): Promise<Principal | undefined> {
    if (!looksLikeToken(password) && !looksLikeRobotToken(password)) return undefined;
    const owner = await this.#accounts.verifyToken(password);
    if (owner === undefined || owner.kind === 'anonymous') return undefined;
    const name = owner.kind === 'user' ? owner.username : owner.name;
    return username === tokenUser || username === name ? owner : undefined;
  }
}

/** Whether nobody of this name has a password. */
function hasToken(username: string): boolean {
  return username === tokenUser || username.includes('+');
}
