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
import { BitbucketClient } from './bitbucket-client.ts';
import { readBitbucket } from './bitbucket-payload.ts';
import { nameIn } from './delivery-header.ts';
import { HostAccess, type HostLimits, withoutSlash } from './host-access.ts';
import type { OAuthClient, OAuthRegistration } from './oauth-client.ts';
import { proveSignature } from './proof.ts';

export interface BitbucketOptions {
  readonly site?: string;
  readonly api?: string;
  readonly oauth?: OAuthRegistration;
  readonly clock: Clock;
  readonly limits?: HostLimits;
}

/** Bitbucket Cloud, which there is one of; the addresses are options for tests. */
export class Bitbucket implements GitHost {
  readonly service = 'bitbucket';
  readonly title = 'Bitbucket';
  readonly #access: HostAccess;
  readonly #site: string;
  readonly #api: string;

  constructor(options: BitbucketOptions) {
    this.#site = withoutSlash(options.site ?? 'https://bitbucket.org');
    this.#api = withoutSlash(options.api ?? 'https://api.bitbucket.org/2.0');
    this.#access = new HostAccess({
      title: this.title,
      api: this.#api,
      flow: {
        authorizeUrl: `${this.#site}/site/oauth2/authorize`,
        tokenUrl: `${this.#site}/site/oauth2/access_token`,
        scope: 'account repository:admin pullrequest webhook',
        clientAuth: 'basic',
        pkce: false,
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
    return nameIn(delivery, 'x-request-uuid');
  }

  prove(delivery: HookDelivery, secret: string): Proof {
    return proveSignature(delivery.headers['x-hub-signature'], delivery.body, secret);
  }

  read(delivery: HookDelivery, own: OwnRepository): HookEvent {
    return readBitbucket(delivery, own);
  }

  connect(token: string, keeper?: TokenKeeper): HostClient {
    return new BitbucketClient({ http: this.#access.authorized(token, keeper), api: this.#api });
  }
}
