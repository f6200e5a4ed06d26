import { randomUUID } from 'node:crypto';
import {
  type DeliveryResult,
  type FakeAnswer,
  FakeRefusal,
  type FakeRequest,
  type FakeRoute,
  GitHostServer,
} from './git-host-server.ts';
import type { FakeCommit, FakeRepository, FakeUser } from './git-host-state.ts';

const none = '0'.repeat(40);
const at = '^/projects/([^/]+)';

function route(method: string, rest: string, handle: (request: FakeRequest) => FakeAnswer): FakeRoute {
  return [method, new RegExp(`${at}${rest}$`), handle];
}

/** GitLab's REST interface, version 4. */
export class GitlabApi extends GitHostServer {
  protected readonly prefix = '/api/v4';
  protected readonly oauthPaths = { authorize: '/oauth/authorize', token: '/oauth/token' };

  protected readonly routes: readonly FakeRoute[] = [
    ['GET', /^\/user$/, (request) => ok(this.#user(this.#known(request.username)))],
    ['GET', /^\/users$/, (request) => this.#users(request)],
    ['GET', /^\/namespaces$/, (request) => this.#namespaces(request)],
    ['GET', /^\/projects$/, (request) => this.#projects(request)],
    route('GET', '', (request) => ok(this.#project(this.#at(request), request))),
    route('GET', '/repository/branches', (request) => this.#branches(request)),
    route('GET', '/repository/tags', (request) => this.#tags(request)),
    route('GET', '/repository/(branches|tags)/([^/]+)', (request) => this.#ref(request)),
    route('GET', '/repository/commits/([^/]+)', (request) => this.#commit(request)),
    route('GET', '/repository/tree', (request) => this.#tree(request)),
    route('GET', '/repository/files/([^/]+)', (request) => this.#file(request)),
    route('GET', '/repository/compare', (request) => this.#compare(request)),
    route('GET', '/hooks', (request) => this.#hooks(request)),
    route('GET', '/deploy_keys', (request) => this.#keys(request)),
    route('POST', '/hooks', (request) => this.#addHook(request)),
    route('DELETE', '/hooks/(\\d+)', (request) => this.#remove(request, 'hooks')),
    route('POST', '/deploy_keys', (request) => this.#addKey(request)),
    route('DELETE', '/deploy_keys/(\\d+)', (request) => this.#remove(request, 'keys')),
    route('POST', '/statuses/([^/]+)', (request) => this.#setStatus(request)),
  ];

  protected refusal(status: number, message: string): unknown {
    return { message: status === 404 ? '404 Not Found' : `${status} ${message}` };
  }

  protected signed({ secret }: { secret: string | undefined }): Record<string, string> {
    return secret === undefined ? {} : { 'x-gitlab-token': secret };
  }

  protected eventHeaders(event: string): Record<string, string> {
    const title = { push: 'Push Hook', tag_push: 'Tag Push Hook', merge_request: 'Merge Request Hook' }[
      event
    ];
    return {
      'user-agent': 'GitLab/fake',
      'x-gitlab-event': title ?? event,
      'x-gitlab-event-uuid': randomUUID(),
      'idempotency-key': randomUUID(),
    };
  }

  /** Tells the hooks of a push of `ref`; `before` undefined: it is new; `after` undefined: it was deleted. */
  async push(
    repository: FakeRepository,
    ref: string,
    before: string | undefined,
    after: string | undefined,
  ): Promise<DeliveryResult[]> {
    const event = ref.startsWith('refs/tags/') ? 'tag_push' : 'push';
    return await this.deliver(repository, event, this.pushPayload(repository, ref, before, after));
  }

  pushPayload(
    repository: FakeRepository,
    ref: string,
    before: string | undefined,
    after: string | undefined,
  ): unknown {
    const tag = /^refs\/tags\/(.+)$/.exec(ref)?.[1];
    const object = tag === undefined ? after : (repository.tags.get(tag)?.object ?? after);
    const commits =
      after === undefined || tag !== undefined ? [] : repository.between(before, after).slice(-20);
    const kind = tag === undefined ? 'push' : 'tag_push';
    const user = this.#known('kim');
    return {
      object_kind: kind,
      event_name: kind,
      before: before ?? none,
      after: object ?? none,
      ref,
      checkout_sha: after ?? null,
      message: null,
      user_id: user.id,
      user_name: user.name,
      user_username: user.username,
      project_id: repository.id,
      project: { ...this.#projectPayload(repository), default_branch: repository.defaultBranch },
      commits: commits.map((each) => ({
        id: each.sha,
        message: each.message,
        title: each.message.split('\n')[0],
        timestamp: each.date,
        url: `${this.url}/${repository.name}/-/commit/${each.sha}`,
        author: each.author,
        ...repository.difference(each.parent, each.sha),
      })),
      total_commits_count: commits.length,
      repository: this.#projectPayload(repository),
    };
  }

  #projectPayload(repository: FakeRepository) {
    return {
      name: repository.name.split('/').at(-1),
      description: '',
      homepage: `${this.url}/${repository.name}`,
      path_with_namespace: repository.name,
      git_ssh_url: `git@gitlab.example.com:${repository.name}.git`,
      git_http_url: `${this.url}/${repository.name}.git`,
      visibility_level: 0,
    };
  }

  #known(username: string): FakeUser {
    return this.state.users.get(username) ?? this.refuse(404, 'User Not Found');
  }

  #at(request: FakeRequest): FakeRepository {
    return this.visible(request, request.parts[0] ?? '');
  }

  #admin(request: FakeRequest): FakeRepository {
    return this.administered(request, request.parts[0] ?? '');
  }

  #listed(request: FakeRequest, items: readonly unknown[]): FakeAnswer {
    const page = this.page(items, request.query, 'per_page');
    return {
      status: 200,
      body: page.items,
      headers: {
        'x-page': String(page.number),
        'x-per-page': String(page.size),
        'x-next-page': page.next === undefined ? '' : String(page.next),
        ...(page.next === undefined ? {} : { link: `<${this.nextUrl(request, page.next)}>; rel="next"` }),
      },
    };
  }

  #user(user: FakeUser) {
    return {
      id: user.id,
      username: user.username,
      name: user.name,
      state: 'active',
      avatar_url: `https://gitlab.example.com/uploads/${user.id}.png`,
      web_url: `https://gitlab.example.com/${user.username}`,
    };
  }

  #users(request: FakeRequest): FakeAnswer {
    const search = request.query.get('search');
    const found = [...this.state.users.values()].filter(({ email }) => email === search);
    return this.#listed(
      request,
      found.map((each) => this.#user(each)),
    );
  }

  #namespaces(request: FakeRequest): FakeAnswer {
    const own = this.#known(request.username);
    const groups = [...this.state.groups].filter(([, members]) => members.includes(request.username));
    return this.#listed(request, [
      {
        id: own.id,
        name: own.name,
        path: own.username,
        kind: 'user',
        full_path: own.username,
        avatar_url: null,
        web_url: `https://gitlab.example.com/${own.username}`,
      },
      ...groups.map(([path], index) => ({
        id: 500 + index,
        name: path,
        path: path.split('/').at(-1),
        kind: 'group',
        full_path: path,
        avatar_url: null,
        web_url: `https://gitlab.example.com/groups/${path}`,
      })),
    ]);
  }

  #projects(request: FakeRequest): FakeAnswer {
    const all = [...this.state.repositories.values()].filter((each) => !each.private);
    const seen = request.query.get('membership') === 'true' ? this.seenBy(request.username) : all;
    return this.#listed(
      request,
      seen.map((each) => this.#project(each, request)),
    );
  }

  #project(repository: FakeRepository, request: FakeRequest) {
    const role = repository.roles.get(request.username);
    const level = role === undefined ? null : { access_level: role === 'admin' ? 40 : 20 };
    return {
      id: repository.id,
      description: null,
      name: repository.name.split('/').at(-1),
      path_with_namespace: repository.name,
      default_branch: repository.defaultBranch,
      ssh_url_to_repo: `git@gitlab.example.com:${repository.name}.git`,
      http_url_to_repo: `${this.url}/${repository.name}.git`,
      web_url: `https://gitlab.example.com/${repository.name}`,
      last_activity_at: '2026-10-02T11:20:41.000Z',
      visibility: repository.private ? 'private' : 'public',
      namespace: { id: 1, full_path: repository.owner, path: repository.owner, kind: 'group' },
      permissions: { project_access: level, group_access: null },
    };
  }

  #commitView(repository: FakeRepository, commit: FakeCommit) {
    return {
      id: commit.sha,
      short_id: commit.sha.slice(0, 8),
      title: commit.message.split('\n')[0],
      message: commit.message,
      author_name: commit.author.name,
      author_email: commit.author.email,
      authored_date: commit.date,
      committer_name: commit.author.name,
      committer_email: commit.author.email,
      committed_date: commit.date,
      created_at: commit.date,
      parent_ids: commit.parent === undefined ? [] : [commit.parent],
      web_url: `https://gitlab.example.com/${repository.name}/-/commit/${commit.sha}`,
    };
  }

  #branches(request: FakeRequest): FakeAnswer {
    const repository = this.#at(request);
    return this.#listed(
      request,
      [...repository.branches].map(([name, sha]) => ({
        name,
        default: name === repository.defaultBranch,
        commit: this.#commitView(repository, repository.commitAt(sha)),
      })),
    );
  }

  #tags(request: FakeRequest): FakeAnswer {
    const repository = this.#at(request);
    return this.#listed(
      request,
      [...repository.tags].map(([name, { commit, object }]) => ({
        name,
        target: object,
        message: '',
        commit: this.#commitView(repository, repository.commitAt(commit)),
      })),
    );
  }

  #ref(request: FakeRequest): FakeAnswer {
    const repository = this.#at(request);
    const [, kind, name = ''] = request.parts;
    const sha = kind === 'branches' ? repository.branches.get(name) : repository.tags.get(name)?.commit;
    if (sha === undefined) throw new FakeRefusal(404, { message: '404 Not Found' });
    return ok({ name, commit: this.#commitView(repository, repository.commitAt(sha)) });
  }

  #commit(request: FakeRequest): FakeAnswer {
    const repository = this.#at(request);
    const commit = repository.resolve(request.parts[1] ?? '');
    if (commit === undefined) throw new FakeRefusal(404, { message: '404 Commit Not Found' });
    return ok(this.#commitView(repository, commit));
  }

  #tree(request: FakeRequest): FakeAnswer {
    const repository = this.#at(request);
    const commit = repository.resolve(request.query.get('ref') ?? repository.defaultBranch);
    if (commit === undefined) throw new FakeRefusal(404, { message: '404 Tree Not Found' });
    const recursive = request.query.get('recursive') === 'true';
    const entries = new Map<string, string>();
    for (const path of commit.files.keys()) {
      const parts = path.split('/');
      for (let depth = 1; depth <= parts.length; depth++)
        entries.set(parts.slice(0, depth).join('/'), depth === parts.length ? 'blob' : 'tree');
    }
    const shown = [...entries].filter(([path]) => recursive || !path.includes('/'));
    return this.#listed(
      request,
      shown.map(([path, type]) => ({
        id: commit.sha,
        name: path.split('/').at(-1),
        type,
        path,
        mode: type === 'blob' ? '100644' : '040000',
      })),
    );
  }

  #file(request: FakeRequest): FakeAnswer {
    const repository = this.#at(request);
    const commit = repository.resolve(request.query.get('ref') ?? '');
    if (commit === undefined) throw new FakeRefusal(404, { message: '404 Commit Not Found' });
    const path = request.parts[1] ?? '';
    const content = commit.files.get(path);
    if (content === undefined) throw new FakeRefusal(404, { message: '404 File Not Found' });
    return ok({
      file_name: path.split('/').at(-1),
      file_path: path,
      size: content.length,
      encoding: 'base64',
      content: content.toString('base64'),
      ref: request.query.get('ref'),
      commit_id: commit.sha,
    });
  }

  #compare(request: FakeRequest): FakeAnswer {
    const repository = this.#at(request);
    const from = repository.resolve(request.query.get('from') ?? '');
    const to = repository.resolve(request.query.get('to') ?? '');
    if (from === undefined || to === undefined) throw new FakeRefusal(404, { message: '404 Ref Not Found' });
    const { added, removed, modified } = repository.difference(from.sha, to.sha);
    return ok({
      commit: null,
      commits: [],
      diffs: [...added, ...removed, ...modified].map((path) => ({
        old_path: path,
        new_path: path,
        diff: '',
      })),
      compare_timeout: false,
      compare_same_ref: false,
    });
  }

  #hooks(request: FakeRequest): FakeAnswer {
    const repository = this.#admin(request);
    const hooks = [...repository.hooks.values()];
    return this.#listed(
      request,
      hooks.map(({ id, url }) => ({ id: Number(id), url, project_id: repository.id })),
    );
  }

  #keys(request: FakeRequest): FakeAnswer {
    const keys = [...this.#admin(request).keys.values()];
    return this.#listed(
      request,
      keys.map(({ id, title, key, readOnly }) => ({ id: Number(id), title, key, can_push: !readOnly })),
    );
  }

  #addHook(request: FakeRequest): FakeAnswer {
    const repository = this.#admin(request);
    const wish = JSON.parse(request.body.toString());
    if (!URL.canParse(wish.url)) throw new FakeRefusal(422, { error: `Invalid url given: ${wish.url}` });
    const id = repository.nextId();
    const events = ['push', 'tag_push', 'merge_request'].filter(
      (event) => wish[`${event === 'merge_request' ? 'merge_requests' : event}_events`] === true,
    );
    repository.hooks.set(String(id), { id: String(id), url: wish.url, secret: wish.token, events });
    return { status: 201, body: { id, url: wish.url, project_id: repository.id } };
  }

  #addKey(request: FakeRequest): FakeAnswer {
    const repository = this.#admin(request);
    const { title, key, can_push: canPush } = JSON.parse(request.body.toString());
    if (!/^ssh-\S+ \S+/.test(key))
      throw new FakeRefusal(400, { message: { key: ['type is forbidden. Must be ED25519'] } });
    const id = repository.nextId();
    repository.keys.set(String(id), { id: String(id), title, key, readOnly: canPush !== true });
    return { status: 201, body: { id, title, key, can_push: canPush } };
  }

  #remove(request: FakeRequest, what: 'hooks' | 'keys'): FakeAnswer {
    const repository = this.#admin(request);
    if (!repository[what].delete(request.parts[1] ?? '')) this.refuse(404, 'Not Found');
    return { status: 204 };
  }

  #setStatus(request: FakeRequest): FakeAnswer {
    const repository = this.#at(request);
    const commit = repository.commits.get(request.parts[1] ?? '');
    if (commit === undefined) throw new FakeRefusal(404, { message: '404 Commit Not Found' });
    const { state, target_url: url, description, name: context } = JSON.parse(request.body.toString());
    if (!['pending', 'running', 'success', 'failed', 'canceled'].includes(state))
      throw new FakeRefusal(400, { error: 'state does not have a valid value' });
    const last = repository.statuses.findLast(
      (each) => each.commit === commit.sha && each.context === context,
    );
    if (last?.state === state)
      throw new FakeRefusal(400, {
        message: `Cannot transition status via :enqueue from :${state} (Reason(s): Status cannot transition via "enqueue")`,
      });
    repository.statuses.push({ commit: commit.sha, state, context, url, description });
    return { status: 201, body: { id: repository.nextId(), sha: commit.sha, status: state, name: context } };
  }
}

function ok(body: unknown): FakeAnswer {
  return { status: 200, body };
}
