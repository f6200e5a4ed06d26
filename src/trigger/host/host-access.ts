import type { Clock } from '../../base/clock.ts';
import type { TokenKeeper } from '../git-host.ts';
import { AuthorizedHttp } from './authorized-http.ts';
import { HostHttp } from './host-http.ts';
import { LivingToken, type Renewals } from './living-token.ts';
import { OAuthClient, type OAuthFlow, type OAuthRegistration } from './oauth-client.ts';

export interface HostLimits {
  /** Milliseconds for one request. */
  readonly timeout?: number;
  /** Of one answer. */
  readonly mostBytes?: number;
}

/** What the three hosts with an interface have in common: where it is, how one gets a token, and how it is renewed. */
export class HostAccess {
  /** Undefined: the operator registered nothing; people bring tokens they made. */
  readonly oauth: OAuthClient | undefined;
  readonly #http: HostHttp;
  readonly #clock: Clock;
  readonly #renewals: Renewals = new Map();

  constructor(options: {
    readonly title: string;
    readonly api: string;
    readonly flow: OAuthFlow;
    readonly registration: OAuthRegistration | undefined;
    readonly clock: Clock;
    readonly limits: HostLimits | undefined;
  }) {
    const { title, api, flow, registration, clock, limits = {} } = options;
    this.#clock = clock;
    this.#http = new HostHttp({ title, base: api, ...limits });
    this.oauth =
      registration === undefined
        ? undefined
        : new OAuthClient(flow, registration, new HostHttp({ title, base: flow.tokenUrl, ...limits }), clock);
  }

  authorized(token: string, keeper: TokenKeeper | undefined): AuthorizedHttp {
    const { oauth } = this;
    return new AuthorizedHttp(
      this.#http,
      new LivingToken({
        token,
        // Bounded by the time limit of a request.
        renew: oauth && ((refresh) => oauth.renew(refresh, new AbortController().signal)),
        keeper,
        clock: this.#clock,
        renewals: this.#renewals,
      }),
    );
  }
}

export function withoutSlash(url: string): string {
  return url.replace(/\/+$/, '');
}
