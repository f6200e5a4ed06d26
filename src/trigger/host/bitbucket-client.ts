import { createHash } from 'node:crypto';
import type { CommitStatus, HostClient, HostNamespace, HostRepository } from '../git-host.ts';
import { HostError } from '../host-error.ts';
import type { CommitInfo, CommitPerson, TriggerMetadata } from '../metadata.ts';
import type { AuthorizedHttp } from './authorized-http.ts';
import { BitbucketRefusal, bitbucketError } from './bitbucket-error.ts';
import { anyCommit, fullCommit, isDockerfile, isRefName, isRepositoryPath } from './git-names.ts';
import { person, withoutGaps } from './hook-event.ts';
import { isSameKey } from './installed-key.ts';
import { Payload } from './payload.ts';
import { removeIfThere } from './removal.ts';

/** Pages of 100; what comes after them is not looked at. */
const mostPages = 30;
const pageLength = 100;
/** Folders deep that Dockerfiles are looked for. */
const depth = 12;
const longestStatusKey = 40;

type Query = Readonly<Record<string, string>>;

/** Bitbucket Cloud's REST interface, version 2.0. There is no library for it that is looked after. */
export class BitbucketClient implements HostClient {
  readonly #http: AuthorizedHttp;
  /** Without a slash at the end. */
  readonly #api: string;

  constructor(options: { readonly http: AuthorizedHttp; readonly api: string }) {
    this.#http = options.http;
    this.#api = options.api;
  }

  async account(signal: AbortSignal) {
    const call = this.#call('asking whose token it is', signal);
    const user = await call.json('GET', '/user');
    return { username: nameOf(user) ?? user.at('nickname').fail('the name of an account') };
  }

  async namespaces(signal: AbortSignal): Promise<readonly HostNamespace[]> {
    const call = this.#call('listing workspaces', signal);
    const own = nameOf(await call.json('GET', '/user'));
    const found = await call.all('/user/workspaces');
    return found.map((each) => {
      const inner = each.at('workspace');
      const workspace = inner.present ? inner : each;
      const id = workspace.at('slug').text();
      return withoutGaps<HostNamespace>({
        id,
        title: workspace.at('name').optionalText() ?? id,
        personal: id === own,
        avatarUrl: workspace.at('links', 'avatar', 'href').link(),
        url: workspace.at('links', 'html', 'href').link(),
      });
    });
  }

  async repositories(namespace: string, signal: AbortSignal): Promise<readonly HostRepository[]> {
    const call = this.#call(`listing the repositories of ${namespace}`, signal);
    if (!/^[^\s/?#%\\]{1,200}$/.test(namespace) || namespace === '.' || namespace === '..') return [];
    const at = `/repositories/${encodeURIComponent(namespace)}`;
    // A repository does not say what the account may do with it; which ones it administers is a list of its own.
    const administered = await call.all(at, { role: 'admin' });
    const admins = new Set(administered.map((each) => each.at('full_name').text()));
    const found = await call.all(at, { role: 'member', sort: '-updated_on' });
    return found.map((each) => repositoryOf(each, admins.has(each.at('full_name').text())));
  }

  async repository(name: string, signal: AbortSignal) {
    const call = this.#call(`looking at ${name}`, signal);
    const at = pathOf(name);
    const found = await call.json('GET', at);
    const [workspace = ''] = name.split('/');
    const full = found.at('full_name').text();
    const administered = await call.all(`/repositories/${encodeURIComponent(workspace)}`, {
      role: 'admin',
      q: `full_name="${full.replace(/[\\"]/g, '')}"`,
    });
    const ssh = found
      .at('links', 'clone')
      .list()
      .find((each) => each.at('name').text() === 'ssh');
    return {
      ...repositoryOf(found, administered.length > 0),
      sshUrl: ssh?.at('href').text() ?? `git@bitbucket.org:${full}.git`,
    };
  }

  async refs(repository: string, kind: 'branch' | 'tag', signal: AbortSignal) {
    const call = this.#call(`listing refs of ${repository}`, signal);
    const found = await call.all(`${pathOf(repository)}/refs/${kind === 'branch' ? 'branches' : 'tags'}`);
    return found.map((each) => ({
      name: each.at('name').text(),
      commit: each.at('target', 'hash').shaped(anyCommit).toLowerCase(),
    }));
  }

  async dockerfiles(repository: string, ref: string, signal: AbortSignal): Promise<readonly string[]> {
    const call = this.#call(`listing files of ${repository}`, signal);
    const sha = shaOf(await this.#needCommit(call, repository, ref));
    const found = await call.all(`${pathOf(repository)}/src/${sha}/`, { max_depth: String(depth) });
    return found
      .filter((each) => each.at('type').text() === 'commit_file')
      .map((each) => each.at('path').text())
      .filter(isDockerfile)
      .map((path) => `/${path}`);
  }

  async file(repository: string, ref: string, path: string, most: number, signal: AbortSignal) {
    const call = this.#call(`reading ${path} of ${repository}`, signal);
    const commit = await this.#findCommit(call, repository, ref);
    if (commit === undefined) return undefined;
    const bare = path.replace(/^\/+/, '');
    const parts = bare.split('/');
    if (bare === '' || parts.includes('..') || parts.includes('.')) return undefined;
    const at = `${pathOf(repository)}/src/${shaOf(commit)}/${parts.map(encodeURIComponent).join('/')}`;
    const about = await missing(() => call.json('GET', at, { format: 'meta' }));
    if (about === undefined || about.at('type').text() !== 'commit_file') return undefined;
    const size = about.at('size').whole();
    const bytes = size > most ? undefined : await call.bytes(at);
    if (bytes === undefined || bytes.byteLength > most)
      throw new HostError(
        'unexpected',
        `${path} of ${repository} has ${size} bytes; at most ${most} are read.`,
      );
    return bytes;
  }

  async commit(repository: string, ref: string, signal: AbortSignal) {
    const call = this.#call(`looking at a commit of ${repository}`, signal);
    const found = await this.#findCommit(call, repository, ref);
    return found === undefined ? undefined : { sha: shaOf(found), info: infoOf(found) };
  }

  /** A name with a slash is not understood where a commit is expected, so refs are looked up as what they are. */
  async #findCommit(call: Call, repository: string, ref: string): Promise<Payload | undefined> {
    if (!isRefName(ref)) return undefined;
    const at = pathOf(repository);
    if (anyCommit.fits(ref)) {
      const found = await missing(() => call.json('GET', `${at}/commit/${ref}`));
      if (found !== undefined) return found;
    }
    return (
      (await this.#findHead(call, repository, 'branch', ref)) ??
      (await this.#findHead(call, repository, 'tag', ref))
    );
  }

  async head(repository: string, kind: 'branch' | 'tag', name: string, signal: AbortSignal) {
    const call = this.#call(`looking at a ${kind} of ${repository}`, signal);
    const found = isRefName(name) ? await this.#findHead(call, repository, kind, name) : undefined;
    return found === undefined ? undefined : { sha: shaOf(found), info: infoOf(found) };
  }

  async #findHead(
    call: Call,
    repository: string,
    kind: 'branch' | 'tag',
    name: string,
  ): Promise<Payload | undefined> {
    const at = pathOf(repository);
    const kinds = kind === 'branch' ? 'branches' : 'tags';
    const found = await missing(() => call.json('GET', `${at}/refs/${kinds}/${encodeURIComponent(name)}`));
    if (found === undefined) return undefined;
    return await call.json('GET', `${at}/commit/${found.at('target', 'hash').shaped(fullCommit)}`);
  }

  async #needCommit(call: Call, repository: string, ref: string): Promise<Payload> {
    const found = await this.#findCommit(call, repository, ref);
    if (found !== undefined) return found;
    throw new HostError('not-found', `Bitbucket has no branch, tag or commit of that name in ${repository}.`);
  }

  async changedPaths(repository: string, before: string, after: string, signal: AbortSignal) {
    const call = this.#call(`comparing commits of ${repository}`, signal);
    if (!anyCommit.fits(before) || !anyCommit.fits(after)) return undefined;
    // Bitbucket writes the newer one first.
    const at = `${pathOf(repository)}/diffstat/${after}..${before}`;
    const found = await missing(() => call.all(at, {}));
    if (found === undefined || found.length >= mostPages * pageLength) return undefined;
    const paths = found.flatMap((each) =>
      ['old', 'new'].flatMap((side) => each.at(side, 'path').optionalText() ?? []),
    );
    return [...new Set(paths)];
  }

  async complete(
    repository: string,
    metadata: TriggerMetadata,
    signal: AbortSignal,
  ): Promise<TriggerMetadata | undefined> {
    const fallback = metadata.default_branch ?? (await this.repository(repository, signal)).defaultBranch;
    let { commit, commit_info: info } = metadata;
    if (info === undefined || !fullCommit.fits(commit)) {
      // The commit of a pull request from a fork is in that fork.
      const [, source = repository] = /^git@[^:]+:(.+?)\.git$/.exec(metadata.git_url) ?? [];
      const found = await this.commit(source, commit, signal);
      if (found === undefined) return undefined;
      commit = found.sha;
      info ??= found.info;
    }
    return withoutGaps<TriggerMetadata>({
      commit,
      ref: metadata.ref,
      default_branch: fallback,
      git_url: metadata.git_url,
      commit_info: info,
    });
  }

  async addHook(
    repository: string,
    hook: { readonly url: string; readonly secret: string },
    signal: AbortSignal,
  ): Promise<string> {
    const call = this.#call(`installing the webhook at ${repository}`, signal, [hook.url, hook.secret]);
    const added = await call.json(
      'POST',
      `${pathOf(repository)}/hooks`,
      {},
      {
        description: 'Slipway',
        url: hook.url,
        secret: hook.secret,
        active: true,
        events: ['repo:push', 'pullrequest:created', 'pullrequest:updated'],
      },
    );
    return added.at('uuid').text();
  }

  async hooksTo(repository: string, url: string, signal: AbortSignal): Promise<readonly string[]> {
    const call = this.#call(`listing the webhooks of ${repository}`, signal);
    const found = await call.all(`${pathOf(repository)}/hooks`);
    return found
      .filter((each) => each.at('url').optionalText() === url)
      .map((each) => each.at('uuid').text());
  }

  async removeHook(repository: string, id: string, signal: AbortSignal): Promise<void> {
    await this.#remove('webhook', repository, `hooks/${encodeURIComponent(id)}`, signal);
  }

  async addKey(
    repository: string,
    key: { readonly title: string; readonly publicKey: string },
    signal: AbortSignal,
  ): Promise<string> {
    const call = this.#call(`installing the deploy key at ${repository}`, signal);
    const added = await call.json(
      'POST',
      `${pathOf(repository)}/deploy-keys`,
      {},
      {
        label: key.title,
        key: key.publicKey,
      },
    );
    return String(added.at('id').whole());
  }

  async keysOf(repository: string, publicKey: string, signal: AbortSignal): Promise<readonly string[]> {
    const call = this.#call(`listing the deploy keys of ${repository}`, signal);
    const found = await call.all(`${pathOf(repository)}/deploy-keys`);
    return found
      .filter((each) => isSameKey(each.at('key').text(), publicKey))
      .map((each) => String(each.at('id').whole()));
  }

  async removeKey(repository: string, id: string, signal: AbortSignal): Promise<void> {
    await this.#remove('deploy key', repository, `deploy-keys/${encodeURIComponent(id)}`, signal);
  }

  async #remove(what: string, repository: string, at: string, signal: AbortSignal): Promise<void> {
    await removeIfThere(this, repository, signal, async () => {
      await this.#call(`removing the ${what} at ${repository}`, signal).none(
        'DELETE',
        `${pathOf(repository)}/${at}`,
      );
    });
  }

  async setStatus(
    repository: string,
    commit: string,
    status: CommitStatus,
    signal: AbortSignal,
  ): Promise<void> {
    const call = this.#call(`setting the status of a commit of ${repository}`, signal);
    const at = `${pathOf(repository)}/commit/${encodeURIComponent(commit)}/statuses/build`;
    await call.json(
      'POST',
      at,
      {},
      {
        key: statusKey(status.context),
        name: status.context,
        state: stateOf(status.state),
        url: status.url,
        description: status.description.slice(0, 255).toWellFormed(),
      },
    );
  }

  #call(what: string, signal: AbortSignal, secrets: readonly string[] = []): Call {
    return new Call(this.#api, what, this.#http.fetchFor(signal, secrets));
  }
}

/** The requests of one call of the client; what they throw is translated. */
class Call {
  readonly #api: string;
  readonly #what: string;
  readonly #fetch: typeof fetch;

  constructor(api: string, what: string, send: typeof fetch) {
    this.#api = api;
    this.#what = what;
    this.#fetch = send;
  }

  async json(method: string, path: string, query: Query = {}, body?: object): Promise<Payload> {
    return answer(await this.#jsonAt(method, this.#urlOf(path, query), body));
  }

  async none(method: string, path: string): Promise<void> {
    await this.#send(method, this.#urlOf(path, {}), undefined);
  }

  async bytes(path: string): Promise<Uint8Array> {
    const response = await this.#send('GET', this.#urlOf(path, {}), undefined);
    return new Uint8Array(await response.arrayBuffer());
  }

  /** Follows `next`, which is a whole URL; HostHttp lets it lead to the host itself only. */
  async all(path: string, query: Query = {}): Promise<readonly Payload[]> {
    const found: Payload[] = [];
    let url: string | undefined = this.#urlOf(path, { ...query, pagelen: String(pageLength) });
    for (let page = 0; url !== undefined && page < mostPages; page++) {
      const part = answer(await this.#jsonAt('GET', url));
      found.push(...part.at('values').list());
      url = part.at('next').optionalText(16_384);
    }
    return found;
  }

  #urlOf(path: string, query: Query): string {
    const search = new URLSearchParams(query).toString();
    return `${this.#api}${path}${search === '' ? '' : `?${search}`}`;
  }

  async #jsonAt(method: string, url: string, body?: object): Promise<unknown> {
    const response = await this.#send(method, url, body);
    try {
      return await response.json();
    } catch (thrown) {
      throw bitbucketError(thrown, this.#what);
    }
  }

  async #send(method: string, url: string, body: object | undefined): Promise<Response> {
    try {
      const response = await this.#fetch(url, {
        method,
        headers: {
          accept: 'application/json',
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      if (response.ok) return response;
      const data: unknown = await response.json().catch(() => undefined);
      throw new BitbucketRefusal(response.status, response.headers, data);
    } catch (thrown) {
      throw bitbucketError(thrown, this.#what);
    }
  }
}

function answer(value: unknown): Payload {
  return Payload.ofAnswer(value, 'Bitbucket');
}

async function missing<Result>(ask: () => Promise<Result>): Promise<Result | undefined> {
  try {
    return await ask();
  } catch (thrown) {
    if (thrown instanceof HostError && thrown.code === 'not-found') return undefined;
    throw thrown;
  }
}

function pathOf(repository: string): string {
  const [workspace, slug, more] = isRepositoryPath(repository) ? repository.split('/') : [];
  if (workspace === undefined || slug === undefined || more !== undefined)
    throw new HostError(
      'not-found',
      `"${repository.slice(0, 200)}" is no repository at Bitbucket: write WORKSPACE/NAME.`,
    );
  return `/repositories/${encodeURIComponent(workspace)}/${encodeURIComponent(slug)}`;
}

/** Accounts have lost their user names at Bitbucket; those that still have one are known by it. */
function nameOf(user: Payload): string | undefined {
  const names = ['username', 'nickname', 'display_name'].map((key) => user.at(key).optionalText());
  return names.find((name) => name !== undefined && name !== '');
}

function repositoryOf(found: Payload, admin: boolean): HostRepository {
  const time = Date.parse(found.at('updated_on').optionalText() ?? '');
  return withoutGaps<HostRepository>({
    name: found.at('full_name').text(),
    description: found.at('description').optionalText() ?? '',
    url: found.at('links', 'html', 'href').link() ?? '',
    private: found.at('is_private').flag(),
    defaultBranch: found.at('mainbranch', 'name').optionalText(),
    lastUpdated: Number.isNaN(time) ? 0 : time,
    admin,
  });
}

function shaOf(commit: Payload): string {
  return commit.at('hash').shaped(fullCommit).toLowerCase();
}

function infoOf(commit: Payload): CommitInfo {
  const user = commit.at('author', 'user');
  const names = ['display_name', 'nickname', 'username'].map((key) => user.at(key).optionalText());
  const author: CommitPerson | undefined = person(
    names.find((name) => name !== undefined && name !== ''),
    user.at('links', 'html', 'href').link(),
    user.at('links', 'avatar', 'href').link(),
  );
  return withoutGaps<CommitInfo>({
    url: commit.at('links', 'html', 'href').link() ?? '',
    message: commit.at('message').message(),
    date: commit.at('date').text(),
    author,
    committer: undefined,
  });
}

function stateOf(state: CommitStatus['state']): 'INPROGRESS' | 'SUCCESSFUL' | 'FAILED' {
  if (state === 'pending') return 'INPROGRESS';
  return state === 'success' ? 'SUCCESSFUL' : 'FAILED';
}

/** Statuses are told apart by a key that must not be long. */
function statusKey(context: string): string {
  if (context.length <= longestStatusKey) return context;
  return createHash('sha256').update(context).digest('hex').slice(0, longestStatusKey);
}
