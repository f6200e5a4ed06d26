import type { Clock } from '../../base/clock.ts';
import type {
  GitHost,
  HookDelivery,
  HookEvent,
  HostClient,
  OwnRepository,
  Proof,
  TokenKeeper,
} from '../git-host.ts';
import { nameIn } from './delivery-header.ts';
import { GithubClient } from './github-client.ts';
import { readGithub } from './github-payload.ts';
import { HostAccess, type HostLimits, withoutSlash } from './host-access.ts';
import type { OAuthClient, OAuthRegistration } from './oauth-client.ts';
import { proveSignature } from './proof.ts';

export interface GithubOptions {
  /** Where people see it; `https://github.com` or an Enterprise server. */
  readonly site?: string;
  /** Where its interface is; unless given, where GitHub has it for such a site. */
  readonly api?: string;
  readonly oauth?: OAuthRegistration;
  readonly clock: Clock;
  readonly limits?: HostLimits;
}

/** github.com, or a GitHub Enterprise server. */
export class Github implements GitHost {
  readonly service = 'github';
  readonly title = 'GitHub';
  readonly #access: HostAccess;
  readonly #site: string;
  readonly #api: string;
  readonly #clock: Clock;

  constructor(options: GithubOptions) {
    this.#site = withoutSlash(options.site ?? 'https://github.com');
    this.#api = withoutSlash(options.api ?? apiOf(this.#site));
    this.#clock = options.clock;
    this.#access = new HostAccess({
      title: this.title,
      api: this.#api,
      flow: {
        authorizeUrl: `${this.#site}/login/oauth/authorize`,
        tokenUrl: `${this.#site}/login/oauth/access_token`,
        // Hooks, keys and statuses of private repositories, and the names of organizations.
        scope: 'repo admin:repo_hook read:org',
        clientAuth: 'body',
        pkce: true,
      },
      registration: options.oauth,
      clock: options.clock,
      limits: options.limits,
    });
  }

  get oauth(): OAuthClient | undefined {
    return this.#access.oauth;
  }

  repositoryUrl(source: string): string {
    return `${this.#site}/${source}`;
  }

  deliveryName(delivery: HookDelivery): string | undefined {
    return nameIn(delivery, 'x-github-delivery');
  }

  prove(delivery: HookDelivery, secret: string): Proof {
    return proveSignature(delivery.headers['x-hub-signature-256'], delivery.body, secret);
  }

  read(delivery: HookDelivery, own: OwnRepository): HookEvent {
    return readGithub(delivery, own);
  }

  connect(token: string, keeper?: TokenKeeper): HostClient {
    return new GithubClient({
      http: this.#access.authorized(token, keeper),
      api: this.#api,
      clock: this.#clock,
    });
  }
}

function apiOf(site: string): string {
  return /^https:\/\/(www\.)?github\.com$/i.test(site) ? 'https://api.github.com' : `${site}/api/v3`;
}
