import { type FakeAnswer, type FakeRequest, FakeServer } from './fake-server.ts';
import { OAuthCodes } from './oauth-codes.ts';

export const gitlabClient = { id: '6d1b0a3c', secret: 'gloas-2f1e' };

export interface GitlabPerson {
  id: number;
  username: string;
  state: 'active' | 'blocked';
  email?: string;
  confirmed_at?: string | null;
  /** Path and access level. */
  groups?: readonly (readonly [string, number])[];
}

const token = 'glat-de6780bc506a0446309bd9362820ba8aed28aa506c71eedbe1c5c4f9dd350e54';

/** GitLab's OAuth and as much of its REST interface as a login asks for, as they answer over HTTP. */
export class GitlabLogin {
  readonly server: FakeServer;
  readonly #codes = new OAuthCodes();
  person: GitlabPerson;
  denies = false;
  pageSize = 100;

  constructor(person: GitlabPerson) {
    this.person = person;
    this.server = new FakeServer((request) => this.#answer(request));
  }

  #answer(request: FakeRequest): FakeAnswer {
    switch (`${request.method} ${request.path}`) {
      case 'GET /oauth/authorize':
        return {
          status: 302,
          headers: {
            location: this.denies ? this.#codes.deny(request.query) : this.#codes.issue(request.query),
          },
        };
      case 'POST /oauth/token':
        return this.#token(request);
      case 'GET /api/v4/user': {
        const { groups: _groups, ...user } = this.person;
        return this.#signedIn(request, () => ({ body: user }));
      }
      case 'GET /api/v4/groups':
        return this.#signedIn(request, () => this.#groups(request));
      default:
        return { status: 404, body: { error: '404 Not Found' } };
    }
  }

  #token({ form }: FakeRequest): FakeAnswer {
    if (form.get('client_id') !== gitlabClient.id || form.get('client_secret') !== gitlabClient.secret)
      return {
        status: 401,
        body: { error: 'invalid_client', error_description: 'Client authentication failed.' },
      };
    if (!this.#codes.redeem(form))
      return {
        status: 400,
        body: { error: 'invalid_grant', error_description: 'The provided authorization grant is invalid.' },
      };
    return {
      body: {
        access_token: token,
        token_type: 'Bearer',
        expires_in: 7200,
        scope: 'read_user',
        created_at: 1,
      },
    };
  }

  #signedIn({ headers }: FakeRequest, answer: () => FakeAnswer): FakeAnswer {
    if (headers.authorization !== `Bearer ${token}`)
      return { status: 401, body: { message: '401 Unauthorized' } };
    return answer();
  }

  #groups({ query }: FakeRequest): FakeAnswer {
    const least = Number(query.get('min_access_level') ?? 0);
    const all = (this.person.groups ?? []).filter(([, level]) => level >= least);
    const page = Number(query.get('page') ?? 1);
    const size = Math.min(this.pageSize, Number(query.get('per_page') ?? 20));
    return {
      headers: { 'x-next-page': page * size < all.length ? String(page + 1) : '' },
      body: all.slice((page - 1) * size, page * size).map(([path], index) => ({
        id: index + 1,
        path: path.split('/').at(-1),
        full_path: path,
      })),
    };
  }
}
