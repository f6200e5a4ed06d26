import type { ExternalPerson } from '../account/external-identities.ts';
import { cutText } from '../base/cut-text.ts';
import { LoginError } from './login-error.ts';
import type { LoginAttempt, LoginProvider } from './login-provider.ts';
import { authorizeUrl, field, idField, type OAuthService, redeem } from './oauth-exchange.ts';
import { badAnswer, jsonOf, type ProviderFetch } from './provider-fetch.ts';

/** Of a hundred organizations each. */
const mostPages = 20;

export interface GithubOptions {
  /** `https://github.com`, or that of a GitHub Enterprise server; without a slash at its end. */
  readonly endpoint: string;
  readonly apiEndpoint: string;
  readonly clientId: string;
  readonly clientSecret: { reveal(): string };
  /** Only members of one of these may sign in; lower case. Undefined: everybody. */
  readonly allowedOrganizations: readonly string[] | undefined;
  readonly fetch: ProviderFetch;
}

/** Login by GitHub, or a GitHub Enterprise server. */
export class GithubProvider implements LoginProvider {
  readonly id = 'github';
  readonly name: string;
  readonly #options: GithubOptions;
  readonly #service: OAuthService;

  constructor(options: GithubOptions) {
    this.#options = options;
    this.name = new URL(options.endpoint).hostname === 'github.com' ? 'GitHub' : 'GitHub Enterprise';
    this.#service = {
      authorizeUrl: `${options.endpoint}/login/oauth/authorize`,
      tokenUrl: `${options.endpoint}/login/oauth/access_token`,
      clientId: options.clientId,
      clientSecret: options.clientSecret,
      scopes: options.allowedOrganizations === undefined ? ['user:email'] : ['user:email', 'read:org'],
    };
  }

  async begin(attempt: LoginAttempt): Promise<URL> {
    return authorizeUrl(this.#service, attempt);
  }

  async finish(attempt: LoginAttempt, answer: URLSearchParams, signal: AbortSignal): Promise<ExternalPerson> {
    const { endpoint, fetch } = this.#options;
    const token = await redeem(this.#service, attempt, answer, fetch, signal);
    const user = await jsonOf(await this.#get('user', token, signal), 'the user');
    // Names change hands there, ids do not.
    const subject = idField(user, 'id');
    const name = field(user, 'login');
    if (subject === undefined || name === undefined) throw badAnswer('the user: no id or login');
    await this.#checkMembership(token, signal);
    const email = await this.#email(token, signal);
    return { issuer: endpoint, subject, name, ...(email === undefined ? {} : { email }) };
  }

  async #checkMembership(token: string, signal: AbortSignal): Promise<void> {
    const { allowedOrganizations: allowed } = this.#options;
    if (allowed === undefined) return;
    for (let page = 1; page <= mostPages; page += 1) {
      const response = await this.#get(`user/orgs?per_page=100&page=${page}`, token, signal);
      const more = /<[^>]*>;\s*rel="next"/.test(response.headers.get('link') ?? '');
      const organizations = await jsonOf(response, 'the organizations');
      if (!Array.isArray(organizations)) throw badAnswer('the organizations: no list');
      if (organizations.some((each) => allowed.includes((field(each, 'login') ?? '').toLowerCase()))) return;
      if (!more) break;
    }
    throw new LoginError(
      'not-member',
      'You are not a member of an organization whose members may sign in here, or it does not let this application see that you are.',
    );
  }

  /** Nobody is signed in or kept out by it, so that there is none is no error. */
  async #email(token: string, signal: AbortSignal): Promise<string | undefined> {
    const response = await this.#get('user/emails', token, signal);
    if (!response.ok) return undefined;
    const emails: unknown = await response.json().catch(() => undefined);
    if (!Array.isArray(emails)) return undefined;
    const own: unknown = emails.find(
      (each: { primary?: unknown; verified?: unknown } | null) =>
        each?.primary === true && each.verified === true,
    );
    const email = field(own, 'email');
    return email === undefined ? undefined : cutText(email, 320);
  }

  #get(path: string, token: string, signal: AbortSignal): Promise<Response> {
    const { apiEndpoint, fetch } = this.#options;
    return fetch(`${apiEndpoint}/${path}`, {
      headers: {
        accept: 'application/vnd.github+json',
        authorization: `Bearer ${token}`,
        'user-agent': 'slipway',
        'x-github-api-version': '2022-11-28',
      },
      signal,
    });
  }
}
