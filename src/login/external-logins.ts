import { timingSafeEqual } from 'node:crypto';
import { AccountError } from '../account/account-error.ts';
import type { Accounts } from '../account/accounts.ts';
import type { ExternalIdentities, ExternalPerson } from '../account/external-identities.ts';
import { localPath } from './local-path.ts';
import { LoginError } from './login-error.ts';
import { type BegunLogin, foreign, type LoginMemory, loginHash } from './login-memory.ts';
import type { LoginProvider } from './login-provider.ts';

/** Logins that wait for a provider at once. */
const mostAtOnce = 32;

export type LoginOutcome =
  | {
      readonly kind: 'signed-in';
      readonly username: string;
      /** The user was made for this person just now. */
      readonly created: boolean;
      readonly next: string;
    }
  | { readonly kind: 'linked'; readonly username: string; readonly next: string };

/**
 * Signing in by providers. Somebody is a user only by what was linked: by the user made for them when they first came, or
 * by a link that a signed-in user asked for. Names and e-mail addresses decide nothing. Throws LoginError.
 */
export class ExternalLogins {
  readonly identities: ExternalIdentities;
  readonly #providers: ReadonlyMap<string, LoginProvider>;
  readonly #memory: LoginMemory;
  readonly #accounts: Pick<Accounts, 'isEnabled'>;
  readonly #siteUrl: string;
  readonly #createUsers: boolean;
  #waiting = 0;

  constructor(options: {
    readonly providers: readonly LoginProvider[];
    readonly memory: LoginMemory;
    readonly identities: ExternalIdentities;
    readonly accounts: Pick<Accounts, 'isEnabled'>;
    /** `http(s)://host[:port]` as the providers know it. */
    readonly siteUrl: string;
    /** Whether whoever comes for the first time becomes a user. */
    readonly createUsers: boolean;
  }) {
    this.#providers = new Map(options.providers.map((provider) => [provider.id, provider]));
    this.#memory = options.memory;
    this.identities = options.identities;
    this.#accounts = options.accounts;
    this.#siteUrl = options.siteUrl;
    this.#createUsers = options.createUsers;
  }

  get providers(): readonly { readonly id: string; readonly name: string }[] {
    return [...this.#providers.values()].map(({ id, name }) => ({ id, name }));
  }

  /** Where to send the browser, and what it has to keep. */
  async begin(
    id: string,
    { next, linkTo }: { readonly next?: string; readonly linkTo?: string },
    signal: AbortSignal,
  ): Promise<{ readonly url: string; readonly cookie: string }> {
    const provider = this.#provider(id);
    const login = this.#memory.begin({
      provider: id,
      redirectUri: `${this.#siteUrl}/oauth2/${id}/callback`,
      next: localPath(next),
      ...(linkTo === undefined ? {} : { linkTo }),
    });
    const url = await this.#within(() => provider.begin(login, signal));
    return { url: url.href, cookie: this.#memory.seal(login) };
  }

  /** The browser is back. `signedIn` is the user who is signed in there now. */
  async finish(
    id: string,
    {
      answer,
      cookie,
      signedIn,
    }: {
      readonly answer: URLSearchParams;
      readonly cookie: string | undefined;
      readonly signedIn: string | undefined;
    },
    signal: AbortSignal,
  ): Promise<LoginOutcome> {
    const provider = this.#provider(id);
    const login = this.#memory.open(cookie);
    if (login.provider !== id || !hasState(answer, login)) throw foreign();
    // Before anything else is done with it, so that of two at the same moment one goes on.
    if (!(await this.identities.useLogin(loginHash(login), login.expiresAt)))
      throw new LoginError('used', 'This login was used already. Begin again.');
    const person = await this.#within(() => provider.finish(login, answer, signal));
    return login.linkTo === undefined
      ? await this.#signIn(id, person, login.next)
      : await this.#link(id, person, { ...login, linkTo: login.linkTo }, signedIn);
  }

  async #signIn(id: string, person: ExternalPerson, next: string): Promise<LoginOutcome> {
    const known = await this.identities.userOf(person);
    const username = known ?? (await this.#newUser(id, person));
    if (!(await this.#accounts.isEnabled(username)))
      throw new LoginError('disabled', 'Your account here is switched off. Ask an administrator.');
    return { kind: 'signed-in', username, created: known === undefined, next };
  }

  async #newUser(id: string, person: ExternalPerson): Promise<string> {
    if (!this.#createUsers)
      throw new LoginError(
        'no-account',
        'You have no account here yet, and accounts are made by administrators only. Ask for one; then sign in with it and connect this login.',
      );
    try {
      return await this.identities.createUser(id, person);
    } catch (thrown) {
      if (!(thrown instanceof AccountError && thrown.code === 'exists')) throw thrown;
      // They came twice at the same moment.
      const username = await this.identities.userOf(person);
      if (username === undefined) throw new LoginError('no-account', thrown.message);
      return username;
    }
  }

  async #link(
    id: string,
    person: ExternalPerson,
    { linkTo, next }: BegunLogin & { readonly linkTo: string },
    signedIn: string | undefined,
  ): Promise<LoginOutcome> {
    if (signedIn !== linkTo)
      throw new LoginError(
        'signed-out',
        'You are not signed in any more as who asked for this. Sign in and begin again.',
      );
    try {
      await this.identities.link(linkTo, id, person);
    } catch (thrown) {
      if (!(thrown instanceof AccountError)) throw thrown;
      throw new LoginError(thrown.code === 'too-many' ? 'too-many' : 'taken', thrown.message);
    }
    return { kind: 'linked', username: linkTo, next };
  }

  #provider(id: string): LoginProvider {
    const provider = this.#providers.get(id);
    if (provider === undefined)
      throw new LoginError('unknown-provider', 'There is no such way to sign in here.');
    return provider;
  }

  async #within<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting >= mostAtOnce)
      throw new LoginError('busy', 'Too many people sign in at this moment. Try again in a few seconds.');
    this.#waiting += 1;
    try {
      return await work();
    } finally {
      this.#waiting -= 1;
    }
  }
}

function hasState(answer: URLSearchParams, { state }: BegunLogin): boolean {
  const [given, more] = answer.getAll('state');
  if (given === undefined || more !== undefined) return false;
  const [one, other] = [Buffer.from(given), Buffer.from(state)];
  return one.length === other.length && timingSafeEqual(one, other);
}
