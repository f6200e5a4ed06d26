import { createHash, randomBytes } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { type SecretBox, SecretBoxError } from '../db/secret-box.ts';
import { LoginError } from './login-error.ts';
import type { LoginAttempt } from './login-provider.ts';

/** Milliseconds somebody has to sign in at the provider. */
export const loginTime = 10 * 60_000;
const purpose = 'login by a provider';

/** A login that was begun, until the browser comes back. */
export interface BegunLogin extends LoginAttempt {
  readonly provider: string;
  /** Where the browser goes in the end; a path. */
  readonly next: string;
  /** The user to whom the person is to be linked; absent: somebody signs in. */
  readonly linkTo?: string;
  readonly expiresAt: number;
}

/**
 * Remembers logins in the browser that began them: sealed, in a cookie that lives as long as the login may take. So a
 * flood of beginnings fills nothing here, every server can finish what another one began, and nobody finishes in another
 * browser what was begun in one.
 */
export class LoginMemory {
  readonly #box: SecretBox;
  readonly #clock: Clock;

  constructor(box: SecretBox, clock: Clock) {
    this.#box = box;
    this.#clock = clock;
  }

  /** A login with values of its own. */
  begin(about: Pick<BegunLogin, 'provider' | 'redirectUri' | 'next' | 'linkTo'>): BegunLogin {
    const random = () => randomBytes(32).toString('base64url');
    return {
      ...about,
      state: random(),
      nonce: random(),
      verifier: random(),
      expiresAt: this.#clock.now() + loginTime,
    };
  }

  seal(login: BegunLogin): string {
    return Buffer.from(this.#box.seal(Buffer.from(JSON.stringify(login)), purpose)).toString('base64url');
  }

  /** Throws `wrong-state` or `expired`. */
  open(cookie: string | undefined): BegunLogin {
    if (cookie === undefined) throw foreign();
    let login: BegunLogin;
    try {
      const bytes = this.#box.open(Buffer.from(cookie, 'base64url'), purpose);
      // What opens was sealed here.
      login = JSON.parse(Buffer.from(bytes).toString('utf8')) as BegunLogin;
    } catch (thrown) {
      if (thrown instanceof SecretBoxError) throw foreign();
      throw thrown;
    }
    if (login.expiresAt <= this.#clock.now())
      throw new LoginError('expired', 'Signing in took too long. Begin again.');
    return login;
  }
}

export function foreign(): LoginError {
  return new LoginError(
    'wrong-state',
    'This login was not begun in this browser, or another one was begun after it. Begin again here.',
  );
}

/** What is kept of a login that came back. */
export function loginHash({ state }: Pick<BegunLogin, 'state'>): string {
  return createHash('sha256').update(state).digest('hex');
}
