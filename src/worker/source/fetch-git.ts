import { lstatSync, lutimesSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { isIP, isIPv4 } from 'node:net';
import { join } from 'node:path';
import type { EgressGuard } from '../../egress/egress-guard.ts';
import { egressRequest } from '../../egress/egress-request.ts';
import { redactUrl } from '../../model/redact-url.ts';
import { GitFailure, type GitSession, runGit } from './git-command.ts';
import { type GitRef, parseGitRef } from './git-ref.ts';
import { checkGitHost, type GitUrl, parseGitUrl, resolveSubmoduleUrl } from './git-url.ts';
import { fromFileSystem, SourceError } from './source-error.ts';
import { defaultSourceLimits, SourceBudget, type SourceLimits } from './source-limits.ts';

export interface FetchGitOptions {
  readonly url: string;
  /** A commit, branch, tag or full ref; empty for the default branch. */
  readonly ref: string;
  /** An OpenSSH private key. */
  readonly privateKey?: string;
  readonly guard: EgressGuard;
  /** The folder that becomes the source's root. Made here; must not exist. */
  readonly root: string;
  /** An existing folder of the attempt's own, closed to others, for git's data and the key. */
  readonly scratch: string;
  /** Host keys: read, and new hosts are added. Default: a file in `scratch`, so each build trusts anew. */
  readonly knownHostsFile?: string;
  /** Leaves `.git` folders in the source. Default false. */
  readonly keepGit?: boolean;
  readonly limits?: Partial<SourceLimits>;
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

const deepestSubmodule = 10;
const mostSubmodules = 200;
const checkoutFailed = 'Could not checkout git ref. If you force pushed recently, the commit may be missing.';
/** What git says when a server gives single commits or shallow histories to nobody. */
const needsFullFetch =
  /unadvertised object|not our ref|does not support shallow|does not allow request|filtering not recognized/i;
const refMissing =
  /couldn't find remote ref|no such ref|not our ref|unadvertised object|invalid refspec|bad object|unknown revision/i;

/**
 * Fetches one commit of a git repository with its submodules into a new folder. Only that commit is fetched when
 * the server allows it. Every host, those of submodules too, is checked by the guard, and git connects to the
 * checked address only. The user's text never becomes an option of git or ssh, and no secret is on a command
 * line. Files get the commit's time, so that the same commit always gives the same tree. Throws SourceError
 * `gitfailure`, `gitcheckout`, `sourcetoolarge`, `diskfull`, `cancelled`, `internalerror`.
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
    if (error instanceof GitFailure) throw cloneError(options.url, error);
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
  readonly #signal: AbortSignal;
  readonly #budget: SourceBudget;
  readonly #home: string;
  #repositories = 0;

  constructor(options: FetchGitOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
    this.#budget = new SourceBudget({ ...defaultSourceLimits, ...options.limits });
    this.#home = join(options.scratch, 'git');
  }

  async run(): Promise<FetchedGit> {
    const { url, ref, root, privateKey } = this.#options;
    const start: Checkout = {
      url: parseGitUrl(url),
      ref: parseGitRef(ref),
      folder: root,
      depth: 0,
    };
    await mkdir(this.#home, { mode: 0o700 });
    if (privateKey !== undefined) {
      await writeFile(this.#keyFile, `${privateKey.replaceAll('\r\n', '\n').trimEnd()}\n`, {
        mode: 0o600,
        flag: 'wx',
      });
    }
    await mkdir(root, { mode: 0o755 });
    const commit = await this.#checkout(start);
    return {
      commit,
      entries: this.#budget.entries,
      bytes: this.#budget.bytes,
      submodules: this.#repositories - 1,
    };
  }

  get #keyFile(): string {
    return join(this.#home, 'key');
  }

  async #checkout(checkout: Checkout): Promise<string> {
    const gitDir = join(this.#home, `${this.#repositories++}.git`);
    const url = await this.#followed(checkout.url);
    const session = await this.#session(url, gitDir, checkout.folder);
    const longHash = checkout.ref.kind === 'commit' && checkout.ref.sha.length === 64;
    await runGit(session, ['init', '-q', '--template=', ...(longHash ? ['--object-format=sha256'] : [])]);
    const commit = await this.#fetch(session, checkout);
    const links = await this.#writeTree(session, commit, checkout.folder);
    if (links.size > 0) await this.#submodules(session, { ...checkout, url }, commit, links);
    if (this.#options.keepGit === true) {
      await runGit(session, ['config', '--unset', 'core.worktree']);
      await rename(gitDir, join(checkout.folder, '.git'));
    }
    return commit;
  }

  async #fetch(session: GitSession, { ref, url }: Checkout): Promise<string> {
    switch (ref.kind) {
      case 'head':
        return await this.#fetchRef(session, url, 'HEAD');
      case 'full':
        return await this.#fetchRef(session, url, ref.ref);
      case 'commit':
        try {
          await this.#shallow(session, ref.sha);
        } catch (error) {
          if (!(error instanceof GitFailure) || !needsFullFetch.test(error.message))
            throw cloneOrCancel(url, error);
          await this.#full(session, url);
        }
        return await this.#commitOf(session, ref.sha);
      case 'name': {
        const heads = `refs/heads/${ref.name}`;
        const tags = `refs/tags/${ref.name}`;
        const found = await this.#remoteRefs(session, url, [heads, tags]);
        const full = [heads, tags].find((each) => found.has(each));
        if (full !== undefined) return await this.#fetchRef(session, url, full);
        if (!ref.maybeCommit)
          throw new SourceError(
            'gitcheckout',
            `${checkoutFailed}\nThe repository has no branch and no tag "${ref.name}".`,
          );
        await this.#full(session, url);
        return await this.#commitOf(session, ref.name);
      }
    }
  }

  async #fetchRef(session: GitSession, url: GitUrl, ref: string): Promise<string> {
    try {
      await this.#shallow(session, ref);
    } catch (error) {
      if (error instanceof GitFailure && refMissing.test(error.message)) throw checkoutError(error);
      if (!(error instanceof GitFailure) || !needsFullFetch.test(error.message))
        throw cloneOrCancel(url, error);
      await this.#full(session, url, [`+${ref}:refs/slipway/wanted`]);
      return await this.#commitOf(session, 'refs/slipway/wanted');
    }
    return await this.#commitOf(session, 'FETCH_HEAD');
  }

  async #shallow(session: GitSession, what: string): Promise<void> {
    await runGit(session, [
      'fetch',
      '--progress',
      '--no-tags',
      '--depth=1',
      '--no-recurse-submodules',
      'origin',
      what,
    ]);
  }

  async #full(
    session: GitSession,
    url: GitUrl,
    refspecs = ['+refs/heads/*:refs/remotes/origin/*', '+refs/tags/*:refs/tags/*'],
  ): Promise<void> {
    this.#options.onLine?.('The server does not give single commits; the whole history is fetched.');
    try {
      await runGit(session, [
        'fetch',
        '--progress',
        '--no-tags',
        '--no-recurse-submodules',
        'origin',
        ...refspecs,
      ]);
    } catch (error) {
      throw cloneOrCancel(url, error);
    }
  }

  async #remoteRefs(session: GitSession, url: GitUrl, names: readonly string[]): Promise<Set<string>> {
    try {
      const listing = await runGit(session, ['ls-remote', '--quiet', '--refs', 'origin', ...names]);
      return new Set(
        listing
          .toString()
          .split('\n')
          .map((line) => line.slice(line.indexOf('\t') + 1)),
      );
    } catch (error) {
      throw cloneOrCancel(url, error);
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

  /** Checks what the commit holds, then writes it; gives its submodules by path (a binary string). */
  async #writeTree(session: GitSession, commit: string, folder: string): Promise<Map<string, string>> {
    const tree = new TreeListing(this.#budget);
    try {
      await runGit(session, ['ls-tree', '-r', '-l', '-z', '--full-tree', commit], (chunk) =>
        tree.write(chunk),
      );
      await runGit(session, ['checkout', '--progress', '--force', '--detach', commit]);
      const time = Number((await runGit(session, ['show', '-s', '--format=%ct', commit])).toString().trim());
      tree.setTimes(folder, Number.isSafeInteger(time) && time > 0 ? time : 0);
    } catch (error) {
      throw error instanceof GitFailure ? checkoutError(error) : error;
    }
    return tree.links;
  }

  async #submodules(
    session: GitSession,
    parent: Checkout,
    commit: string,
    links: ReadonlyMap<string, string>,
  ): Promise<void> {
    const urls = await this.#submoduleUrls(session, commit);
    for (const [path, sha] of links) {
      const shown = Buffer.from(path, 'latin1').toString();
      const url = urls.get(path);
      if (url === undefined) {
        this.#options.onLine?.(`The submodule "${shown}" has no URL in .gitmodules; its folder stays empty.`);
        continue;
      }
      if (parent.depth >= deepestSubmodule || this.#repositories > mostSubmodules) {
        throw new SourceError(
          'gitfailure',
          `Could not clone git repository: it has more than ${mostSubmodules} submodules, or more than ${deepestSubmodule} inside each other.`,
        );
      }
      if (Buffer.from(shown).toString('latin1') !== path) {
        throw new SourceError(
          'gitfailure',
          'Could not clone git repository: the path of a submodule is not UTF-8. Rename it.',
        );
      }
      expectFolders(parent.folder, shown);
      this.#options.onLine?.(`Submodule "${shown}"`);
      const from = resolveSubmoduleUrl(parent.url, url);
      await this.#checkout({
        url: from,
        ref: { kind: 'commit', sha },
        folder: join(parent.folder, shown),
        depth: parent.depth + 1,
      });
    }
  }

  async #submoduleUrls(session: GitSession, commit: string): Promise<Map<string, string>> {
    let listing: Buffer;
    try {
      listing = await runGit(session, [
        'config',
        '--blob',
        `${commit}:.gitmodules`,
        '-z',
        '--get-regexp',
        '^submodule\\..*\\.(path|url)$',
      ]);
    } catch (error) {
      if (error instanceof GitFailure) return new Map();
      throw error;
    }
    const byName = new Map<string, { path?: string; url?: string }>();
    for (const record of listing.toString('latin1').split('\0')) {
      const match = /^submodule\.([\s\S]*)\.(path|url)\n([\s\S]*)$/.exec(record);
      const [, name, key, value] = match ?? [];
      if (name === undefined || value === undefined) continue;
      byName.set(name, { ...byName.get(name), [key === 'path' ? 'path' : 'url']: value });
    }
    const urls = new Map<string, string>();
    for (const { path, url } of byName.values()) {
      if (path !== undefined && url !== undefined)
        urls.set(path.replace(/\/+$/, ''), Buffer.from(url, 'latin1').toString());
    }
    return urls;
  }

  /**
   * Where an http(s) repository has moved to. git itself may follow no redirect, because it would not check the
   * new host; so the first request is made here, where each hop is checked. Its failures are left for git to tell.
   */
  async #followed(url: GitUrl): Promise<GitUrl> {
    if (url.scheme === 'ssh') return url;
    await checkGitHost(this.#options.guard, url, this.#signal);
    const suffix = '/info/refs';
    const base = url.url.replace(/\/+$/, '');
    try {
      const response = await egressRequest(this.#options.guard, `${base}${suffix}?service=git-upload-pack`, {
        maxBytes: Number.MAX_SAFE_INTEGER,
        timeout: 60_000,
        signal: this.#signal,
        headers: { 'user-agent': 'git/2 slipway', 'git-protocol': 'version=2', ...authorizationOf(url) },
      });
      response.body.destroy();
      const { origin, pathname } = response.url;
      if (!pathname.endsWith(suffix) || `${origin}${pathname}` === `${base}${suffix}`) return url;
      const moved = parseGitUrl(`${origin}${pathname.slice(0, -suffix.length)}`);
      const sameOrigin = moved.scheme === url.scheme && moved.host === url.host && moved.port === url.port;
      return url.credentials === undefined || !sameOrigin
        ? moved
        : { ...moved, credentials: url.credentials };
    } catch {
      return url;
    }
  }

  async #session(url: GitUrl, gitDir: string, folder: string): Promise<GitSession> {
    const addresses = await checkGitHost(this.#options.guard, url, this.#signal);
    const config: [string, string][] = [
      ['remote.origin.url', url.url],
      ['core.hooksPath', '/dev/null'],
      ['core.fsmonitor', 'false'],
      ['core.autocrlf', 'false'],
      ['core.symlinks', 'true'],
      ['core.fileMode', 'true'],
      ['credential.helper', ''],
      ['gc.auto', '0'],
      ['maintenance.auto', 'false'],
      ['submodule.recurse', 'false'],
      ['advice.detachedHead', 'false'],
      ['http.followRedirects', 'false'],
      ['http.lowSpeedLimit', '1'],
      ['http.lowSpeedTime', String(Math.ceil((this.#options.idleTimeout ?? 180_000) / 1000))],
    ];
    if (url.scheme !== 'ssh') {
      // An address in the URL needs no look-up, and has been checked itself.
      if (isIP(url.host) === 0)
        config.push(['http.curloptResolve', `${url.host}:${url.port}:${addresses.join(',')}`]);
      for (const value of Object.values(authorizationOf(url)))
        config.push([`http.${new URL(url.url).origin}/.extraHeader`, `Authorization: ${value}`]);
    }
    const environment: Record<string, string> = {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      HOME: this.#home,
      LC_ALL: 'C.UTF-8',
      GIT_DIR: gitDir,
      GIT_WORK_TREE: folder,
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_ATTR_NOSYSTEM: '1',
      GIT_TERMINAL_PROMPT: '0',
      GIT_ASKPASS: '/bin/false',
      SSH_ASKPASS: '/bin/false',
      GIT_OPTIONAL_LOCKS: '0',
      GIT_ALLOW_PROTOCOL: url.scheme === 'http' ? 'http' : 'https:ssh',
      GIT_SSH_VARIANT: 'ssh',
      GIT_SSH_COMMAND: this.#sshCommand(url, addresses),
      GIT_CONFIG_COUNT: String(config.length),
    };
    config.forEach(([key, value], i) => {
      environment[`GIT_CONFIG_KEY_${i}`] = key;
      environment[`GIT_CONFIG_VALUE_${i}`] = value;
    });
    return {
      environment,
      signal: this.#signal,
      idleTimeout: this.#options.idleTimeout ?? 180_000,
      maxFileBytes: this.#budget.limits.maxBytes,
      onLine: this.#options.onLine ?? (() => {}),
    };
  }

  #sshCommand(url: GitUrl, addresses: readonly string[]): string {
    const address = addresses.find(isIPv4) ?? addresses[0] ?? url.host;
    const alias = url.port === 22 ? url.host : `[${url.host}]:${url.port}`;
    const identity = this.#options.privateKey === undefined ? [] : ['-i', this.#keyFile];
    const settings = [
      `HostName=${address}`,
      `HostKeyAlias=${alias}`,
      `UserKnownHostsFile=${this.#options.knownHostsFile ?? join(this.#home, 'known_hosts')}`,
      'GlobalKnownHostsFile=/dev/null',
      'StrictHostKeyChecking=accept-new',
      'UpdateHostKeys=no',
      'CheckHostIP=no',
      'IdentitiesOnly=yes',
      'IdentityAgent=none',
      'BatchMode=yes',
      'ForwardAgent=no',
      'ClearAllForwardings=yes',
      'PermitLocalCommand=no',
      'ProxyCommand=none',
      'ControlPath=none',
      'ConnectTimeout=30',
      'ServerAliveInterval=15',
      'ServerAliveCountMax=4',
    ];
    return ['ssh', '-F', '/dev/null', ...identity, ...settings.flatMap((setting) => ['-o', setting])]
      .map(quoted)
      .join(' ');
  }
}

/** Reads `git ls-tree -r -l -z`, counts it against the budget, and remembers the paths for their times. */
class TreeListing {
  readonly links = new Map<string, string>();
  readonly #budget: SourceBudget;
  readonly #paths: string[] = [];
  #rest = '';

  constructor(budget: SourceBudget) {
    this.#budget = budget;
  }

  write(chunk: Buffer): void {
    const records = (this.#rest + chunk.toString('latin1')).split('\0');
    this.#rest = records.pop() ?? '';
    for (const record of records) {
      const tab = record.indexOf('\t');
      const [mode = '', , sha = '', size = '-'] = record.slice(0, tab).split(/ +/);
      const path = record.slice(tab + 1);
      this.#budget.addEntry();
      if (mode === '160000') this.links.set(path, sha);
      else {
        this.#budget.addBytes(size === '-' ? 0 : Number(size));
        this.#paths.push(path);
      }
    }
  }

  setTimes(folder: string, time: number): void {
    const folders = new Set<string>();
    const touch = (path: string) =>
      lutimesSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(path, 'latin1')]), time, time);
    for (const path of [...this.#paths, ...this.links.keys()]) {
      if (!this.links.has(path)) touch(path);
      else folders.add(path);
      for (let end = path.lastIndexOf('/'); end !== -1; end = path.lastIndexOf('/', end - 1)) {
        const parent = path.slice(0, end);
        if (folders.has(parent)) break;
        folders.add(parent);
      }
    }
    for (const path of folders) touch(path);
    touch('.');
  }
}

/** git makes submodule folders itself; none of the names on the way may be a link. */
function expectFolders(root: string, path: string): void {
  const names = path.split('/');
  names.forEach((name, i) => {
    const found = lstatSync(join(root, ...names.slice(0, i + 1)), { throwIfNoEntry: false });
    if (name === '..' || name === '' || found?.isDirectory() !== true) {
      throw new SourceError(
        'gitfailure',
        `Could not clone git repository: the submodule "${path}" is not at a folder of its own.`,
      );
    }
  });
}

function authorizationOf(url: GitUrl): { authorization?: string } {
  return url.credentials === undefined
    ? {}
    : { authorization: `Basic ${Buffer.from(url.credentials).toString('base64')}` };
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

function checkoutError(error: GitFailure): SourceError {
  return new SourceError('gitcheckout', `${checkoutFailed}\n${error.message}`, error);
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
