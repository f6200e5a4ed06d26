import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { GitUrl } from '../../egress/git-url.ts';
import { fingerprintOf, type HostKey, knownHostName, parseKnownHost } from '../../model/host-key.ts';
import { wellKnownHostKeys } from './well-known-hosts.ts';

interface Trusted {
  /** A `known_hosts` with this one server. */
  readonly file: string;
  /** Empty: whatever key it shows first is taken. */
  readonly keys: readonly HostKey[];
}

/**
 * Which key each SSH server must show. What the manager has recorded counts most, then what large hosts publish; a
 * server that is in neither is believed once, and its key told to `onNewKey`. The check of a known server is strict: a key
 * of another type is no way around it.
 */
export class GitTrust {
  readonly #folder: string;
  readonly #recorded: readonly HostKey[];
  readonly #onNewKey: (key: HostKey) => void;
  readonly #servers = new Map<string, Trusted>();

  constructor(folder: string, recorded: readonly HostKey[], onNewKey: (key: HostKey) => void) {
    this.#folder = folder;
    this.#recorded = recorded;
    this.#onNewKey = onNewKey;
  }

  /** What ssh is told of the server's key. */
  async settings(url: GitUrl): Promise<string[]> {
    const { file, keys } = await this.#server(url);
    return [
      `HostKeyAlias=${knownHostName(url)}`,
      `UserKnownHostsFile=${file}`,
      'GlobalKnownHostsFile=/dev/null',
      `StrictHostKeyChecking=${keys.length === 0 ? 'accept-new' : 'yes'}`,
      'UpdateHostKeys=no',
      'CheckHostIP=no',
      'HashKnownHosts=no',
      'VerifyHostKeyDNS=no',
    ];
  }

  /** Called after ssh was there: the key of a server that was new holds from now on. */
  async learn(url: GitUrl): Promise<void> {
    if (url.scheme !== 'ssh') return;
    const name = knownHostName(url);
    const server = this.#servers.get(name);
    if (server === undefined || server.keys.length > 0) return;
    const text = await readFile(server.file, 'utf8').catch(() => '');
    const [key] = text.split('\n').flatMap((line) => parseKnownHost(line) ?? []);
    if (key === undefined || knownHostName(key) !== name) return;
    this.#servers.set(name, { ...server, keys: [key] });
    this.#onNewKey(key);
  }

  /** What a person needs to know when the server showed another key; `lines` are ssh's words. */
  changed(url: GitUrl, lines: readonly string[]): string {
    const shown = /SHA256:[A-Za-z0-9+/]{43}/.exec(lines.join('\n'))?.[0];
    const keys = this.#servers.get(knownHostName(url))?.keys ?? [];
    const published = keys.some((key) => wellKnownHostKeys.includes(key));
    const name = url.port === 22 ? url.host : `${url.host}:${url.port}`;
    const expected = keys.map((key) => `${fingerprintOf(key)} (${key.type})`).join(', ');
    const accept = published
      ? 'it publishes its keys; if it has new ones, Slipway has to be updated'
      : `a superuser of Slipway accepts the new key with: slipway admin git-hosts forget ${name}`;
    return `The host key of ${name} has changed${shown === undefined ? '' : ` to ${shown}`}; expected was ${expected}. Either the server has a new key, or somebody is between it and Slipway. Ask who runs the server for the fingerprint of its key; when it is the new one, ${accept}, and build again.`;
  }

  async #server(url: GitUrl): Promise<Trusted> {
    const name = knownHostName(url);
    const known = this.#servers.get(name);
    if (known !== undefined) return known;
    const keysOf = (all: readonly HostKey[]) => all.filter((key) => knownHostName(key) === name);
    const recorded = keysOf(this.#recorded);
    const keys = recorded.length > 0 ? recorded : keysOf(wellKnownHostKeys);
    const server = { file: join(this.#folder, `known_hosts-${this.#servers.size}`), keys };
    await writeFile(server.file, keys.map(({ type, key }) => `${name} ${type} ${key}\n`).join(''), {
      mode: 0o600,
      flag: 'wx',
    });
    this.#servers.set(name, server);
    return server;
  }
}
