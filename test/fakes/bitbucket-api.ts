import { createHmac, randomUUID } from 'node:crypto';
import {
  type DeliveryResult,
  type FakeAnswer,
  type FakeRequest,
  type FakeRoute,
  GitHostServer,
} from './git-host-server.ts';
import type { FakeCommit, FakeRepository, FakeUser } from './git-host-state.ts';

const at = '^/repositories/([^/]+)/([^/]+)';

function route(method: string, rest: string, handle: (request: FakeRequest) => FakeAnswer): FakeRoute {
  return [method, new RegExp(`${at}${rest}$`), handle];
}

/** Bitbucket Cloud's REST interface, version 2.0. */
export class BitbucketApi extends GitHostServer {
  protected readonly prefix = '/2.0';
  protected readonly oauthPaths = {
    authorize: '/site/oauth2/authorize',
    token: '/site/oauth2/access_token',
  };
  /** Bitbucket's refresh tokens are good again and again. */
  override rotatesRefreshTokens = false;

  protected readonly routes: readonly FakeRoute[] = [
    ['GET', /^\/user$/, (request) => ok(this.#user(this.#known(request.username)))],
    ['GET', /^\/user\/workspaces$/, (request) => this.#workspaces(request)],
    ['GET', /^\/repositories\/([^/]+)$/, (request) => this.#repositories(request)],
    route('GET', '', (request) => ok(this.#repository(this.#at(request)))),
    route('GET', '/refs/(branches|tags)', (request) => this.#refs(request)),
    route('GET', '/refs/(branches|tags)/([^/]+)', (request) => this.#ref(request)),
    route('GET', '/commit/([^/]+)', (request) => this.#commit(request)),
    route('GET', '/src/([^/]+)/(.*)', (request) => this.#source(request)),
    route('GET', '/diffstat/([^/]+)', (request) => this.#diffstat(request)),
    route('GET', '/hooks', (request) => this.#hooks(request)),
    route('GET', '/deploy-keys', (request) => this.#keys(request)),
    route('POST', '/hooks', (request) => this.#addHook(request)),
    route('DELETE', '/hooks/([^/]+)', (request) => this.#remove(request, 'hooks')),
    route('POST', '/deploy-keys', (request) => this.#addKey(request)),
    route('DELETE', '/deploy-keys/(\\d+)', (request) => this.#remove(request, 'keys')),
    route('POST', '/commit/([^/]+)/statuses/build', (request) => this.#setStatus(request)),
  ];

  protected refusal(_status: number, message: string): unknown {
    return { type: 'error', error: { message } };
  }

  protected signed({ secret }: { secret: string | undefined }, body: string): Record<string, string> {
    if (secret === undefined) return {};
    return { 'x-hub-signature': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}` };
  }

  protected eventHeaders(event: string): Record<string, string> {
    return {
      'user-agent': 'Bitbucket-Webhooks/2.0',
      'x-event-key': event,
      'x-request-uuid': randomUUID(),
      'x-hook-uuid': randomUUID(),
      'x-attempt-number': '1',
    };
  }

  /** Tells the hooks of a push of `ref`; `before` undefined: it is new; `after` undefined: it was deleted. */
  async push(
    repository: FakeRepository,
    ref: string,
    before: string | undefined,
    after: string | undefined,
  ): Promise<DeliveryResult[]> {
    return await this.deliver(repository, 'repo:push', this.pushPayload(repository, ref, before, after));
  }

  pushPayload(
    repository: FakeRepository,
    ref: string,
    before: string | undefined,
    after: string | undefined,
  ): unknown {
    const name = ref.replace(/^refs\/(heads|tags)\//, '');
    const type = ref.startsWith('refs/tags/') ? 'tag' : 'branch';
    const side = (sha: string | undefined) =>
      sha === undefined
        ? null
        : { type, name, links: {}, target: this.#commitView(repository, repository.commitAt(sha)) };
    return {
      push: {
        changes: [
          {
            old: side(before),
            new: side(after),
            created: before === undefined,
            closed: after === undefined,
            forced: false,
            truncated: false,
            commits: [],
            links: {},
          },
        ],
      },
      repository: {
        type: 'repository',
        full_name: repository.name,
        name: repository.name.split('/').at(-1),
        is_private: repository.private,
        links: {},
      },
      actor: this.#user(this.#known('kim')),
    };
  }

  #known(username: string): FakeUser {
    return this.state.users.get(username) ?? this.refuse(404, 'No such user');
  }

  #at(request: FakeRequest): FakeRepository {
    return this.visible(request, `${request.parts[0]}/${request.parts[1]}`);
  }

  #admin(request: FakeRequest): FakeRepository {
    return this.administered(request, `${request.parts[0]}/${request.parts[1]}`);
  }

  #listed(request: FakeRequest, items: readonly unknown[]): FakeAnswer {
    const page = this.page(items, request.query, 'pagelen');
    return ok({
      pagelen: page.size,
      page: page.number,
      size: items.length,
      values: page.items,
      ...(page.next === undefined ? {} : { next: this.nextUrl(request, page.next) }),
    });
  }

  #user(user: FakeUser) {
    return {
      type: 'user',
      uuid: `{${user.id}}`,
      display_name: user.name,
      nickname: user.username,
      links: {
        avatar: { href: `https://avatars.example.com/${user.id}` },
        html: { href: `https://bitbucket.example.com/${user.username}/` },
      },
    };
  }

  #workspaces(request: FakeRequest): FakeAnswer {
    const groups = [...this.state.groups].filter(([, members]) => members.includes(request.username));
    const slugs = [request.username, ...groups.map(([slug]) => slug)];
    return this.#listed(
      request,
      slugs.map((slug) => ({
        type: 'workspace_access',
        administrator: true,
        workspace: { type: 'workspace_base', slug, uuid: `{${slug}}`, links: {} },
      })),
    );
  }

  #repositories(request: FakeRequest): FakeAnswer {
    const [workspace = ''] = request.parts;
    const [, wanted] = /^full_name="([^"]*)"$/.exec(request.query.get('q') ?? '') ?? [];
    const role = request.query.get('role');
    const found = this.seenBy(request.username).filter(
      (each) =>
        each.owner === workspace &&
        (role !== 'admin' || each.roles.get(request.username) === 'admin') &&
        (wanted === undefined || each.name === wanted),
    );
    return this.#listed(
      request,
      found.map((each) => this.#repository(each)),
    );
  }

  #repository(repository: FakeRepository) {
    return {
      type: 'repository',
      full_name: repository.name,
      name: repository.name.split('/').at(-1),
      description: '',
      is_private: repository.private,
      mainbranch: { type: 'branch', name: repository.defaultBranch },
      updated_on: '2026-10-02T11:20:41.000000+00:00',
      links: {
        html: { href: `https://bitbucket.example.com/${repository.name}` },
        clone: [
          { name: 'https', href: `https://kim@bitbucket.example.com/${repository.name}.git` },
          { name: 'ssh', href: `git@bitbucket.org:${repository.name}.git` },
        ],
      },
    };
  }

  #commitView(repository: FakeRepository, commit: FakeCommit) {
    const user = this.state.userByEmail(commit.author.email);
    return {
      type: 'commit',
      hash: commit.sha,
      date: commit.date,
      message: commit.message,
      author: {
        type: 'author',
        raw: `${commit.author.name} <${commit.author.email}>`,
        ...(user === undefined ? {} : { user: this.#user(user) }),
      },
      parents: commit.parent === undefined ? [] : [{ type: 'commit', hash: commit.parent }],
      links: { html: { href: `https://bitbucket.example.com/${repository.name}/commits/${commit.sha}` } },
    };
  }

  #refsOf(repository: FakeRepository, kind: string): readonly (readonly [string, string])[] {
    if (kind === 'branches') return [...repository.branches];
    return [...repository.tags].map(([name, { commit }]) => [name, commit] as const);
  }

  #refView(repository: FakeRepository, kind: string, name: string, sha: string) {
    return {
      type: kind === 'branches' ? 'branch' : 'tag',
      name,
      target: this.#commitView(repository, repository.commitAt(sha)),
    };
  }

  #refs(request: FakeRequest): FakeAnswer {
    const repository = this.#at(request);
    const kind = request.parts[2] ?? '';
    return this.#listed(
      request,
      this.#refsOf(repository, kind).map(([name, sha]) => this.#refView(repository, kind, name, sha)),
    );
  }

  #ref(request: FakeRequest): FakeAnswer {
    const repository = this.#at(request);
    const [, , kind = '', wanted] = request.parts;
    const found = this.#refsOf(repository, kind).find(([name]) => name === wanted);
    if (found === undefined) this.refuse(404, `No such ref: ${wanted}`);
    return ok(this.#refView(repository, kind, ...found));
  }

  /** By id only: names of branches with a slash are not understood here. */
  #commitAt(repository: FakeRepository, id: string): FakeCommit {
    const found = /^[0-9a-f]{7,40}$/.test(id)
      ? [...repository.commits.values()].find(({ sha }) => sha.startsWith(id))
      : undefined;
    return found ?? this.refuse(404, `Commit not found: ${id}`);
  }

  #commit(request: FakeRequest): FakeAnswer {
    const repository = this.#at(request);
    return ok(this.#commitView(repository, this.#commitAt(repository, request.parts[2] ?? '')));
  }

  #source(request: FakeRequest): FakeAnswer {
    const repository = this.#at(request);
    const [, , id = '', path = ''] = request.parts;
    const commit = this.#commitAt(repository, id);
    const content = commit.files.get(path);
    const view = (each: string) => ({
      type: 'commit_file',
      path: each,
      size: commit.files.get(each)?.length,
      commit: { hash: commit.sha },
    });
    if (content !== undefined)
      return request.query.get('format') === 'meta'
        ? ok(view(path))
        : { status: 200, body: content, headers: { 'content-type': 'application/octet-stream' } };
    const folder = path === '' || path.endsWith('/') ? path : `${path}/`;
    const below = [...commit.files.keys()].filter((each) => each.startsWith(folder));
    if (below.length === 0) this.refuse(404, `No such file or directory: ${path}`);
    if (request.query.get('format') === 'meta') return ok({ type: 'commit_directory', path });
    const depth = Number(request.query.get('max_depth') ?? 1);
    const folders = new Set(
      below.flatMap((each) => {
        const parts = each.split('/');
        return parts.slice(0, -1).map((_, index) => parts.slice(0, index + 1).join('/'));
      }),
    );
    return this.#listed(request, [
      ...[...folders].map((each) => ({ type: 'commit_directory', path: each })),
      ...below.filter((each) => each.split('/').length <= depth).map(view),
    ]);
  }

  #diffstat(request: FakeRequest): FakeAnswer {
    const repository = this.#at(request);
    const [to = '', from = ''] = (request.parts[2] ?? '').split('..');
    const { added, removed, modified } = repository.difference(
      this.#commitAt(repository, from).sha,
      this.#commitAt(repository, to).sha,
    );
    const side = (path: string) => ({ type: 'commit_file', path });
    return this.#listed(request, [
      ...added.map((path) => ({ type: 'diffstat', status: 'added', old: null, new: side(path) })),
      ...removed.map((path) => ({ type: 'diffstat', status: 'removed', old: side(path), new: null })),
      ...modified.map((path) => ({
        type: 'diffstat',
        status: 'modified',
        old: side(path),
        new: side(path),
      })),
    ]);
  }

  #hooks(request: FakeRequest): FakeAnswer {
    const hooks = [...this.#admin(request).hooks.values()];
    return this.#listed(
      request,
      hooks.map(({ id, url, events }) => ({
        type: 'webhook_subscription',
        uuid: id,
        url,
        secret_set: true,
        events,
      })),
    );
  }

  #keys(request: FakeRequest): FakeAnswer {
    const keys = [...this.#admin(request).keys.values()];
    return this.#listed(
      request,
      keys.map(({ id, title, key }) => {
        const [type = '', bytes = '', ...comment] = key.split(' ');
        return {
          type: 'deploy_key',
          id: Number(id),
          label: title,
          key: `${type} ${bytes}`,
          comment: comment.join(' '),
        };
      }),
    );
  }

  #addHook(request: FakeRequest): FakeAnswer {
    const repository = this.#admin(request);
    const { url, secret, events, active } = JSON.parse(request.body.toString());
    if (active !== true || !URL.canParse(url)) this.refuse(400, 'Bad request');
    const id = `{${randomUUID()}}`;
    repository.hooks.set(id, { id, url, secret, events });
    return { status: 201, body: { type: 'webhook_subscription', uuid: id, url, secret_set: true, events } };
  }

  #addKey(request: FakeRequest): FakeAnswer {
    const repository = this.#admin(request);
    const { label, key } = JSON.parse(request.body.toString());
    if (!/^ssh-\S+ \S+/.test(key)) this.refuse(400, 'Invalid SSH key');
    const id = repository.nextId();
    repository.keys.set(String(id), { id: String(id), title: label, key, readOnly: true });
    return { status: 200, body: { type: 'deploy_key', id, label, key } };
  }

  #remove(request: FakeRequest, what: 'hooks' | 'keys'): FakeAnswer {
    const repository = this.#admin(request);
    if (!repository[what].delete(request.parts[2] ?? '')) this.refuse(404, 'Not found');
    return { status: 204 };
  }

  #setStatus(request: FakeRequest): FakeAnswer {
    const repository = this.#at(request);
    const commit = this.#commitAt(repository, request.parts[2] ?? '');
    const { key, state, url, description, name } = JSON.parse(request.body.toString());
    if (key.length > 40 || !['INPROGRESS', 'SUCCESSFUL', 'FAILED', 'STOPPED'].includes(state))
      this.refuse(400, 'key: Ensure this value has at most 40 characters');
    repository.statuses.push({ commit: commit.sha, state, context: name, url, description });
    return { status: 201, body: { type: 'build', key, state, url } };
  }
}

function ok(body: unknown): FakeAnswer {
  return { status: 200, body };
}
