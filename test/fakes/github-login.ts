import { type FakeAnswer, type FakeRequest, FakeServer } from './fake-server.ts';
import { OAuthCodes } from './oauth-codes.ts';

export const githubClient = {
  id: 'Iv1.8a61f9b3a7aba766',
  secret: 'e4a58ddd3d7408b7aec109e85564a0d153d3e846',
};

export interface GithubPerson {
  id: number;
  login: string;
  emails?: readonly { email: string; primary: boolean; verified: boolean }[];
  organizations?: readonly string[];
}

const token = 'gho_16C7e42F292c6912E7710c838347Ae178B4a';

/** GitHub's OAuth and as much of its REST interface as a login asks for, as they answer over HTTP. */
export class GithubLogin {
  readonly server: FakeServer;
  readonly #codes = new OAuthCodes();
  person: GithubPerson;
  denies = false;
  /** Entries on one page, whatever is asked for. */
  pageSize = 100;

  constructor(person: GithubPerson) {
    this.person = person;
    this.server = new FakeServer((request) => this.#answer(request));
  }

  #answer(request: FakeRequest): FakeAnswer {
    switch (`${request.method} ${request.path}`) {
      case 'GET /login/oauth/authorize':
        return {
          status: 302,
          headers: {
            location: this.denies ? this.#codes.deny(request.query) : this.#codes.issue(request.query),
          },
        };
      case 'POST /login/oauth/access_token':
        return this.#token(request);
      case 'GET /api/v3/user':
        return this.#signedIn(request, () => ({ body: { ...this.person, node_id: 'MDQ6', type: 'User' } }));
      case 'GET /api/v3/user/emails':
        return this.#signedIn(request, () => ({ body: this.person.emails ?? [] }));
      case 'GET /api/v3/user/orgs':
        return this.#signedIn(request, () => this.#organizations(request));
      default:
        return {
          status: 404,
          body: { message: 'Not Found', documentation_url: 'https://docs.github.com/rest' },
        };
    }
  }

  /** Errors come with status 200. */
  #token({ form, headers }: FakeRequest): FakeAnswer {
    const said =
      form.get('client_id') !== githubClient.id || form.get('client_secret') !== githubClient.secret
        ? {
            error: 'incorrect_client_credentials',
            error_description: 'The client_id and/or client_secret passed are incorrect.',
          }
        : this.#codes.redeem(form)
          ? { access_token: token, scope: 'user:email', token_type: 'bearer' }
          : { error: 'bad_verification_code', error_description: 'The code passed is incorrect or expired.' };
    if (headers.accept?.includes('application/json') === true) return { body: said };
    return {
      headers: { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' },
      body: new URLSearchParams(said as Record<string, string>).toString(),
    };
  }

  #signedIn({ headers }: FakeRequest, answer: () => FakeAnswer): FakeAnswer {
    if (headers['user-agent'] === undefined)
      return { status: 403, body: 'Request forbidden by administrative rules.' };
    if (headers.authorization !== `Bearer ${token}`)
      return { status: 401, body: { message: 'Bad credentials' } };
    return answer();
  }

  #organizations({ query }: FakeRequest): FakeAnswer {
    const all = this.person.organizations ?? [];
    const page = Number(query.get('page') ?? 1);
    const size = Math.min(this.pageSize, Number(query.get('per_page') ?? 30));
    const link = `<${this.server.url}/api/v3/user/orgs?per_page=${size}&page=${page + 1}>; rel="next"`;
    return {
      ...(page * size < all.length ? { headers: { link } } : {}),
      body: all.slice((page - 1) * size, page * size).map((login, index) => ({ login, id: index + 1 })),
    };
  }
}
