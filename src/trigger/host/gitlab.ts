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
import { GitlabClient } from './gitlab-client.ts';
import { readGitlab } from './gitlab-payload.ts';
import { HostAccess, type HostLimits, withoutSlash } from './host-access.ts';
import type { OAuthClient, OAuthRegistration } from './oauth-client.ts';
import { proveToken } from './proof.ts';

export interface GitlabOptions {
  /** `https://gitlab.com` or a server of one's own. */
  readonly site?: string;
  readonly oauth?: OAuthRegistration;
  readonly clock: Clock;
  readonly limits?: HostLimits;
}

/** gitlab.com, or a GitLab server. */
export class Gitlab implements GitHost {
  readonly service = 'gitlab';
  readonly title = 'GitLab';
  readonly #access: HostAccess;
  readonly #site: string;
  readonly #clock: Clock;

  constructor(options: GitlabOptions) {
    this.#site = withoutSlash(options.site ?? 'https://gitlab.com');
    this.#clock = options.clock;
    this.#access = new HostAccess({
      title: this.title,
      api: this.#site,
      flow: {
        authorizeUrl: `${this.#site}/oauth/authorize`,
        tokenUrl: `${this.#site}/oauth/token`,
        // Nothing less may install hooks and keys.
        scope: 'api',
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

  /**
   * The same for every try of one delivery. X-Gitlab-Event-UUID is not: deliveries that other webhooks led to share it.
   */
  deliveryName(delivery: HookDelivery): string | undefined {
    return nameIn(delivery, 'idempotency-key');
  }

  prove(delivery: HookDelivery, secret: string): Proof {
    return proveToken(delivery.headers['x-gitlab-token'], secret);
  }

  read(delivery: HookDelivery, own: OwnRepository): HookEvent {
    return readGitlab(delivery, own);
  }

  connect(token: string, keeper?: TokenKeeper): HostClient {
    return new GitlabClient({
      http: this.#access.authorized(token, keeper),
      site: this.#site,
      clock: this.#clock,
    });
  }
}
