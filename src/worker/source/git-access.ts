import { rm, writeFile } from 'node:fs/promises';
import { isIP, isIPv4 } from 'node:net';
import { join } from 'node:path';
import type { EgressGuard } from '../../egress/egress-guard.ts';
import { egressRequest } from '../../egress/egress-request.ts';
import { checkGitHost, type GitUrl, parseGitUrl } from '../../egress/git-url.ts';
import type { HostKey } from '../../model/host-key.ts';
import { redactUrl } from '../../model/redact-url.ts';
import type { GitCredentials } from '../../model/source-credentials.ts';
import { GitFailure, type GitSession, type RunOptions, runGit, runTool } from './git-command.ts';
import { GitTrust } from './git-trust.ts';
import { SourceError } from './source-error.ts';

export interface GitAccessOptions {
  /** The repository that the credentials are for. */
  readonly origin: GitUrl;
  readonly credentials: GitCredentials;
  /** The user name that goes with the token; a usual one for the host unless given. */
  readonly username?: string;
  readonly guard: EgressGuard;
  /** An existing folder, closed to others. */
  readonly folder: string;
  readonly hostKeys: readonly HostKey[];
  readonly onHostKey: (key: HostKey) => void;
  readonly signal: AbortSignal;
  readonly idleTimeout: number;
  readonly maxFileBytes: number;
  readonly onLine: (line: string) => void;
}

/** One repository as git sees it. */
export interface GitPlace {
  readonly url: GitUrl;
  readonly session: GitSession;
}

const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * How git gets to servers: by checked addresses only, with the key or token for the server they were given for and for no
 * other, and with the host keys that are known. The user's text never becomes an option of git or ssh, and no secret is
 * on a command line.
 */
export class GitAccess {
  readonly #options: GitAccessOptions;
  readonly #trust: GitTrust;
  readonly #key: string;

  constructor(options: GitAccessOptions) {
    this.#options = options;
    this.#trust = new GitTrust(options.folder, options.hostKeys, options.onHostKey);
    this.#key = join(options.folder, 'key');
  }

  async open(): Promise<void> {
    const { privateKey } = this.#options.credentials;
    if (privateKey === undefined) return;
    const text = `${privateKey.replaceAll('\r\n', '\n').trimEnd()}\n`;
    await writeFile(this.#key, text, { mode: 0o600, flag: 'wx' });
  }

  async close(): Promise<void> {
    await rm(this.#key, { force: true });
  }

  /** The header that lets in at an http(s) server; nothing for one that no credentials are for. */
  authorization(url: GitUrl): { authorization?: string } {
    const { origin, credentials, username } = this.#options;
    const usual = url.host === 'bitbucket.org' ? 'x-token-auth' : 'oauth2';
    const token = credentials.token === undefined ? undefined : `${username ?? usual}:${credentials.token}`;
    const own = url.credentials ?? (isSameServer(url, origin) ? token : undefined);
    return own === undefined ? {} : { authorization: `Basic ${Buffer.from(own).toString('base64')}` };
  }

  /**
   * Where an http(s) repository has moved to. git itself may follow no redirect, because it would not check the
   * new host; so the first request is made here, where each hop is checked. Its failures are left for git to tell.
   */
  async followed(url: GitUrl): Promise<GitUrl> {
    if (url.scheme === 'ssh') return url;
    const { guard, signal } = this.#options;
    await checkGitHost(guard, url, signal);
    const suffix = '/info/refs';
    const base = url.url.replace(/\/+$/, '');
    try {
      const response = await egressRequest(guard, `${base}${suffix}?service=git-upload-pack`, {
        maxBytes: Number.MAX_SAFE_INTEGER,
        timeout: 60_000,
        signal,
        headers: { 'user-agent': 'git/2 slipway', 'git-protocol': 'version=2', ...this.authorization(url) },
      });
      response.body.destroy();
      const { origin, pathname } = response.url;
      if (!pathname.endsWith(suffix) || `${origin}${pathname}` === `${base}${suffix}`) return url;
      const moved = parseGitUrl(`${origin}${pathname.slice(0, -suffix.length)}`);
      return url.credentials === undefined || !isSameServer(moved, url)
        ? moved
        : { ...moved, credentials: url.credentials };
    } catch {
      return url;
    }
  }

  /** Throws EgressError when the host may not be reached. */
  async place(url: GitUrl, gitDir: string, folder: string): Promise<GitPlace> {
    const { guard, signal } = this.#options;
    const addresses = await checkGitHost(guard, url, signal);
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
      ['http.lowSpeedTime', String(Math.ceil(this.#options.idleTimeout / 1000))],
    ];
    if (url.scheme !== 'ssh') {
      // An address in the URL needs no look-up, and has been checked itself.
      if (isIP(url.host) === 0)
        config.push(['http.curloptResolve', `${url.host}:${url.port}:${addresses.join(',')}`]);
      for (const value of Object.values(this.authorization(url)))
        config.push([`http.${new URL(url.url).origin}/.extraHeader`, `Authorization: ${value}`]);
    }
    const environment: Record<string, string> = {
      PATH: path,
      HOME: this.#options.folder,
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
      ...(url.scheme === 'ssh' ? await this.#sshEnvironment(url, addresses) : {}),
      GIT_CONFIG_COUNT: String(config.length),
    };
    config.forEach(([key, value], i) => {
      environment[`GIT_CONFIG_KEY_${i}`] = key;
      environment[`GIT_CONFIG_VALUE_${i}`] = value;
    });
    return { url, session: this.#session(environment) };
  }

  /** Runs a git command that talks to the server. Throws GitFailure, or SourceError when the reason can be told. */
  async remote(place: GitPlace, args: readonly string[], options?: RunOptions): Promise<Buffer> {
    return await this.#explained(place.url, () => runGit(place.session, args, options));
  }

  /** Runs one command at an ssh server; the words of `command` are for its shell. Throws as `remote` does. */
  async onServer(url: GitUrl, command: string): Promise<Buffer> {
    const { guard, signal } = this.#options;
    const addresses = await checkGitHost(guard, url, signal);
    const [ssh, ...options] = await this.#ssh(url, addresses);
    const login = /^(?:ssh:\/\/)?([^@:/[\]]+@)?/.exec(url.url)?.[1] ?? '';
    const session = this.#session({ PATH: path, HOME: this.#options.folder, LC_ALL: 'C.UTF-8' });
    const args = ['-p', String(url.port), '--', `${login}${url.host}`, command];
    return await this.#explained(url, () => runTool(session, [ssh, ...options, ...args]));
  }

  async #explained(url: GitUrl, run: () => Promise<Buffer>): Promise<Buffer> {
    try {
      return await run();
    } catch (error) {
      throw error instanceof GitFailure && url.scheme === 'ssh' ? await this.#explain(url, error) : error;
    } finally {
      await this.#trust.learn(url);
    }
  }

  #session(environment: Readonly<Record<string, string>>): GitSession {
    const { signal, idleTimeout, maxFileBytes, onLine } = this.#options;
    return { environment, signal, idleTimeout, maxFileBytes, onLine };
  }

  async #sshEnvironment(url: GitUrl, addresses: readonly string[]): Promise<Record<string, string>> {
    const command = await this.#ssh(url, addresses);
    return { GIT_SSH_VARIANT: 'ssh', GIT_SSH_COMMAND: command.map(quoted).join(' ') };
  }

  #hasKey(url: GitUrl): boolean {
    const { credentials, origin } = this.#options;
    return credentials.privateKey !== undefined && isSameServer(url, origin);
  }

  async #ssh(url: GitUrl, addresses: readonly string[]): Promise<[string, ...string[]]> {
    const address = addresses.find(isIPv4) ?? addresses[0] ?? url.host;
    const identity = this.#hasKey(url) ? ['-i', this.#key] : ['-o', 'IdentityFile=none'];
    const settings = [
      `HostName=${address}`,
      ...(await this.#trust.settings(url)),
      'IdentitiesOnly=yes',
      'IdentityAgent=none',
      'BatchMode=yes',
      'PreferredAuthentications=publickey',
      'ForwardAgent=no',
      'ClearAllForwardings=yes',
      'PermitLocalCommand=no',
      'ProxyCommand=none',
      'ControlPath=none',
      'ConnectTimeout=30',
      'ServerAliveInterval=15',
      'ServerAliveCountMax=4',
    ];
    return ['ssh', '-F', '/dev/null', ...identity, ...settings.flatMap((setting) => ['-o', setting])];
  }

  /** ssh's words in terms of what is to be done. */
  async #explain(url: GitUrl, error: GitFailure): Promise<Error> {
    const words = error.lines.join('\n');
    if (/HOST IDENTIFICATION HAS CHANGED|Host key verification failed|No \S+ host key is known/.test(words))
      return this.#failure(url, this.#trust.changed(url, error.lines), error);
    if (/Load key "[^"]*": (?!Permission denied)/.test(words))
      return this.#failure(
        url,
        'The private key cannot be read. Give one that OpenSSH reads and that has no passphrase.',
        error,
      );
    if (!/Permission denied \(/.test(words)) return error;
    if (!this.#hasKey(url))
      return this.#failure(
        url,
        `${url.host} wants a key, and none was given for it. Give the build the private key of a deploy key.`,
        error,
      );
    return this.#failure(
      url,
      `${url.host} refused the key. Install its public key as a deploy key of the repository, and build again:\n${await this.#publicKey()}`,
      error,
    );
  }

  #failure({ url }: GitUrl, why: string, error: GitFailure): SourceError {
    return new SourceError('gitfailure', `Could not clone git repository ${redactUrl(url)}: ${why}`, error);
  }

  async #publicKey(): Promise<string> {
    const session = { ...this.#session({ PATH: path, HOME: this.#options.folder }), onLine: () => {} };
    try {
      return (await runTool(session, ['ssh-keygen', '-y', '-f', this.#key])).toString().trim();
    } catch (error) {
      if (error instanceof GitFailure) return '(it cannot be derived from the private key)';
      throw error;
    }
  }
}

/** One server is one scheme, host and port: another port may be somebody else's. */
export function isSameServer(a: GitUrl, b: GitUrl): boolean {
  return a.scheme === b.scheme && a.host === b.host && a.port === b.port;
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
