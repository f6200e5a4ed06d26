import { createHmac, randomUUID } from 'node:crypto';
import {
  type DeliveryResult,
  type FakeAnswer,
  type FakeRequest,
  type FakeRoute,
  GitHostServer,
} from './git-host-server.ts';
import type { FakeCommit, FakeRepository, FakeUser } from './git-host-state.ts';

const none = '0'.repeat(40);

/** GitHub's REST interface as an Enterprise server has it, below `/api/v3`. */
export class GithubApi extends GitHostServer {
  protected readonly prefix = '/api/v3';
  protected readonly oauthPaths = {
    authorize: '/login/oauth/authorize',
    token: '/login/oauth/access_token',
  };

  protected readonly routes: readonly FakeRoute[] = [
    ['GET', /^\/user$/, (request) => this.#ok(this.#user(this.#known(request.username)))],
    ['GET', /^\/users\/([^/]+)$/, ({ parts: [name = ''] }) => this.#ok(this.#user(this.#known(name)))],
    ['GET', /^\/user\/orgs$/, (request) => this.#organizations(request)],
    ['GET', /^\/user\/repos$/, (request) => this.#repositories(request)],
    [
      'GET',
      /^\/repos\/([^/]+)\/([^/]+)$/,
      (request) => this.#ok(this.#repository(this.#at(request), request)),
    ],
    ['GET', /^\/repos\/([^/]+)\/([^/]+)\/branches$/, (request) => this.#branches(request)],
    ['GET', /^\/repos\/([^/]+)\/([^/]+)\/tags$/, (request) => this.#tags(request)],
    ['GET', /^\/repos\/([^/]+)\/([^/]+)\/commits\/([^/]+)$/, (request) => this.#commit(request)],
    ['GET', /^\/repos\/([^/]+)\/([^/]+)\/git\/trees\/([^/]+)$/, (request) => this.#tree(request)],
    ['GET', /^\/repos\/([^/]+)\/([^/]+)\/contents\/(.*)$/, (request) => this.#contents(request)],
    ['GET', /^\/repos\/([^/]+)\/([^/]+)\/compare\/([^/]+)$/, (request) => this.#compare(request)],
    ['GET', /^\/repos\/([^/]+)\/([^/]+)\/hooks$/, (request) => this.#hooks(request)],
    ['GET', /^\/repos\/([^/]+)\/([^/]+)\/keys$/, (request) => this.#keys(request)],
    ['POST', /^\/repos\/([^/]+)\/([^/]+)\/hooks$/, (request) => this.#addHook(request)],
    ['DELETE', /^\/repos\/([^/]+)\/([^/]+)\/hooks\/(\d+)$/, (request) => this.#remove(request, 'hooks')],
    ['POST', /^\/repos\/([^/]+)\/([^/]+)\/keys$/, (request) => this.#addKey(request)],
    ['DELETE', /^\/repos\/([^/]+)\/([^/]+)\/keys\/(\d+)$/, (request) => this.#remove(request, 'keys')],
    ['POST', /^\/repos\/([^/]+)\/([^/]+)\/statuses\/([^/]+)$/, (request) => this.#setStatus(request)],
  ];

  protected refusal(status: number, message: string): unknown {
    return { message, documentation_url: 'https://docs.github.com/rest', status: String(status) };
  }

  protected override oauthRefusal(error: string): FakeAnswer {
    const name =
      { invalid_client: 'incorrect_client_credentials', invalid_grant: 'bad_verification_code' }[error] ??
      error;
    return { status: 200, body: { error: name, error_description: 'Refused.', error_uri: '' } };
  }

  protected signed({ secret }: { secret: string | undefined }, body: string): Record<string, string> {
    if (secret === undefined) return {};
    const hmac = (algorithm: string) => createHmac(algorithm, secret).update(body).digest('hex');
    return {
      'x-hub-signature': `sha1=${hmac('sha1')}`,
      'x-hub-signature-256': `sha256=${hmac('sha256')}`,
    };
  }

  protected eventHeaders(event: string): Record<string, string> {
    return {
      'user-agent': 'GitHub-Hookshot/fake',
      'x-github-event': event,
      'x-github-delivery': randomUUID(),
    };
  }

  /** Tells the hooks of a push of `ref`; `before` undefined: it is new; `after` undefined: it was deleted. */
  async push(
    repository: FakeRepository,
    ref: string,
    before: string | undefined,
    after: string | undefined,
  ): Promise<DeliveryResult[]> {
    return await this.deliver(repository, 'push', this.pushPayload(repository, ref, before, after));
  }

  pushPayload(
    repository: FakeRepository,
    ref: string,
    before: string | undefined,
    after: string | undefined,
  ): unknown {
    const tag = /^refs\/tags\/(.+)$/.exec(ref)?.[1];
    const object = tag === undefined ? after : (repository.tags.get(tag)?.object ?? after);
    const isBranch = tag === undefined;
    const commits =
      after === undefined || (before === undefined && !isBranch) ? [] : repository.between(before, after);
    const known = before === undefined || repository.commits.has(before);
    return {
      ref,
      before: before ?? none,
      after: object ?? none,
      // In seconds since 1970 here: no two pushes have the same body.
      repository: { ...this.#repositoryPayload(repository), pushed_at: ++this.#pushedAt },
      pusher: { name: 'kim', email: 'kim@example.com' },
      sender: this.#user(this.#known('kim')),
      created: before === undefined,
      deleted: after === undefined,
      forced: !known,
      base_ref: null,
      compare: `${this.url}/${repository.name}/compare`,
      commits: commits.map((each) => this.#payloadCommit(repository, each)),
      head_commit: after === undefined ? null : this.#payloadCommit(repository, repository.commitAt(after)),
    };
  }

  #payloadCommit(repository: FakeRepository, commit: FakeCommit) {
    const username = this.state.userByEmail(commit.author.email)?.username;
    const who = { ...commit.author, ...(username === undefined ? {} : { username }) };
    return {
      id: commit.sha,
      tree_id: commit.sha,
      distinct: true,
      message: commit.message,
      timestamp: commit.date,
      url: `${this.url}/${repository.name}/commit/${commit.sha}`,
      author: who,
      committer: who,
      ...repository.difference(commit.parent, commit.sha),
    };
  }

  #pushedAt = Date.UTC(2026, 9, 2) / 1000;

  #repositoryPayload(repository: FakeRepository) {
    const [owner = '', name = ''] = repository.name.split('/');
    return {
      id: repository.id,
      name,
      full_name: repository.name,
      private: repository.private,
      owner: { login: owner, name: owner },
      html_url: `${this.url}/${repository.name}`,
      ssh_url: `git@github.example.com:${repository.name}.git`,
      clone_url: `${this.url}/${repository.name}.git`,
      default_branch: repository.defaultBranch,
    };
  }

  #ok(body: unknown): FakeAnswer {
    return { status: 200, body, headers: { 'x-ratelimit-limit': '5000', 'x-ratelimit-remaining': '4999' } };
  }

  #known(username: string): FakeUser {
    return this.state.users.get(username) ?? this.refuse(404, 'Not Found');
  }

  #at(request: FakeRequest): FakeRepository {
    return this.visible(request, `${request.parts[0]}/${request.parts[1]}`);
  }

  #admin(request: FakeRequest): FakeRepository {
    return this.administered(request, `${request.parts[0]}/${request.parts[1]}`);
  }

  #listed(request: FakeRequest, items: readonly unknown[]): FakeAnswer {
    const page = this.page(items, request.query, 'per_page');
    const links =
      page.next === undefined ? {} : { link: `<${this.nextUrl(request, page.next)}>; rel="next"` };
    const answer = this.#ok(page.items);
    return { ...answer, headers: { ...answer.headers, ...links } };
  }

  #user(user: FakeUser) {
    return {
      login: user.username,
      id: user.id,
      type: 'User',
      name: user.name,
      avatar_url: `https://avatars.example.com/u/${user.id}`,
      html_url: `https://github.example.com/${user.username}`,
    };
  }

  #organizations(request: FakeRequest): FakeAnswer {
    const own = [...this.state.groups].filter(([, members]) => members.includes(request.username));
    return this.#listed(
      request,
      own.map(([login]) => ({
        login,
        id: 7,
        avatar_url: `https://avatars.example.com/o/${login}`,
        description: null,
      })),
    );
  }

  #repositories(request: FakeRequest): FakeAnswer {
    const wanted = (request.query.get('affiliation') ?? 'owner,collaborator,organization_member').split(',');
    const seen = this.seenBy(request.username).filter(({ owner }) => {
      const isMember = this.state.groups.get(owner)?.includes(request.username) ?? false;
      const how = owner === request.username ? 'owner' : isMember ? 'organization_member' : 'collaborator';
      return wanted.includes(how);
    });
    return this.#listed(
      request,
      seen.map((each) => this.#repository(each, request)),
    );
  }

  #repository(repository: FakeRepository, request: FakeRequest) {
    const role = repository.roles.get(request.username);
    return {
      ...this.#repositoryPayload(repository),
      owner: { login: repository.owner, html_url: `https://github.example.com/${repository.owner}` },
      description: null,
      pushed_at: '2026-10-02T11:20:41Z',
      permissions: { admin: role === 'admin', push: role !== undefined, pull: true },
    };
  }

  #branches(request: FakeRequest): FakeAnswer {
    const repository = this.#at(request);
    return this.#listed(
      request,
      [...repository.branches].map(([name, sha]) => ({ name, commit: { sha, url: '' }, protected: false })),
    );
  }

  #tags(request: FakeRequest): FakeAnswer {
    const repository = this.#at(request);
    return this.#listed(
      request,
      [...repository.tags].map(([name, { commit }]) => ({
        name,
        commit: { sha: commit, url: '' },
        zipball_url: '',
        tarball_url: '',
        node_id: '',
      })),
    );
  }

  #commit(request: FakeRequest): FakeAnswer {
    const repository = this.#at(request);
    const commit = repository.resolve(request.parts[2] ?? '');
    if (commit === undefined) this.refuse(422, `No commit found for SHA: ${request.parts[2]}`);
    const user = this.state.userByEmail(commit.author.email);
    const account = user === undefined ? null : this.#user(user);
    const who = { ...commit.author, date: commit.date };
    return this.#ok({
      sha: commit.sha,
      html_url: `https://github.example.com/${repository.name}/commit/${commit.sha}`,
      commit: { author: who, committer: who, message: commit.message, tree: { sha: commit.sha } },
      author: account,
      committer: account,
      parents: commit.parent === undefined ? [] : [{ sha: commit.parent }],
    });
  }

  #tree(request: FakeRequest): FakeAnswer {
    const repository = this.#at(request);
    const commit = repository.resolve(request.parts[2] ?? '');
    if (commit === undefined) this.refuse(404, 'Not Found');
    const folders = new Set<string>();
    for (const path of commit.files.keys())
      for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1))
        folders.add(path.slice(0, at));
    const recursive = request.query.get('recursive') !== null;
    const blobs = [...commit.files.keys()].filter((path) => recursive || !path.includes('/'));
    return this.#ok({
      sha: commit.sha,
      tree: [
        ...[...folders].map((path) => ({ path, mode: '040000', type: 'tree', sha: commit.sha })),
        ...blobs.map((path) => ({ path, mode: '100644', type: 'blob', sha: commit.sha, size: 1 })),
      ],
      truncated: false,
    });
  }

  #contents(request: FakeRequest): FakeAnswer {
    const repository = this.#at(request);
    const commit = repository.resolve(request.query.get('ref') ?? repository.defaultBranch);
    const path = request.parts[2] ?? '';
    if (commit === undefined) this.refuse(404, 'No commit found for the ref');
    const below = [...commit.files.keys()].filter((each) => each.startsWith(`${path}/`));
    if (below.length > 0) return this.#ok(below.map((each) => ({ type: 'file', path: each })));
    const content = commit.files.get(path);
    if (content === undefined) this.refuse(404, 'Not Found');
    if (/raw/.test(request.headers.accept ?? ''))
      return {
        status: 200,
        body: content,
        headers: { 'content-type': 'application/vnd.github.raw+json; charset=utf-8' },
      };
    return this.#ok({ type: 'file', encoding: 'base64', content: content.toString('base64'), path });
  }

  #compare(request: FakeRequest): FakeAnswer {
    const repository = this.#at(request);
    const [from = '', to = ''] = (request.parts[2] ?? '').split('...');
    const [base, head] = [repository.resolve(from), repository.resolve(to)];
    if (base === undefined || head === undefined) this.refuse(404, 'Not Found');
    const { added, removed, modified } = repository.difference(base.sha, head.sha);
    const files = [
      ...added.map((filename) => ({ filename, status: 'added' })),
      ...removed.map((filename) => ({ filename, status: 'removed' })),
      ...modified.map((filename) => ({ filename, status: 'modified' })),
    ];
    return this.#ok({ status: 'ahead', total_commits: 1, commits: [], files: files.slice(0, 300) });
  }

  #hooks(request: FakeRequest): FakeAnswer {
    const hooks = [...this.#admin(request).hooks.values()];
    return this.#listed(
      request,
      hooks.map(({ id, url, events }) => ({
        id: Number(id),
        type: 'Repository',
        name: 'web',
        active: true,
        events,
        config: { url, content_type: 'json', insecure_ssl: '0', secret: '********' },
      })),
    );
  }

  #keys(request: FakeRequest): FakeAnswer {
    const keys = [...this.#admin(request).keys.values()];
    return this.#listed(
      request,
      keys.map(({ id, title, key, readOnly }) => ({
        id: Number(id),
        title,
        // Without its comment.
        key: key.split(' ').slice(0, 2).join(' '),
        verified: true,
        read_only: readOnly,
      })),
    );
  }

  #addHook(request: FakeRequest): FakeAnswer {
    const repository = this.#admin(request);
    const { config, events } = JSON.parse(request.body.toString());
    if ([...repository.hooks.values()].some(({ url }) => url === config.url))
      return {
        status: 422,
        body: {
          message: 'Validation Failed',
          errors: [{ resource: 'Hook', code: 'custom', message: 'Hook already exists on this repository' }],
          documentation_url: '',
        },
      };
    if (config.content_type !== 'json') this.refuse(422, 'this fake delivers JSON only');
    const id = repository.nextId();
    repository.hooks.set(String(id), { id: String(id), url: config.url, secret: config.secret, events });
    return { status: 201, body: { id, type: 'Repository', name: 'web', active: true, events, config } };
  }

  #addKey(request: FakeRequest): FakeAnswer {
    const repository = this.#admin(request);
    const { title, key, read_only: readOnly } = JSON.parse(request.body.toString());
    if (!/^ssh-\S+ \S+/.test(key))
      this.refuse(422, 'key is invalid. You must supply a key in OpenSSH public key format');
    const id = repository.nextId();
    repository.keys.set(String(id), { id: String(id), title, key, readOnly });
    return { status: 201, body: { id, key, title, verified: true, read_only: readOnly } };
  }

  #remove(request: FakeRequest, what: 'hooks' | 'keys'): FakeAnswer {
    const repository = this.#admin(request);
    if (!repository[what].delete(request.parts[2] ?? '')) this.refuse(404, 'Not Found');
    return { status: 204 };
  }

  #setStatus(request: FakeRequest): FakeAnswer {
    const repository = this.#at(request);
    const commit = repository.commits.get(request.parts[2] ?? '');
    if (commit === undefined) this.refuse(422, `No commit found for SHA: ${request.parts[2]}`);
    const { state, target_url: url, description, context } = JSON.parse(request.body.toString());
    if (!['error', 'failure', 'pending', 'success'].includes(state) || description.length > 140)
      this.refuse(422, 'Validation Failed');
    repository.statuses.push({ commit: commit.sha, state, context, url, description });
    return { status: 201, body: { id: repository.nextId(), state, context, description, target_url: url } };
  }
}
