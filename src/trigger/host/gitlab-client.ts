import type { Clock } from '../../base/clock.ts';
import type { CommitStatus, HostClient, HostNamespace, HostRepository } from '../git-host.ts';
import { HostError } from '../host-error.ts';
import type { CommitInfo, CommitPerson, TriggerMetadata } from '../metadata.ts';
import type { AuthorizedHttp } from './authorized-http.ts';
import { anyCommit, isDockerfile, isRefName, isRepositoryPath } from './git-names.ts';
import { GitlabRefusal, gitlabError } from './gitlab-error.ts';
import { person, withoutGaps } from './hook-event.ts';
import { isSameKey } from './installed-key.ts';
import { Payload } from './payload.ts';
import { removeIfThere } from './removal.ts';

/** Pages of 100; what comes after them is not looked at. */
const pages = { perPage: 100, maxPages: 30 };
/** GitLab cuts comparisons that are larger, and does not always say so. */
const mostComparedFiles = 1000;
const maintainer = 40;

type Library = typeof import('@gitbeaker/rest');
type Requester = typeof import('./gitlab-requester.ts');

/** Gitbeaker is loaded when the first client is used: a server without GitLab does without it. */
let library: Promise<readonly [Library, Requester]> | undefined;

/** The library wants a token; the real one takes its place in AuthorizedHttp. */
const standIn = 'none';

interface Call {
  readonly gitlab: Library;
  /** For the constructor of each resource. */
  readonly at: {
    readonly host: string;
    readonly requesterFn: never;
    readonly rateLimits: Record<string, never>;
    readonly queryTimeout: null;
    readonly oauthToken: string;
  };
}

/** GitLab's REST interface by gitbeaker. Requests of a call are bound to the call's signal. */
export class GitlabClient implements HostClient {
  readonly #http: AuthorizedHttp;
  readonly #site: string;
  readonly #clock: Clock;

  constructor(options: { readonly http: AuthorizedHttp; readonly site: string; readonly clock: Clock }) {
    this.#http = options.http;
    this.#site = options.site;
    this.#clock = options.clock;
  }

  async account(signal: AbortSignal) {
    return await this.#call('asking whose token it is', signal, async ({ gitlab, at }) => {
      const user = answer(await new gitlab.Users(at).showCurrentUser());
      return { username: user.at('username').text() };
    });
  }

  async namespaces(signal: AbortSignal): Promise<readonly HostNamespace[]> {
    return await this.#call('listing groups', signal, async ({ gitlab, at }) => {
      const found = answers(await new gitlab.Namespaces(at).all(pages));
      return found.map((each) =>
        withoutGaps<HostNamespace>({
          id: each.at('full_path').text(),
          title: each.at('name').text(),
          personal: each.at('kind').text() === 'user',
          avatarUrl: each.at('avatar_url').link(),
          url: each.at('web_url').link(),
        }),
      );
    });
  }

  async repositories(namespace: string, signal: AbortSignal): Promise<readonly HostRepository[]> {
    return await this.#call(`listing the repositories of ${namespace}`, signal, async ({ gitlab, at }) => {
      const found = answers(await new gitlab.Projects(at).all({ membership: true, ...pages }));
      return found
        .filter((each) => each.at('namespace', 'full_path').text().toLowerCase() === namespace.toLowerCase())
        .map(repositoryOf);
    });
  }

  async repository(name: string, signal: AbortSignal) {
    return await this.#call(`looking at ${name}`, signal, async ({ gitlab, at }) => {
      const found = answer(await new gitlab.Projects(at).show(project(name)));
      return { ...repositoryOf(found), sshUrl: found.at('ssh_url_to_repo').text() };
    });
  }

  async refs(repository: string, kind: 'branch' | 'tag', signal: AbortSignal) {
    return await this.#call(`listing refs of ${repository}`, signal, async ({ gitlab, at }) => {
      const resource = kind === 'branch' ? new gitlab.Branches(at) : new gitlab.Tags(at);
      const found = answers(await resource.all(project(repository), pages));
      return found.map((each) => ({
        name: each.at('name').text(),
        commit: each.at('commit', 'id').shaped(anyCommit).toLowerCase(),
      }));
    });
  }

  async dockerfiles(repository: string, ref: string, signal: AbortSignal): Promise<readonly string[]> {
    return await this.#call(`listing files of ${repository}`, signal, async ({ gitlab, at }) => {
      const found = answers(
        await new gitlab.Repositories(at).allRepositoryTrees(project(repository), {
          ref,
          recursive: true,
          ...pages,
        }),
      );
      return found
        .filter((each) => each.at('type').text() === 'blob')
        .map((each) => each.at('path').text())
        .filter(isDockerfile)
        .map((path) => `/${path}`);
    });
  }

  async file(repository: string, ref: string, path: string, most: number, signal: AbortSignal) {
    return await this.#call(`reading ${path} of ${repository}`, signal, async ({ gitlab, at }) => {
      const found = await missing(() =>
        new gitlab.RepositoryFiles(at).show(project(repository), path.replace(/^\/+/, ''), ref),
      );
      if (found === undefined) return undefined;
      const file = answer(found);
      const size = file.at('size').whole();
      const content = file.at('content').text(Number.POSITIVE_INFINITY);
      const bytes = new Uint8Array(Buffer.from(content, 'base64'));
      if (size > most || bytes.byteLength > most)
        throw new HostError(
          'unexpected',
          `${path} of ${repository} has ${size} bytes; at most ${most} are read.`,
        );
      return bytes;
    });
  }

  async commit(repository: string, ref: string, signal: AbortSignal) {
    return await this.#call(`looking at a commit of ${repository}`, signal, async (call) => {
      const found = await this.#showCommit(call, repository, ref);
      return found === undefined
        ? undefined
        : { sha: shaOf(found), info: { ...infoOf(found), ...(await this.#people(call, found)) } };
    });
  }

  async head(repository: string, kind: 'branch' | 'tag', name: string, signal: AbortSignal) {
    return await this.#call(`looking at a ${kind} of ${repository}`, signal, async (call) => {
      if (!isRefName(name)) return undefined;
      const { gitlab, at } = call;
      const of = project(repository);
      const found = await missing<unknown>(() =>
        kind === 'branch' ? new gitlab.Branches(at).show(of, name) : new gitlab.Tags(at).show(of, name),
      );
      if (found === undefined) return undefined;
      const commit = answer(found).at('commit');
      return { sha: shaOf(commit), info: { ...infoOf(commit), ...(await this.#people(call, commit)) } };
    });
  }

  async #showCommit({ gitlab, at }: Call, repository: string, ref: string): Promise<Payload | undefined> {
    if (!isRefName(ref)) return undefined;
    const found = await missing(() => new gitlab.Commits(at).show(project(repository), ref));
    return found === undefined ? undefined : answer(found);
  }

  /** GitLab names people of a commit by e-mail; whose account that is, is a question of its own. */
  async #people(
    call: Call,
    commit: Payload,
  ): Promise<{ readonly author?: CommitPerson; readonly committer?: CommitPerson }> {
    const [first, second] = ['author_email', 'committer_email'].map((key) => commit.at(key).optionalText());
    const author = await this.#account(call, first);
    return withoutGaps<{ author?: CommitPerson; committer?: CommitPerson }>({
      author,
      committer: second === first ? author : await this.#account(call, second),
    });
  }

  async #account({ gitlab, at }: Call, email: string | undefined): Promise<CommitPerson | undefined> {
    if (email === undefined || email === '') return undefined;
    const [user] = answers(await new gitlab.Users(at).all({ search: email, perPage: 1, maxPages: 1 }));
    if (user === undefined) return undefined;
    return person(user.at('username').text(), user.at('web_url').link(), user.at('avatar_url').link());
  }

  async changedPaths(repository: string, before: string, after: string, signal: AbortSignal) {
    return await this.#call(`comparing commits of ${repository}`, signal, async ({ gitlab, at }) => {
      const found = await missing(() =>
        new gitlab.Repositories(at).compare(project(repository), before, after),
      );
      if (found === undefined) return undefined;
      const comparison = answer(found);
      const files = comparison.at('diffs').list();
      if (comparison.at('compare_timeout').flag() || files.length >= mostComparedFiles) return undefined;
      return [...new Set(files.flatMap((each) => [each.at('old_path').text(), each.at('new_path').text()]))];
    });
  }

  async complete(
    repository: string,
    metadata: TriggerMetadata,
    signal: AbortSignal,
  ): Promise<TriggerMetadata | undefined> {
    const fallback = metadata.default_branch ?? (await this.repository(repository, signal)).defaultBranch;
    return await this.#call(`looking at a commit of ${repository}`, signal, async (call) => {
      const found = await this.#showCommit(call, repository, metadata.commit);
      const told = metadata.commit_info ?? (found === undefined ? undefined : infoOf(found));
      // A commit that neither the payload nor the host can tell of is not built.
      if (told === undefined) return undefined;
      return withoutGaps<TriggerMetadata>({
        commit: metadata.commit,
        ref: metadata.ref,
        default_branch: fallback,
        git_url: metadata.git_url,
        commit_info: { ...told, ...(found === undefined ? {} : await this.#people(call, found)) },
      });
    });
  }

  async addHook(
    repository: string,
    hook: { readonly url: string; readonly secret: string },
    signal: AbortSignal,
  ): Promise<string> {
    return await this.#call(
      `installing the webhook at ${repository}`,
      signal,
      async ({ gitlab, at }) => {
        const added = await new gitlab.ProjectHooks(at).add(project(repository), hook.url, {
          token: hook.secret,
          pushEvents: true,
          tagPushEvents: true,
          mergeRequestsEvents: true,
          enableSslVerification: true,
        });
        return String(answer(added).at('id').whole());
      },
      [hook.url, hook.secret],
    );
  }

  async hooksTo(repository: string, url: string, signal: AbortSignal): Promise<readonly string[]> {
    return await this.#call(`listing the webhooks of ${repository}`, signal, async ({ gitlab, at }) => {
      const found = answers(await new gitlab.ProjectHooks(at).all(project(repository), pages));
      return found
        .filter((each) => each.at('url').optionalText() === url)
        .map((each) => String(each.at('id').whole()));
    });
  }

  async removeHook(repository: string, id: string, signal: AbortSignal): Promise<void> {
    await removeIfThere(this, repository, signal, () =>
      this.#call(`removing the webhook at ${repository}`, signal, async ({ gitlab, at }) => {
        await new gitlab.ProjectHooks(at).remove(project(repository), numbered(id));
      }),
    );
  }

  async addKey(
    repository: string,
    key: { readonly title: string; readonly publicKey: string },
    signal: AbortSignal,
  ): Promise<string> {
    return await this.#call(`installing the deploy key at ${repository}`, signal, async ({ gitlab, at }) => {
      const keys = new gitlab.DeployKeys(at);
      const added = await keys.create(project(repository), key.title, key.publicKey, { canPush: false });
      return String(answer(added).at('id').whole());
    });
  }

  async keysOf(repository: string, publicKey: string, signal: AbortSignal): Promise<readonly string[]> {
    return await this.#call(`listing the deploy keys of ${repository}`, signal, async ({ gitlab, at }) => {
      const found = answers(
        await new gitlab.DeployKeys(at).all({ projectId: project(repository), ...pages }),
      );
      return found
        .filter((each) => isSameKey(each.at('key').text(), publicKey))
        .map((each) => String(each.at('id').whole()));
    });
  }

  async removeKey(repository: string, id: string, signal: AbortSignal): Promise<void> {
    await removeIfThere(this, repository, signal, () =>
      this.#call(`removing the deploy key at ${repository}`, signal, async ({ gitlab, at }) => {
        await new gitlab.DeployKeys(at).remove(project(repository), numbered(id));
      }),
    );
  }

  async setStatus(
    repository: string,
    commit: string,
    status: CommitStatus,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#call(`setting the status of a commit of ${repository}`, signal, async ({ gitlab, at }) => {
      const commits = new gitlab.Commits(at);
      try {
        await commits.editStatus(project(repository), commit, stateOf(status.state), {
          name: status.context,
          targetUrl: status.url,
          description: status.description.slice(0, 255).toWellFormed(),
        });
      } catch (thrown) {
        // The status is what it should be already.
        if (thrown instanceof GitlabRefusal && isSameState(thrown)) return;
        throw thrown;
      }
    });
  }

  async #call<Result>(
    what: string,
    signal: AbortSignal,
    run: (call: Call) => Promise<Result>,
    secrets: readonly string[] = [],
  ): Promise<Result> {
    try {
      library ??= Promise.all([import('@gitbeaker/rest'), import('./gitlab-requester.ts')]);
      const [gitlab, { gitlabRequester }] = await library;
      const requesterFn = gitlabRequester(this.#http.fetchFor(signal, secrets), pages.maxPages) as never;
      const at = { host: this.#site, requesterFn, rateLimits: {}, queryTimeout: null, oauthToken: standIn };
      return await run({ gitlab, at });
    } catch (thrown) {
      throw gitlabError(thrown, what, this.#clock.now());
    }
  }
}

function answer(value: unknown): Payload {
  return Payload.ofAnswer(value, 'GitLab');
}

function answers(value: unknown): readonly Payload[] {
  return answer(value).list();
}

/** Undefined for what is not there. */
async function missing<Result>(ask: () => Promise<Result>): Promise<Result | undefined> {
  try {
    return await ask();
  } catch (thrown) {
    if (thrown instanceof GitlabRefusal && thrown.status === 404) return undefined;
    throw thrown;
  }
}

/** What is no path would be another endpoint. */
function project(repository: string): string {
  if (!isRepositoryPath(repository))
    throw new HostError(
      'not-found',
      `"${repository.slice(0, 200)}" is no repository at GitLab: write GROUP/NAME.`,
    );
  return repository;
}

function numbered(id: string): number {
  if (!/^\d{1,15}$/.test(id)) throw new HostError('not-found', 'GitLab has nothing of that name.');
  return Number(id);
}

function repositoryOf(found: Payload): HostRepository {
  const levels = ['project_access', 'group_access'].map(
    (key) => found.at('permissions', key, 'access_level').optionalWhole() ?? 0,
  );
  const time = Date.parse(found.at('last_activity_at').optionalText() ?? '');
  return withoutGaps<HostRepository>({
    name: found.at('path_with_namespace').text(),
    description: found.at('description').optionalText() ?? '',
    url: found.at('web_url').link() ?? '',
    private: found.at('visibility').optionalText() !== 'public',
    defaultBranch: found.at('default_branch').optionalText(),
    lastUpdated: Number.isNaN(time) ? 0 : time,
    admin: Math.max(...levels) >= maintainer,
  });
}

function shaOf(commit: Payload): string {
  return commit.at('id').shaped(anyCommit).toLowerCase();
}

function infoOf(commit: Payload): CommitInfo {
  return {
    url: commit.at('web_url').link() ?? '',
    message: commit.at('message').message(),
    date: commit.at('committed_date').optionalText() ?? commit.at('created_at').text(),
  };
}

function stateOf(state: CommitStatus['state']): 'pending' | 'success' | 'failed' | 'canceled' {
  return state === 'pending' || state === 'success' ? state : 'failed';
}

function isSameState({ status, data }: GitlabRefusal): boolean {
  return status === 400 && /cannot transition status/i.test(JSON.stringify(data));
}
