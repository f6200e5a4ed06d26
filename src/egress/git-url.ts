import { isIP } from 'node:net';
import { EgressError } from './egress-error.ts';
import { type EgressGuard, portOf } from './egress-guard.ts';
import { canonicalHost } from './egress-policy.ts';

/** A git address, taken apart and found harmless. */
export interface GitUrl {
  readonly scheme: 'https' | 'http' | 'ssh';
  readonly host: string;
  readonly port: number;
  /** What git is told; without user name and password for http(s). */
  readonly url: string;
  /** The path, with its leading slash where it has one. */
  readonly path: string;
  /** `user:password` for http(s), when the URL has it. */
  readonly credentials?: string;
}

/**
 * Reads a git URL (`https://…`, `ssh://…`, `user@host:path`). `http://…` is read too, but only hosts of the team's own
 * may be asked that way: see `checkGitHost`. Everything else is refused: local paths, `file:`,
 * `git:`, `ext::` and other helpers, and whatever git or ssh could take for an option. Throws EgressError
 * `bad-url`.
 */
export function parseGitUrl(text: string): GitUrl {
  if (text.length > 2048) throw badUrl('is too long');
  if (/[\0-\x20\x7f\\]/.test(text)) throw badUrl('has a space, backslash or control character in it');
  if (text.startsWith('-')) throw badUrl('begins with a dash');
  if (text.includes('::') && !text.includes('['))
    throw badUrl('names a transport helper, which is not allowed');
  return text.includes('://') ? parseFull(text) : parseScp(text);
}

function parseFull(text: string): GitUrl {
  let url: URL;
  try {
    url = new URL(text);
  } catch (error) {
    throw badUrl('cannot be read', error);
  }
  if (url.hash !== '' || url.search !== '') throw badUrl('has a query or fragment in it');
  const path = decode(url.pathname);
  checkPath(path);
  if (path === '/' || path === '') throw badUrl('names no repository');
  switch (url.protocol) {
    case 'https:':
    case 'http:': {
      const credentials =
        url.username === '' && url.password === ''
          ? {}
          : { credentials: `${decode(url.username)}:${decode(url.password)}` };
      const scheme = url.protocol === 'https:' ? 'https' : 'http';
      const port = portOf(url);
      const host = checkHost(url.hostname);
      // Under the very name that is checked: with a dot behind it git would not take it for the same, and look it up itself.
      const place = url.port === '' ? bracketed(host) : `${bracketed(host)}:${port}`;
      return {
        scheme,
        host,
        port,
        url: `${scheme}://${place}${url.pathname}`,
        path: url.pathname,
        ...credentials,
      };
    }
    case 'ssh:': {
      if (url.password !== '') throw badUrl('has a password for ssh in it, which ssh cannot use; use a key');
      const host = checkHost(url.hostname);
      const user = checkUser(decode(url.username));
      const port = portOf(url);
      const at = user === '' ? '' : `${user}@`;
      return { scheme: 'ssh', host, port, url: `ssh://${at}${bracketed(host)}:${port}${url.pathname}`, path };
    }
    default:
      throw badUrl(`uses ${url.protocol.slice(0, -1)}, which is not allowed; use https or ssh`);
  }
}

/** `user@host:path`; the path counts from the account's home, which ssh:// cannot say, so the form is kept. */
function parseScp(text: string): GitUrl {
  const match = /^(?:([^@:/]+)@)?([^@:/[\]]+|\[[0-9A-Fa-f:.]+\]):(.+)$/.exec(text);
  const [, user = '', host = '', path = ''] = match ?? [];
  if (match === null || path === '')
    throw badUrl('is neither https://host/path, ssh://host/path nor user@host:path');
  if (path.startsWith(':')) throw badUrl('names a transport helper, which is not allowed');
  checkPath(path);
  const name = checkHost(host);
  const at = checkUser(user) === '' ? '' : `${user}@`;
  return { scheme: 'ssh', host: name, port: 22, url: `${at}${bracketed(name)}:${path}`, path };
}

/** The URL of a submodule: relative ones (`../lib.git`) count from the repository that names them. */
export function resolveSubmoduleUrl(parent: GitUrl, url: string): GitUrl {
  if (!url.startsWith('./') && !url.startsWith('../')) return parseGitUrl(url);
  // As it is written, percent signs and all: it is read once more.
  const path = parent.url.includes('://') ? new URL(parent.url).pathname : parent.path;
  const prefix = parent.url.slice(0, parent.url.length - path.length);
  const names = path.replace(/\/+$/, '').split('/');
  for (const part of url.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') names.push(part);
    else if (names.length <= 1) throw badUrl('of a submodule leads above the root of its host');
    else names.pop();
  }
  const resolved = parseGitUrl(`${prefix}${names.join('/')}`);
  return parent.credentials === undefined ? resolved : { ...resolved, credentials: parent.credentials };
}

/**
 * The checked addresses of the host, for git to connect to and no others. Clear text shows the source to the network
 * and lets anybody on the way change it, so `http` is for hosts that the guard's allow-list names. Throws EgressError.
 */
export async function checkGitHost(
  guard: EgressGuard,
  git: Pick<GitUrl, 'scheme' | 'host' | 'port'>,
  signal?: AbortSignal,
): Promise<readonly string[]> {
  if (git.scheme === 'http' && !(await guard.isListed(git.host, git.port, signal)))
    throw badUrl('uses http, which is allowed only for hosts that an administrator listed; use https or ssh');
  return (await guard.resolve(git.host, git.port, signal)).map(({ address }) => address);
}

function checkHost(host: string): string {
  const name = canonicalHost(decode(host));
  if (!/^[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?$/i.test(name) && isIP(name) !== 6)
    throw badUrl('has a host name that is not valid');
  return name;
}

function checkUser(user: string): string {
  if (!/^[A-Za-z0-9_][A-Za-z0-9._+@-]*$|^$/.test(user)) throw badUrl('has a user name that is not valid');
  return user;
}

/** A path must not look like an option to the program at the other end, nor carry another line. */
function checkPath(path: string): void {
  if (/[\0-\x1f\x7f]/.test(path)) throw badUrl('has a control character in it');
  if (/^\/?-/.test(path)) throw badUrl('has a path that begins with a dash');
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    throw badUrl('has a broken percent sign in it', error);
  }
}

function badUrl(why: string, cause?: unknown): EgressError {
  return new EgressError('bad-url', `The git URL ${why}.`, cause);
}
