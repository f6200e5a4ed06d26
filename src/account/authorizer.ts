import { unreachable } from '../base/unreachable.ts';
import { parseRepositoryName } from '../model/repository-name.ts';
import type { Accounts, Principal, Role } from './accounts.ts';
import { parseRobotName } from './robot-name.ts';
import { isAtLeast } from './role.ts';
import type { SignIn } from './sign-in.ts';

/** What a registry client may be allowed to do with a repository. */
export type RegistryAction = 'pull' | 'push' | 'delete';

/** The person behind a registry token: remembered with scopes, so that a token gives no more than it was made for. */
export class AccountSubject {
  readonly name: string;
  readonly principal: Principal;

  constructor(name: string, principal: Principal) {
    this.name = name;
    this.principal = principal;
  }
}

/** As the registry's token service knows it: the credentials were not looked at. */
export interface SignInDelay {
  readonly tryLater: 'locked' | 'busy';
  /** Milliseconds. */
  readonly retryAfter: number;
}

const busyFor = 2_000;

const needed: Record<RegistryAction, Role> = { pull: 'read', push: 'write', delete: 'admin' };

/**
 * Who may do what in the embedded registry: people by password, or by a personal token (user name `$oauthtoken` or
 * their own), robots by their token; permissions are the repositories'. A repository that does not exist grants nothing.
 */
export class AccountAuthorizer {
  readonly #accounts: Accounts;
  readonly #signIn: SignIn;

  constructor(accounts: Accounts, signIn: SignIn) {
    this.#accounts = accounts;
    this.#signIn = signIn;
  }

  async authenticate(credentials: {
    readonly username: string;
    readonly password: string;
    readonly address?: string;
  }): Promise<AccountSubject | SignInDelay | undefined> {
    const verdict = await this.#signIn.check(credentials, credentials.address ?? 'unknown');
    switch (verdict.kind) {
      case 'accepted':
        return subjectOf(verdict.principal);
      case 'refused':
        return undefined;
      case 'locked':
        return { tryLater: 'locked', retryAfter: verdict.retryAfter };
      case 'busy':
        return { tryLater: 'busy', retryAfter: busyFor };
      default:
        return unreachable(verdict);
    }
  }

  async readerNamed(username: string): Promise<AccountSubject | undefined> {
    if (!(await this.#accounts.isEnabled(username))) return undefined;
    const robot = parseRobotName(username);
    if (robot !== undefined)
      return new AccountSubject(username, { kind: 'robot', name: username, namespace: robot.namespace });
    // The powers of a superuser are for administration, not for what a Dockerfile pulls.
    return new AccountSubject(username, { kind: 'user', username, superuser: false, scopes: ['repo:read'] });
  }

  async authorize(
    subject: { readonly name: string } | undefined,
    repository: string,
    requested: readonly RegistryAction[],
  ): Promise<readonly RegistryAction[]> {
    const name = parseRepositoryName(repository);
    if (name === undefined || (await this.#accounts.repository(name)) === undefined) return [];
    const principal: Principal =
      subject instanceof AccountSubject ? subject.principal : { kind: 'anonymous' };
    const role = await this.#accounts.roleOn(principal, name);
    if (role === undefined) return [];
    return requested.filter((action) => isAtLeast(role, needed[action]));
  }
}

function subjectOf(principal: Principal): AccountSubject | undefined {
  switch (principal.kind) {
    case 'user':
      return new AccountSubject(principal.username, principal);
    case 'robot':
      return new AccountSubject(principal.name, principal);
    case 'anonymous':
      return undefined;
    default:
      return unreachable(principal);
  }
}
