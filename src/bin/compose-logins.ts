import type { Accounts } from '../account/accounts.ts';
import type { PasswordHasher } from '../account/password-hash.ts';
import { SqlExternalIdentities } from '../account/sql-external-identities.ts';
import type { Clock } from '../base/clock.ts';
import { unreachable } from '../base/unreachable.ts';
import type { LoginConfig, LoginServiceConfig } from '../config/config.ts';
import type { Database } from '../db/database.ts';
import type { SecretBox } from '../db/secret-box.ts';
import { ExternalLogins } from '../login/external-logins.ts';
import { GithubProvider } from '../login/github-provider.ts';
import { GitlabProvider } from '../login/gitlab-provider.ts';
import { LoginMemory } from '../login/login-memory.ts';
import type { LoginProvider } from '../login/login-provider.ts';
import { OidcProvider } from '../login/oidc-provider.ts';
import { providerFetch } from '../login/provider-fetch.ts';

/** Signing in by the services that are configured. Undefined: there are none. */
export function composeLogins(
  { services, createUsers }: LoginConfig,
  parts: {
    readonly database: Database;
    readonly secretBox: SecretBox;
    readonly accounts: Accounts;
    readonly passwords: PasswordHasher;
    /** Users that are superusers by their name: nobody becomes one by being called so elsewhere. */
    readonly superUsers: readonly string[];
    readonly siteUrl: string;
    readonly clock: Clock;
  },
): ExternalLogins | undefined {
  if (services.length === 0) return undefined;
  const { database, secretBox, accounts, passwords, superUsers, siteUrl, clock } = parts;
  const reserved = new Set(superUsers);
  return new ExternalLogins({
    providers: services.map((service) => providerOf(service, clock)),
    memory: new LoginMemory(secretBox, clock),
    identities: new SqlExternalIdentities({
      database,
      passwords,
      clock,
      isReserved: (username) => reserved.has(username),
    }),
    accounts,
    siteUrl,
    createUsers,
  });
}

function providerOf(service: LoginServiceConfig, clock: Clock): LoginProvider {
  const fetch = providerFetch();
  switch (service.type) {
    case 'oidc':
      return new OidcProvider({ ...service, fetch, clock });
    case 'github':
      return new GithubProvider({ ...service, allowedOrganizations: service.allowed, fetch });
    case 'gitlab':
      return new GitlabProvider({ ...service, allowedGroups: service.allowed, fetch });
    default:
      return unreachable(service);
  }
}
