import type { Clock } from '../../base/clock.ts';
import type { HostAuthorization } from '../git-host.ts';
import { HostError } from '../host-error.ts';
import type { HostHttp } from './host-http.ts';
import { statusError } from './host-status.ts';
import { formatHostToken, type HostToken } from './host-token.ts';
import { Payload } from './payload.ts';

/** What the operator registered at a host for this server. */
export interface OAuthRegistration {
  readonly id: string;
  readonly secret: string;
}

/** How a host does the authorization code flow (RFC 6749). */
export interface OAuthFlow {
  readonly authorizeUrl: string;
  readonly tokenUrl: string;
  readonly scope: string;
  /** Where the client shows its secret to get a token. */
  readonly clientAuth: 'basic' | 'body';
  /** Whether it checks a code challenge (RFC 7636). One that does not know it passes it over, and is not sent it. */
  readonly pkce: boolean;
}

/** Errors of RFC 6749 and GitHub that mean: this code or token is not good (any more). */
const spent = new Set(['invalid_grant', 'bad_verification_code', 'bad_refresh_token', 'access_denied']);

/** Sends people to a host, and gets tokens for what they come back with. Throws HostError. */
export class OAuthClient implements HostAuthorization {
  readonly pkce: boolean;
  readonly #flow: OAuthFlow;
  readonly #registration: OAuthRegistration;
  readonly #http: HostHttp;
  readonly #clock: Clock;

  constructor(flow: OAuthFlow, registration: OAuthRegistration, http: HostHttp, clock: Clock) {
    this.pkce = flow.pkce;
    this.#flow = flow;
    this.#registration = registration;
    this.#http = http;
    this.#clock = clock;
  }

  authorizeUrl(ask: {
    readonly state: string;
    readonly redirect: string;
    readonly challenge: string;
  }): string {
    const url = new URL(this.#flow.authorizeUrl);
    url.searchParams.set('response_type', 'code');
    url.searchParams.set('client_id', this.#registration.id);
    url.searchParams.set('redirect_uri', ask.redirect);
    url.searchParams.set('scope', this.#flow.scope);
    url.searchParams.set('state', ask.state);
    if (this.pkce) {
      url.searchParams.set('code_challenge', ask.challenge);
      url.searchParams.set('code_challenge_method', 'S256');
    }
    return url.href;
  }

  async exchange(
    grant: { readonly code: string; readonly redirect: string; readonly verifier: string },
    signal: AbortSignal,
  ): Promise<string> {
    const token = await this.#ask(
      {
        grant_type: 'authorization_code',
        code: grant.code,
        redirect_uri: grant.redirect,
        ...(this.pkce ? { code_verifier: grant.verifier } : {}),
      },
      'exchanging the code of a login',
      signal,
    );
    return formatHostToken(token);
  }

  async renew(refresh: string, signal: AbortSignal): Promise<HostToken> {
    return await this.#ask(
      { grant_type: 'refresh_token', refresh_token: refresh },
      'renewing a token',
      signal,
    );
  }

  async #ask(grant: Readonly<Record<string, string>>, what: string, signal: AbortSignal): Promise<HostToken> {
    const { id, secret } = this.#registration;
    const basic = this.#flow.clientAuth === 'basic';
    const form = new URLSearchParams({
      ...grant,
      ...(basic ? {} : { client_id: id, client_secret: secret }),
    });
    const response = await this.#http.send(
      this.#flow.tokenUrl,
      {
        method: 'POST',
        headers: {
          accept: 'application/json',
          'content-type': 'application/x-www-form-urlencoded',
          ...(basic
            ? {
                authorization: `Basic ${Buffer.from(`${formEncoded(id)}:${formEncoded(secret)}`).toString('base64')}`,
              }
            : {}),
        },
        body: form.toString(),
      },
      signal,
    );
    const answer = Payload.ofAnswer(await response.json().catch(() => undefined), this.#http.title);
    // GitHub says what is wrong with status 200.
    const error = answer.at('error');
    if (response.ok && !error.present) return this.#tokenOf(answer);
    const code = error.kindIs('string') ? error.text(100) : undefined;
    if (code !== undefined && spent.has(code))
      throw new HostError(
        'unauthorized',
        `${this.#http.title} does not take the login (any more) (${code}). Connect the account again.`,
      );
    if (
      code === 'invalid_client' ||
      code === 'incorrect_client_credentials' ||
      code === 'redirect_uri_mismatch'
    )
      throw new HostError(
        'unexpected',
        `${this.#http.title} refuses this server (${code}). Check client id, client secret and callback URL in the configuration and at the host.`,
      );
    throw statusError({
      host: this.#http.title,
      status: response.status,
      what,
      // The description may repeat what was sent.
      detail: code !== undefined && /^[a-z_]{1,60}$/.test(code) ? code : undefined,
      ...(response.ok ? { code: 'unexpected' } : {}),
    });
  }

  #tokenOf(answer: Payload): HostToken {
    const access = answer.at('access_token').text(4096);
    const refresh = answer.at('refresh_token').optionalText(4096);
    const expires = answer.at('expires_in');
    return {
      access,
      ...(refresh === undefined ? {} : { refresh }),
      ...(expires.present ? { expiresAt: this.#clock.now() + expires.whole() * 1000 } : {}),
    };
  }
}

/** RFC 6749, 2.3.1: both are form-encoded before they are joined. */
function formEncoded(text: string): string {
  return new URLSearchParams({ '': text }).toString().slice(1);
}
