import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { EgressError } from '../../egress/egress-error.ts';
import type { EgressGuard } from '../../egress/egress-guard.ts';
import { type GitUrl, parseGitUrl, resolveSubmoduleUrl } from '../../egress/git-url.ts';
import type { HostKey } from '../../model/host-key.ts';
import { redactUrl } from '../../model/redact-url.ts';
import type { GitCredentials } from '../../model/source-credentials.ts';
import { GitAccess, type GitPlace } from './git-access.ts';
import { GitFailure, type GitSession, runGit } from './git-command.ts';
import { GitLfs } from './git-lfs.ts';
import { type GitRef, parseGitCommit, parseGitRef } from './git-ref.ts';
import { GitTree } from './git-tree.ts';
import { fromFileSystem, SourceError } from './source-error.ts';
import { defaultSourceLimits, SourceBudget, type SourceLimits } from './source-limits.ts';
import { defaultSubmoduleLimits, expectFolders, readSubmodules, type SubmoduleLimits } from './submodules.ts';

export interface FetchGitOptions {
  readonly url: string;
  /** A commit, branch, tag or full ref; empty for the default branch. */
  readonly ref: string;
  /** Wins over `ref`: a commit, or its first 7 and more digits. */
  readonly commit?: string;
  /** For the server of `url` only. */
  readonly credentials?: GitCredentials;
  /** Goes with the token of the credentials. */
  readonly username?: string;
  /** Host keys of SSH servers; one that is not among them is believed once. */
  readonly hostKeys?: readonly HostKey[];
  /** Told of each server that was believed. */
  readonly onHostKey?: (key: HostKey) => void;
  /** Fetches what Git LFS keeps beside the repository. Without it pointers stay in place of files. */
  readonly lfs?: boolean;
  readonly guard: EgressGuard;
  /** The folder that becomes the source's root. Made here; must not exist. */
  readonly root: string;
  /** An existing folder of the attempt's own, closed to others, for git's data and the key. */
  readonly scratch: string;
  /** Leaves `.git` folders in the source. Default false. */
  readonly keepGit?: boolean;
  readonly limits?: Partial<SourceLimits>;
  readonly submoduleLimits?: SubmoduleLimits;
  /** Milliseconds; default 3 min without a word of git, 15 min in all. */
  readonly idleTimeout?: number;
  readonly totalTimeout?: number;
  readonly signal?: AbortSignal;
  /** git's own words and ours, a line at a time, redacted. */
  readonly onLine?: (line: string) => void;
}

export interface FetchedGit {
  /** The commit that was checked out. */
  readonly commit: string;
  readonly entries: number;
  readonly bytes: number;
  readonly submodules: number;
}

const checkoutFailed = 'Could not checkout git ref. If you force pushed recently, the commit may be missing.';
const digitsOnly = 'Only the first digits of the commit are known';
/** What git says when a server gives single commits or shallow histories to nobody. */
const needsFullFetch =
  /unadvertised object|not our ref|does not support shallow|does not allow request|filtering not recognized/i;
const refMissing =
  /couldn't find remote ref|no such ref|not our ref|unadvertised object|invalid refspec|bad object|unknown revision/i;

/**
 * Fetches one commit of a git repository with its submodules into a new folder. Only that commit is fetched when
 * the server allows it. Every host, those of submodules too, is checked by the guard. Files get the commit's time, so
 * that the same commit always gives the same tree. Throws SourceError `gitfailure`, `gitcheckout`, `sourcetoolarge`,
 * `diskfull`, `cancelled`, `internalerror`.
 */
export async function fetchGit(options: FetchGitOptions): Promise<FetchedGit> {
  const total = options.totalTimeout ?? 15 * 60_000;
  const stop = new AbortController();
  const timer = setTimeout(
    () => stop.abort(new GitFailure(`It took longer than ${Math.round(total / 1000)} s.`, [])),
    total,
  );
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal]);
  try {
    return await new GitCheckout(options, signal).run();
  } catch (error) {
    if (error instanceof SourceError) throw error;
    // The time limit and a cancel reach requests of our own as the same signal.
    if (stop.signal.reason instanceof GitFailure) throw cloneError(options.url, stop.signal.reason);
    if (error instanceof GitFailure) throw cloneError(options.url, error);
    if (error instanceof EgressError)
      throw new SourceError(
        error.code === 'cancelled' ? 'cancelled' : 'gitfailure',
        `Could not clone git repository: ${error.message}`,
        error,
      );
    throw fromFileSystem(error, 'store the git repository');
  } finally {
    clearTimeout(timer);
  }
}

/** One repository, or one submodule of it, on its way into the source. */
interface Checkout {
  readonly url: GitUrl;
  readonly ref: GitRef;
  readonly folder: string;
  readonly depth: number;
}

class GitCheckout {
  readonly #options: FetchGitOptions;
  readonly #budget: SourceBudget;
  readonly #home: string;
  readonly #origin: GitUrl;
  readonly #access: GitAccess;
  readonly #lfs: GitLfs;
  #repositories = 0;

  constructor(options: FetchGitOptions, signal: AbortSignal) {
    this.#options = options;
    this.#budget = new SourceBudget({ ...defaultSourceLimits, ...options.limits });
    this.#home = join(options.scratch, 'git');
    this.#origin = parseGitUrl(options.url);
    const idleTimeout = options.idleTimeout ?? 180_000;
    this.#access = new GitAccess({
      origin: this.#origin,
      credentials: options.credentials ?? {},
      ...(options.username === undefined ? {} : { username: options.username }),
      guard: options.guard,
      folder: this.#home,
      hostKeys: options.hostKeys ?? [],
      onHostKey: options.onHostKey ?? (() => {}),
      signal,
      idleTimeout,
      maxFileBytes: this.#budget.limits.maxBytes,
      onLine: (line) => this.#say(line),
    });
    this.#lfs = new GitLfs({
      fetch: options.lfs === true,
      access: this.#access,
      guard: options.guard,
      budget: this.#budget,
      folder: this.#home,
      signal,
      idleTimeout,
      onLine: (line) => this.#say(line),
    });
  }

  async run(): Promise<FetchedGit> {
    const { ref, commit: wanted, root } = this.#options;
    const start: Checkout = {
      url: this.#origin,
      ref: wanted === undefined ? parseGitRef(ref) : parseGitCommit(wanted),
      folder: root,
      depth: 0,
    };
    await mkdir(this.#home, { mode: 0o700 });
    await this.#access.open();
    try {
      await mkdir(root, { mode: 0o755 });
      const commit = await this.#checkout(start);
      const { entries, bytes } = this.#budget;
      return { commit, entries, bytes, submodules: this.#repositories - 1 };
    } finally {
      await this.#access.close();
    }
  }

  #say(line: string): void {
    this.#options.onLine?.(line);
  }

  async #checkout(checkout: Checkout): Promise<string> {
    const gitDir = join(this.#home, `${this.#repositories++}.git`);
    const url = await this.#access.followed(checkout.url);
    const place = await this.#access.place(url, gitDir, checkout.folder);
    const { session } = place;
    const longHash = checkout.ref.kind === 'commit' && checkout.ref.sha.length === 64;
    await runGit(session, ['init', '-q', '--template=', ...(longHash ? ['--object-format=sha256'] : [])]);
    const commit = await this.#fetch(place, checkout.ref);
    const links = await this.#writeTree(place, commit, checkout.folder);
    if (links.size > 0) await this.#submodules(session, { ...checkout, url }, commit, links);
    if (this.#options.keepGit === true) {
      await runGit(session, ['config', '--unset', 'core.worktree']);
      await rename(gitDir, join(checkout.folder, '.git'));
    }
    return commit;
  }

  async #fetch(place: GitPlace, ref: GitRef): Promise<string> {
    switch (ref.kind) {
      case 'head':
        return await this.#fetchRef(place, 'HEAD');
      case 'full':
        return await this.#fetchRef(place, ref.ref);
      case 'commit':
        try {
          await this.#shallow(place, ref.sha);
        } catch (error) {
          if (!(error instanceof GitFailure) || !needsFullFetch.test(error.message))
            throw cloneOrCancel(place.url, error);
          await this.#full(place);
        }
        return await this.#commitOf(place.session, ref.sha);
      case 'short':
        await this.#full(place, digitsOnly);
        return await this.#commitStarting(place.session, ref.digits);
      case 'name': {
        const heads = `refs/heads/${ref.name}`;
        const tags = `refs/tags/${ref.name}`;
        const found = await this.#remoteRefs(place, [heads, tags]);
        const full = [heads, tags].find((each) => found.has(each));
        if (full !== undefined) return await this.#fetchRef(place, full);
        if (!ref.maybeCommit)
          throw new SourceError(
            'gitcheckout',
            `${checkoutFailed}\nThe repository has no branch and no tag "${ref.name}".`,
          );
        await this.#full(place, digitsOnly);
        return await this.#commitOf(place.session, ref.name);
      }
    }
  }

  async #fetchRef(place: GitPlace, ref: string): Promise<string> {
    try {
      await this.#shallow(place, ref);
    } catch (error) {
      if (error instanceof GitFailure && refMissing.test(error.message)) throw missingRef(ref, error);
      if (!(error instanceof GitFailure) || !needsFullFetch.test(error.message))
        throw cloneOrCancel(place.url, error);
      await this.#full(place, undefined, [`+${ref}:refs/slipway/wanted`]);
      return await this.#commitOf(place.session, 'refs/slipway/wanted');
    }
    return await this.#commitOf(place.session, 'FETCH_HEAD');
  }

  async #shallow(place: GitPlace, what: string): Promise<void> {
    const options = ['--progress', '--no-tags', '--depth=1', '--no-recurse-submodules'];
    await this.#access.remote(place, ['fetch', ...options, 'origin', what]);
  }

  async #full(
    place: GitPlace,
    why = 'The server does not give single commits',
    refspecs = ['+refs/heads/*:refs/remotes/origin/*', '+refs/tags/*:refs/tags/*'],
  ): Promise<void> {
    this.#say(`${why}; the whole history is fetched.`);
    const options = ['--progress', '--no-tags', '--no-recurse-submodules'];
    try {
      await this.#access.remote(place, ['fetch', ...options, 'origin', ...refspecs]);
    } catch (error) {
      throw cloneOrCancel(place.url, error);
    }
  }

  async #remoteRefs(place: GitPlace, names: readonly string[]): Promise<Set<string>> {
    try {
      const listing = await this.#access.remote(place, [
        'ls-remote',
        '--quiet',
        '--refs',
        'origin',
        ...names,
      ]);
      return new Set(
        listing
          .toString()
          .split('\n')
          .map((line) => line.slice(line.indexOf('\t') + 1)),
      );
    } catch (error) {
      throw cloneOrCancel(place.url, error);
    }
  }

  async #commitOf(session: GitSession, name: string): Promise<string> {
    try {
      return (await runGit(session, ['rev-parse', '--verify', '--end-of-options', `${name}^{commit}`]))
        .toString()
        .trim();
    } catch (error) {
      throw error instanceof GitFailure ? checkoutError(error) : error;
    }
  }

  /** git takes digits for a branch or a tag of that name first, so it is asked for objects. */
  async #commitStarting(session: GitSession, digits: string): Promise<string> {
    const objects = (await runGit(session, ['rev-parse', `--disambiguate=${digits}`])).toString();
    const found: string[] = [];
    for (const id of objects.split('\n').filter((line) => line !== '')) {
      const type = (await runGit(session, ['cat-file', '-t', id])).toString().trim();
      if (type === 'commit') found.push(id);
    }
    const [commit, another] = found;
    if (commit !== undefined && another === undefined) return commit;
    const what =
      commit === undefined
        ? `The repository has no commit that begins with ${digits}. A branch or tag of that name is built when it is named as one.`
        : `More than one commit begins with ${digits}. Give more digits.`;
    throw new SourceError('gitcheckout', `${checkoutFailed}\n${what}`);
  }

  /** Checks what the commit holds, then writes it; gives its submodules by path (a binary string). */
  async #writeTree(place: GitPlace, commit: string, folder: string): Promise<ReadonlyMap<string, string>> {
    const { session } = place;
    const tree = new GitTree(this.#budget);
    try {
      await runGit(session, ['ls-tree', '-r', '-l', '-z', '--full-tree', commit], {
        onOutput: (chunk) => tree.write(chunk),
      });
      await runGit(session, ['checkout', '--progress', '--force', '--detach', commit]);
    } catch (error) {
      throw error instanceof GitFailure ? checkoutError(error) : error;
    }
    await this.#lfs.replacePointers(place, commit, tree, folder);
    const time = Number((await runGit(session, ['show', '-s', '--format=%ct', commit])).toString().trim());
    tree.setTimes(folder, Number.isSafeInteger(time) && time > 0 ? time : 0);
    return tree.links;
  }

  async #submodules(
    session: GitSession,
    parent: Checkout,
    commit: string,
    links: ReadonlyMap<string, string>,
  ): Promise<void> {
    const limits = this.#options.submoduleLimits ?? defaultSubmoduleLimits;
    const settings = await this.#modulesFile(session, commit);
    for (const { path, url, commit: sha } of readSubmodules(links, settings)) {
      if (url === undefined) {
        this.#say(`The submodule "${path}" has no URL in .gitmodules; its folder stays empty.`);
        continue;
      }
      if (parent.depth >= limits.deepest || this.#repositories > limits.most) {
        throw new SourceError(
          'gitfailure',
          `Could not clone git repository: it has more than ${limits.most} submodules, or more than ${limits.deepest} inside each other.`,
        );
      }
      expectFolders(parent.folder, path);
      this.#say(`Submodule "${path}"`);
      await this.#checkout({
        url: resolveSubmoduleUrl(parent.url, url),
        ref: { kind: 'commit', sha },
        folder: join(parent.folder, path),
        depth: parent.depth + 1,
      });
    }
  }

  async #modulesFile(session: GitSession, commit: string): Promise<string> {
    const wanted = '^submodule\\..*\\.(path|url)$';
    try {
      const listing = ['config', '--blob', `${commit}:.gitmodules`, '-z', '--get-regexp', wanted];
      return (await runGit(session, listing)).toString('latin1');
    } catch (error) {
      if (error instanceof GitFailure) return '';
      throw error;
    }
  }
}

function cloneOrCancel(url: GitUrl, error: unknown): unknown {
  return error instanceof GitFailure ? cloneError(url.url, error) : error;
}

function cloneError(url: string, error: GitFailure): SourceError {
  return new SourceError(
    'gitfailure',
    `Could not clone git repository ${redactUrl(url)}\n${error.message}`,
    error,
  );
}

/** Without git's words, which the log has already. */
function missingRef(ref: string, error: GitFailure): SourceError {
  const [, kind, name] = /^refs\/(heads|tags)\/(.+)$/s.exec(ref) ?? [];
  const what =
    ref === 'HEAD'
      ? 'The repository has no default branch; it may be empty.'
      : kind === undefined
        ? `The repository has no ref "${ref}".`
        : `The repository has no ${kind === 'heads' ? 'branch' : 'tag'} "${name}".`;
  return new SourceError('gitcheckout', `${checkoutFailed}\n${what}`, error);
}

function checkoutError(error: GitFailure): SourceError {
  return new SourceError('gitcheckout', `${checkoutFailed}\n${error.message}`, error);
}
