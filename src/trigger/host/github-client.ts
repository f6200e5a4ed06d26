import type { Octokit } from '@octokit/rest';
import type { Clock } from '../../base/clock.ts';
import type { CommitStatus, HostClient, HostNamespace, HostRepository } from '../git-host.ts';
import { HostError } from '../host-error.ts';
import type { CommitInfo, CommitPerson, TriggerMetadata } from '../metadata.ts';
import type { AuthorizedHttp } from './authorized-http.ts';
import { anyCommit, isDockerfile, isRefName, isRepositoryPath } from './git-names.ts';
import { githubError } from './github-error.ts';
import { person, withoutGaps } from './hook-event.ts';
import { isSameKey } from './installed-key.ts';
import { Payload } from './payload.ts';
import { removeIfThere } from './removal.ts';

/** Pages of 100; what comes after them is not looked at. */
const mostPages = 30;
/** So many files of a comparison GitHub tells at most. */
const mostComparedFiles = 300;
const longestDescription = 140;

type Rest = Octokit['rest'];
type Library = typeof import('@octokit/rest');

/** Octokit is loaded when the first client is used: a server without GitHub does without it. */
let library: Promise<Library> | undefined;

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** GitHub's REST interface by octokit, of which each call has one of its own: it is bound to the call's signal. */
export class GithubClient implements HostClient {
  readonly #http: AuthorizedHttp;
  readonly #api: string;
  readonly #clock: Clock;

  constructor(options: { readonly http: AuthorizedHttp; readonly api: string; readonly clock: Clock }) {
    this.#http = options.http;
    this.#api = options.api;
    this.#clock = options.clock;
  }

  async account(signal: AbortSignal) {
    return await this.#call('asking whose token it is', signal, async ({ rest }) => {
      const { data } = await rest.users.getAuthenticated();
      return { username: answer(data).at('login').text() };
    });
  }

  async namespaces(signal: AbortSignal): Promise<readonly HostNamespace[]> {
    return await this.#call('listing accounts and organizations', signal, async (api) => {
      const user = answer((await api.rest.users.getAuthenticated()).data);
      const organizations = await all(api, api.rest.orgs.listForAuthenticatedUser, {});
      const shared = await all(api, api.rest.repos.listForAuthenticatedUser, {
        affiliation: 'collaborator',
      });
      const found = new Map<string, HostNamespace>();
      const add = (owner: Payload, personal: boolean) => {
        const id = owner.at('login').text();
        if (!found.has(id.toLowerCase()))
          found.set(
            id.toLowerCase(),
            withoutGaps<HostNamespace>({
              id,
              title: id,
              personal,
              avatarUrl: owner.at('avatar_url').link(),
              url: owner.at('html_url').link(),
            }),
          );
      };
      add(user, true);
      for (const each of organizations) add(each, false);
      for (const each of shared) add(each.at('owner'), false);
      return [...found.values()];
    });
  }

  async repositories(namespace: string, signal: AbortSignal): Promise<readonly HostRepository[]> {
    return await this.#call(`listing the repositories of ${namespace}`, signal, async (api) => {
      // What the account may see and belongs to the namespace: its own, its organizations', and those shared with it.
      const seen = await all(api, api.rest.repos.listForAuthenticatedUser, {
        affiliation: 'owner,collaborator,organization_member',
        sort: 'pushed',
      });
      return seen
        .filter((each) => each.at('owner', 'login').text().toLowerCase() === namespace.toLowerCase())
        .map(repositoryOf);
    });
  }

  async repository(name: string, signal: AbortSignal) {
    return await this.#call(`looking at ${name}`, signal, async ({ rest }) => {
      const found = answer((await rest.repos.get(split(name))).data);
      return { ...repositoryOf(found), sshUrl: found.at('ssh_url').text() };
    });
  }

  async refs(repository: string, kind: 'branch' | 'tag', signal: AbortSignal) {
    return await this.#call(`listing refs of ${repository}`, signal, async (api) => {
      const found = await all(
        api,
        kind === 'branch' ? api.rest.repos.listBranches : api.rest.repos.listTags,
        split(repository),
      );
      return found.map((each) => ({
        name: each.at('name').text(),
        commit: each.at('commit', 'sha').shaped(anyCommit).toLowerCase(),
      }));
    });
  }

  async dockerfiles(repository: string, ref: string, signal: AbortSignal): Promise<readonly string[]> {
    return await this.#call(`listing files of ${repository}`, signal, async ({ rest }) => {
      const at = split(repository);
      const commit = answer((await rest.repos.getCommit({ ...at, ref, per_page: 1 })).data);
      const tree = commit.at('commit', 'tree', 'sha').shaped(anyCommit);
      const found = answer((await rest.git.getTree({ ...at, tree_sha: tree, recursive: 'true' })).data);
      return found
        .at('tree')
        .list(Number.POSITIVE_INFINITY)
        .filter((each) => each.at('type').text() === 'blob')
        .map((each) => each.at('path').text())
        .filter(isDockerfile)
        .map((path) => `/${path}`);
    });
  }

  async file(repository: string, ref: string, path: string, most: number, signal: AbortSignal) {
    return await this.#call(`reading ${path} of ${repository}`, signal, async (api) => {
      const response = await missing(() =>
        // As the bytes that they are: the library would make text of them.
        api.request('GET /repos/{owner}/{repo}/contents/{+path}', {
          ...split(repository),
          path: path.replace(/^\/+/, '').split('/').map(encodeURIComponent).join('/'),
          ref,
          mediaType: { format: 'raw' },
          request: { parseSuccessResponseBody: false },
        }),
      );
      // A folder is told as a list.
      if (response === undefined || /^application\/json\b/.test(response.headers['content-type'] ?? ''))
        return undefined;
      const bytes = new Uint8Array(
        await new Response(response.data as unknown as ReadableStream).arrayBuffer(),
      );
      if (bytes.byteLength > most)
        throw new HostError(
          'unexpected',
          `${path} of ${repository} has ${bytes.byteLength} bytes; at most ${most} are read.`,
        );
      return bytes;
    });
  }

  async commit(repository: string, ref: string, signal: AbortSignal) {
    return await this.#call(`looking at a commit of ${repository}`, signal, async ({ rest }) => {
      if (!isRefName(ref)) return undefined;
      const found = await missing(() => rest.repos.getCommit({ ...split(repository), ref, per_page: 1 }));
      return found === undefined ? undefined : commitOf(answer(found.data));
    });
  }

  async head(repository: string, kind: 'branch' | 'tag', name: string, signal: AbortSignal) {
    return isRefName(name)
      ? await this.commit(repository, `${kind === 'branch' ? 'heads' : 'tags'}/${name}`, signal)
      : undefined;
  }

  async changedPaths(repository: string, before: string, after: string, signal: AbortSignal) {
    return await this.#call(`comparing commits of ${repository}`, signal, async ({ rest }) => {
      const found = await missing(() =>
        rest.repos.compareCommitsWithBasehead({
          ...split(repository),
          basehead: `${before}...${after}`,
          per_page: 1,
        }),
      );
      const files = found === undefined ? undefined : answer(found.data).at('files').list();
      if (files === undefined || files.length >= mostComparedFiles) return undefined;
      const paths = files.flatMap((each) => {
        const former = each.at('previous_filename').optionalText();
        return [each.at('filename').text(), ...(former === undefined ? [] : [former])];
      });
      return [...new Set(paths)];
    });
  }

  async complete(
    repository: string,
    metadata: TriggerMetadata,
    signal: AbortSignal,
  ): Promise<TriggerMetadata | undefined> {
    let { default_branch: fallback, commit_info: info } = metadata;
    if (fallback === undefined) fallback = (await this.repository(repository, signal)).defaultBranch;
    // The commit tells the people of it with all that is known of them, where their e-mail is an account's.
    if (info === undefined || [info.author, info.committer].some((one) => one?.avatar_url === undefined)) {
      const found = await this.commit(repository, metadata.commit, signal);
      const [own, told] = [info, found?.info];
      if (told !== undefined)
        info = withoutGaps<CommitInfo>({
          ...(own ?? told),
          author: await this.#person(own?.author, told.author, signal),
          committer: await this.#person(own?.committer, told.committer, signal),
        });
    }
    return withoutGaps<TriggerMetadata>({
      commit: metadata.commit,
      ref: metadata.ref,
      default_branch: fallback,
      git_url: metadata.git_url,
      commit_info: info,
    });
  }

  /** What the payload says, with what is known of that account. */
  async #person(
    said: CommitPerson | undefined,
    told: CommitPerson | undefined,
    signal: AbortSignal,
  ): Promise<CommitPerson | undefined> {
    if (said === undefined) return told;
    if (said.username.toLowerCase() === told?.username.toLowerCase()) return { ...told, ...said };
    return await this.#call('looking at an account', signal, async ({ rest }) => {
      const found = await missing(() => rest.users.getByUsername({ username: said.username }));
      if (found === undefined) return said;
      const user = answer(found.data);
      return withoutGaps<CommitPerson>({
        username: said.username,
        url: user.at('html_url').link(),
        avatar_url: user.at('avatar_url').link(),
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
      async ({ rest }) => {
        const { data } = await rest.repos.createWebhook({
          ...split(repository),
          name: 'web',
          active: true,
          events: ['push', 'pull_request'],
          config: { url: hook.url, secret: hook.secret, content_type: 'json', insecure_ssl: '0' },
        });
        return String(answer(data).at('id').whole());
      },
      [hook.url, hook.secret],
    );
  }

  async hooksTo(repository: string, url: string, signal: AbortSignal): Promise<readonly string[]> {
    return await this.#call(`listing the webhooks of ${repository}`, signal, async (api) => {
      const found = await all(api, api.rest.repos.listWebhooks, split(repository));
      return found
        .filter((each) => each.at('config', 'url').optionalText() === url)
        .map((each) => String(each.at('id').whole()));
    });
  }

  async removeHook(repository: string, id: string, signal: AbortSignal): Promise<void> {
    await removeIfThere(this, repository, signal, () =>
      this.#call(`removing the webhook at ${repository}`, signal, async ({ rest }) => {
        await rest.repos.deleteWebhook({ ...split(repository), hook_id: numbered(id) });
      }),
    );
  }

  async addKey(
    repository: string,
    key: { readonly title: string; readonly publicKey: string },
    signal: AbortSignal,
  ): Promise<string> {
    return await this.#call(`installing the deploy key at ${repository}`, signal, async ({ rest }) => {
      const { data } = await rest.repos.createDeployKey({
        ...split(repository),
        title: key.title,
        key: key.publicKey,
        read_only: true,
      });
      return String(answer(data).at('id').whole());
    });
  }

  async keysOf(repository: string, publicKey: string, signal: AbortSignal): Promise<readonly string[]> {
    return await this.#call(`listing the deploy keys of ${repository}`, signal, async (api) => {
      const found = await all(api, api.rest.repos.listDeployKeys, split(repository));
      return found
        .filter((each) => isSameKey(each.at('key').text(), publicKey))
        .map((each) => String(each.at('id').whole()));
    });
  }

  async removeKey(repository: string, id: string, signal: AbortSignal): Promise<void> {
    await removeIfThere(this, repository, signal, () =>
      this.#call(`removing the deploy key at ${repository}`, signal, async ({ rest }) => {
        await rest.repos.deleteDeployKey({ ...split(repository), key_id: numbered(id) });
      }),
    );
  }

  async setStatus(
    repository: string,
    commit: string,
    status: CommitStatus,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#call(`setting the status of a commit of ${repository}`, signal, async ({ rest }) => {
      await rest.repos.createCommitStatus({
        ...split(repository),
        sha: commit,
        state: status.state,
        target_url: status.url,
        description: status.description.slice(0, longestDescription).toWellFormed(),
        context: status.context,
      });
    });
  }

  async #call<Result>(
    what: string,
    signal: AbortSignal,
    run: (api: Octokit) => Promise<Result>,
    secrets: readonly string[] = [],
  ): Promise<Result> {
    try {
      library ??= import('@octokit/rest');
      const { Octokit: Api } = await library;
      return await run(
        new Api({
          baseUrl: this.#api,
          userAgent: 'slipway',
          log: silent,
          request: { fetch: this.#http.fetchFor(signal, secrets), log: silent },
        }),
      );
    } catch (thrown) {
      throw githubError(thrown, what, this.#clock.now());
    }
  }
}

function answer(value: unknown): Payload {
  return Payload.ofAnswer(value, 'GitHub');
}

type Listing =
  | Rest['repos']['listBranches']
  | Rest['repos']['listTags']
  | Rest['repos']['listWebhooks']
  | Rest['repos']['listDeployKeys']
  | Rest['repos']['listForAuthenticatedUser']
  | Rest['orgs']['listForAuthenticatedUser'];

async function all(
  api: Octokit,
  listing: Listing,
  parameters: Readonly<Record<string, string>>,
): Promise<readonly Payload[]> {
  const found: Payload[] = [];
  let pages = 0;
  const options = listing.endpoint({ ...parameters, per_page: 100 } as never);
  for await (const { data } of api.paginate.iterator(options as never)) {
    found.push(...answer(data).list());
    pages += 1;
    if (pages >= mostPages) break;
  }
  return found;
}

/** Undefined for what is not there. GitHub says 422 to a commit it cannot find, 409 when there is none at all. */
async function missing<Result>(ask: () => Promise<Result>): Promise<Result | undefined> {
  try {
    return await ask();
  } catch (thrown) {
    const status: unknown = thrown instanceof Error && 'status' in thrown ? thrown.status : undefined;
    if (status === 404 || status === 422 || status === 409) return undefined;
    throw thrown;
  }
}

function split(repository: string): { owner: string; repo: string } {
  const [owner, repo, more] = isRepositoryPath(repository) ? repository.split('/') : [];
  if (owner === undefined || repo === undefined || more !== undefined)
    throw new HostError(
      'not-found',
      `"${repository.slice(0, 200)}" is no repository at GitHub: write OWNER/NAME.`,
    );
  return { owner, repo };
}

function numbered(id: string): number {
  if (!/^\d{1,15}$/.test(id)) throw new HostError('not-found', 'GitHub has nothing of that name.');
  return Number(id);
}

function repositoryOf(found: Payload): HostRepository {
  return withoutGaps<HostRepository>({
    name: found.at('full_name').text(),
    description: found.at('description').optionalText() ?? '',
    url: found.at('html_url').link() ?? '',
    private: found.at('private').flag(),
    defaultBranch: found.at('default_branch').optionalText(),
    lastUpdated: timeOf(found.at('pushed_at')),
    admin: found.at('permissions', 'admin').flag(),
  });
}

function timeOf(found: Payload): number {
  const time = Date.parse(found.optionalText() ?? '');
  return Number.isNaN(time) ? 0 : time;
}

function commitOf(found: Payload): { readonly sha: string; readonly info: CommitInfo } {
  const account = (user: Payload) =>
    person(user.at('login').optionalText(), user.at('html_url').link(), user.at('avatar_url').link());
  const commit = found.at('commit').object();
  return {
    sha: found.at('sha').shaped(anyCommit).toLowerCase(),
    info: withoutGaps<CommitInfo>({
      url: found.at('html_url').link() ?? '',
      message: commit.at('message').message(),
      date: commit.at('committer', 'date').optionalText() ?? commit.at('author', 'date').text(),
      author: account(found.at('author')),
      committer: account(found.at('committer')),
    }),
  };
}
