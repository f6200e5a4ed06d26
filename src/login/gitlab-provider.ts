import type { ExternalPerson } from '../account/external-identities.ts';
import { LoginError } from './login-error.ts';
import type { LoginAttempt, LoginProvider } from './login-provider.ts';
import { authorizeUrl, field, idField, type OAuthService, redeem } from './oauth-exchange.ts';
import { badAnswer, jsonOf, type ProviderFetch } from './provider-fetch.ts';

/** Of a hundred groups each. */
const mostPages = 20;
/** Whoever has at least this level is a member; a guest is no member. */
const reporter = 20;

export interface GitlabOptions {
  /** `https://gitlab.com`, or that of another server; without a slash at its end. */
  readonly endpoint: string;
  readonly clientId: string;
  readonly clientSecret: { reveal(): string };
  /** Only members of one of these groups (full paths, lower case) may sign in. Undefined: everybody. */
  readonly allowedGroups: readonly string[] | undefined;
  readonly fetch: ProviderFetch;
}

/** Login by GitLab. */
export class GitlabProvider implements LoginProvider {
  readonly id = 'gitlab';
  readonly name = 'GitLab';
  readonly #options: GitlabOptions;
  readonly #service: OAuthService;

  constructor(options: GitlabOptions) {
    this.#options = options;
    this.#service = {
      authorizeUrl: `${options.endpoint}/oauth/authorize`,
      tokenUrl: `${options.endpoint}/oauth/token`,
      clientId: options.clientId,
      clientSecret: options.clientSecret,
      // Reading groups needs the wider one.
      scopes: [options.allowedGroups === undefined ? 'read_user' : 'read_api'],
    };
  }

  async begin(attempt: LoginAttempt): Promise<URL> {
    return authorizeUrl(this.#service, attempt);
  }

  async finish(attempt: LoginAttempt, answer: URLSearchParams, signal: AbortSignal): Promise<ExternalPerson> {
    const { endpoint, fetch } = this.#options;
    const token = await redeem(this.#service, attempt, answer, fetch, signal);
    const user = await jsonOf(await this.#get('user', token, signal), 'the user');
    const subject = idField(user, 'id');
    const name = field(user, 'username');
    if (subject === undefined || name === undefined) throw badAnswer('the user: no id or username');
    // Tokens of blocked users work for a while.
    if (field(user, 'state') !== 'active')
      throw new LoginError('denied', 'Your account at GitLab is not active.');
    await this.#checkMembership(token, signal);
    const confirmed = field(user, 'confirmed_at') === undefined ? undefined : field(user, 'email');
    return { issuer: endpoint, subject, name, ...(confirmed === undefined ? {} : { email: confirmed }) };
  }

  async #checkMembership(token: string, signal: AbortSignal): Promise<void> {
    const { allowedGroups: allowed } = this.#options;
    if (allowed === undefined) return;
    for (let page = '1', count = 0; page !== '' && count < mostPages; count += 1) {
      const query = `min_access_level=${reporter}&per_page=100&page=${encodeURIComponent(page)}`;
      const response = await this.#get(`groups?${query}`, token, signal);
      page = response.headers.get('x-next-page') ?? '';
      const groups = await jsonOf(response, 'the groups');
      if (!Array.isArray(groups)) throw badAnswer('the groups: no list');
      if (groups.some((each) => allowed.includes((field(each, 'full_path') ?? '').toLowerCase()))) return;
    }
    throw new LoginError('not-member', 'You are not a member of a group whose members may sign in here.');
  }

  #get(path: string, token: string, signal: AbortSignal): Promise<Response> {
    const { endpoint, fetch } = this.#options;
    return fetch(`${endpoint}/api/v4/${path}`, {
      headers: { accept: 'application/json', authorization: `Bearer ${token}`, 'user-agent': 'slipway' },
      signal,
    });
  }
}
