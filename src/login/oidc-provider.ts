import * as oidc from 'openid-client';
import type { ExternalPerson } from '../account/external-identities.ts';
import type { Clock } from '../base/clock.ts';
import { cutText } from '../base/cut-text.ts';
import { LoginError } from './login-error.ts';
import type { LoginAttempt, LoginProvider } from './login-provider.ts';
import { field } from './oauth-exchange.ts';
import { fromOpenIdClient } from './oidc-errors.ts';
import { badAnswer, jsonOf, type ProviderFetch } from './provider-fetch.ts';

/** Milliseconds after which a provider is asked again what it is like. */
const rediscover = 3_600_000;
/** Seconds by which clocks may differ. */
const tolerance = 30;
const usualScopes = ['openid', 'profile', 'email'];

export interface OidcOptions {
  readonly id: string;
  readonly name: string;
  /** Where `.well-known/openid-configuration` is; with or without a slash at its end. */
  readonly server: string;
  /** What the provider calls itself, where that is not `server`. */
  readonly issuer: string | undefined;
  readonly clientId: string;
  readonly clientSecret: { reveal(): string };
  /** Undefined: openid, profile, email, as far as the provider knows them. */
  readonly scopes: readonly string[] | undefined;
  /** Undefined: preferred_username, else what Active Directory has. */
  readonly usernameClaim: string | undefined;
  /** A claim that is an address the provider has verified. Undefined: `email`, if `email_verified`. */
  readonly emailClaim: string | undefined;
  /** Whether the claims of the user endpoint count too. */
  readonly userEndpoint: boolean;
  /** Further query parameters, by the endpoint's name in the provider's description. */
  readonly endpointParameters: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Whether the provider may be spoken to in clear text. */
  readonly insecure: boolean;
  readonly fetch: ProviderFetch;
  readonly clock: Clock;
}

interface Discovered {
  readonly server: oidc.ServerMetadata;
  readonly configuration: oidc.Configuration;
  readonly at: number;
}

/** Login by an OpenID provider: authorization code with PKCE, state and nonce. */
export class OidcProvider implements LoginProvider {
  readonly id: string;
  readonly name: string;
  readonly #options: OidcOptions;
  #discovered: Discovered | undefined;

  constructor(options: OidcOptions) {
    this.#options = options;
    this.id = options.id;
    this.name = options.name;
  }

  async begin({ redirectUri, state, nonce, verifier }: LoginAttempt, signal: AbortSignal): Promise<URL> {
    const { server, configuration } = await this.#discover(signal);
    return oidc.buildAuthorizationUrl(configuration, {
      redirect_uri: redirectUri,
      scope: this.#scopes(server).join(' '),
      state,
      nonce,
      code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    });
  }

  async finish(
    { redirectUri, state, nonce, verifier }: LoginAttempt,
    answer: URLSearchParams,
    signal: AbortSignal,
  ): Promise<ExternalPerson> {
    const { server, configuration } = await this.#discover(signal);
    const current = new URL(redirectUri);
    current.search = answer.toString();
    try {
      const tokens = await oidc.authorizationCodeGrant(configuration, current, {
        pkceCodeVerifier: verifier,
        expectedState: state,
        expectedNonce: nonce,
        idTokenExpected: true,
      });
      const claims = tokens.claims();
      if (claims === undefined) throw badAnswer('no id token');
      const more =
        this.#options.userEndpoint && server.userinfo_endpoint !== undefined
          ? await oidc.fetchUserInfo(configuration, tokens.access_token, claims.sub)
          : {};
      return this.#person(server.issuer, claims.sub, { ...claims, ...more });
    } catch (thrown) {
      throw fromOpenIdClient(thrown);
    }
  }

  #person(issuer: string, subject: string, claims: Readonly<Record<string, unknown>>): ExternalPerson {
    const { usernameClaim, emailClaim } = this.#options;
    if (claims.impersonated === true)
      throw new LoginError('denied', 'Whoever acts in the name of somebody else cannot sign in here.');
    const names =
      usernameClaim === undefined ? ['preferred_username', 'unique_name', 'upn'] : [usernameClaim];
    const name = names.map((claim) => field(claims, claim)).find((found) => found !== undefined) ?? subject;
    const verified = claims.email_verified === true ? field(claims, 'email') : undefined;
    const email = emailClaim === undefined ? verified : field(claims, emailClaim);
    return { issuer, subject, name, ...(email === undefined ? {} : { email: cutText(email, 320) }) };
  }

  #scopes({ scopes_supported: supported }: oidc.ServerMetadata): readonly string[] {
    const wanted = this.#options.scopes ?? usualScopes.filter((scope) => supported?.includes(scope) ?? true);
    return [...new Set(['openid', ...wanted])];
  }

  /** What the provider says of itself, kept for an hour. */
  async #discover(signal: AbortSignal): Promise<Discovered> {
    const { clock } = this.#options;
    const known = this.#discovered;
    if (known !== undefined && clock.now() - known.at < rediscover) return known;
    const server = await this.#description(signal);
    const discovered = { server, configuration: this.#configuration(server), at: clock.now() };
    this.#discovered = discovered;
    return discovered;
  }

  async #description(signal: AbortSignal): Promise<oidc.ServerMetadata> {
    const { server, issuer, fetch, endpointParameters, insecure } = this.#options;
    const base = withoutSlash(server);
    const url = `${base}/.well-known/openid-configuration`;
    const said = await jsonOf(
      await fetch(url, { headers: { accept: 'application/json' }, signal }),
      'the description',
    );
    const named = field(said, 'issuer');
    // The same but for a slash at the end, which people add and leave out; or exactly what is configured.
    if (named === undefined || (issuer === undefined ? withoutSlash(named) !== base : named !== issuer))
      throw badAnswer('the description: another issuer than is configured');
    const metadata: Record<string, unknown> = { ...(said as Record<string, unknown>), issuer: named };
    for (const name of ['authorization_endpoint', 'token_endpoint', 'jwks_uri', 'userinfo_endpoint']) {
      const endpoint = field(said, name);
      if (endpoint === undefined) {
        if (name === 'userinfo_endpoint') continue;
        throw badAnswer(`the description: no ${name}`);
      }
      metadata[name] = endpointOf(endpoint, endpointParameters[name] ?? {}, insecure, name);
    }
    return metadata as unknown as oidc.ServerMetadata;
  }

  #configuration(server: oidc.ServerMetadata): oidc.Configuration {
    const { clientId, clientSecret, insecure, fetch } = this.#options;
    const methods = server.token_endpoint_auth_methods_supported;
    const authenticate =
      methods === undefined || methods.includes('client_secret_post')
        ? oidc.ClientSecretPost(clientSecret.reveal())
        : oidc.ClientSecretBasic(clientSecret.reveal());
    const configuration = new oidc.Configuration(
      server,
      clientId,
      { [oidc.clockTolerance]: tolerance },
      authenticate,
    );
    configuration[oidc.customFetch] = async (url, { method, headers, body, signal }) =>
      await fetch(url, {
        method,
        headers,
        ...(typeof body === 'string' || body instanceof URLSearchParams ? { body } : {}),
        signal: signal ?? new AbortController().signal,
      });
    if (insecure) oidc.allowInsecureRequests(configuration);
    return configuration;
  }
}

function endpointOf(
  text: string,
  parameters: Readonly<Record<string, string>>,
  insecure: boolean,
  name: string,
): string {
  const url = URL.parse(text);
  if (url === null || !(url.protocol === 'https:' || (insecure && url.protocol === 'http:')))
    throw badAnswer(`the description: ${name} is no https URL`);
  for (const [key, value] of Object.entries(parameters)) url.searchParams.set(key, value);
  return url.href;
}

function withoutSlash(url: string): string {
  return url.replace(/\/+$/, '');
}
