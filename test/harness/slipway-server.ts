import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { chmod, chown, mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const project = resolve(import.meta.dirname, '../..');

/**
 * A real `slipway up` in a process of its own, with a data folder and a profile of its own, on a free port. Tests talk
 * to it as any client does.
 */
export class SlipwayServer {
  readonly data: string;
  readonly profileFile: string;
  readonly #flags: readonly string[];
  readonly #launcher: boolean;
  readonly #account: { readonly uid: number; readonly gid: number } | undefined;
  readonly #folder: string;
  #child: ChildProcess | undefined;
  #url: string | undefined;
  #token: string | undefined;
  #lives = 0;

  private constructor(
    folder: string,
    data: string,
    flags: readonly string[],
    account: { readonly uid: number; readonly gid: number } | undefined,
    launcher: boolean,
  ) {
    this.#folder = folder;
    this.data = data;
    this.profileFile = join(folder, 'profile.json');
    this.#flags = flags;
    this.#launcher = launcher;
    this.#account = account;
  }

  /**
   * `data`: a data folder to use instead of a new one (it is then left in place). `account`: the ordinary account to
   * run the server as, which only root can do. `launcher`: by `./slipway`, as people start it, with its settings of
   * Node.js and a cache of compiled code, which is a folder of this server's own.
   */
  static async start(
    flags: readonly string[] = [],
    options: {
      readonly data?: string;
      readonly account?: { readonly uid: number; readonly gid: number };
      readonly launcher?: boolean;
    } = {},
  ): Promise<SlipwayServer> {
    const folder = await mkdtemp(join(tmpdir(), 'slipway-test-'));
    // The account of the workers must be able to pass through.
    await chmod(folder, 0o711);
    if (options.account !== undefined) await chown(folder, options.account.uid, options.account.gid);
    const server = new SlipwayServer(
      folder,
      options.data ?? join(folder, 'data'),
      flags,
      options.account,
      options.launcher ?? false,
    );
    try {
      await server.start();
    } catch (thrown) {
      await rm(folder, { recursive: true, force: true });
      throw thrown;
    }
    return server;
  }

  get url(): string {
    if (this.#url === undefined) throw new Error('the server is not started');
    return this.#url;
  }

  /** host:port, as in image names. */
  get host(): string {
    return new URL(this.url).host;
  }

  get token(): string {
    if (this.#token === undefined) throw new Error('the server is not started');
    return this.#token;
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error('the server is not running');
    return pid;
  }

  /** Starts it, or starts it again on the same data folder and port. */
  async start(extraFlags: readonly string[] = []): Promise<void> {
    this.#lives += 1;
    const output = join(this.#folder, `server-${this.#lives}.log`);
    const file = openSync(output, 'w');
    const port = this.#url === undefined ? '0' : new URL(this.#url).port;
    const child = spawn(
      this.#launcher ? join(project, 'slipway') : process.execPath,
      [
        ...(this.#launcher
          ? []
          : ['--disable-warning=ExperimentalWarning', join(project, 'src/bin/slipway.ts')]),
        'up',
        '--data',
        this.data,
        '--port',
        port,
        ...this.#flags,
        ...extraFlags,
      ],
      {
        stdio: ['ignore', file, file],
        cwd: this.#folder,
        ...this.#account,
        env: {
          ...process.env,
          ...(this.#account === undefined ? {} : { HOME: this.#folder }),
          ...(this.#launcher ? { NODE_COMPILE_CACHE: join(this.#folder, 'compiled') } : {}),
          SLIPWAY_PROFILE: this.profileFile,
          SLIPWAY_SERVER: undefined,
          SLIPWAY_TOKEN: undefined,
        },
      },
    );
    closeSync(file);
    this.#child = child;
    const deadline = Date.now() + 60_000;
    for (;;) {
      const text = await readFile(output, 'utf8');
      const ready = /ready at (https?:\/\/\S+)/.exec(text);
      if (ready?.[1] !== undefined) {
        this.#url = ready[1];
        break;
      }
      if (child.exitCode !== null || child.signalCode !== null || Date.now() > deadline)
        throw new Error(
          `slipway up did not get ready (exit ${child.exitCode ?? child.signalCode}):\n${text}`,
        );
      await sleep(20);
    }
    const profile = JSON.parse(await readFile(this.profileFile, 'utf8')) as {
      servers: Record<string, { token: string }>;
    };
    this.#token = profile.servers[this.url]?.token;
  }

  /** What the server of the last start printed. */
  async output(): Promise<string> {
    return await readFile(join(this.#folder, `server-${this.#lives}.log`), 'utf8');
  }

  /** Ends the process with a signal and waits for its end; the exit status, or undefined when a signal ended it. */
  async kill(signal: NodeJS.Signals): Promise<number | undefined> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null)
      return child?.exitCode ?? undefined;
    const ended = once(child, 'exit');
    child.kill(signal);
    const [code] = (await ended) as [number | null];
    return code ?? undefined;
  }

  /** Makes a user with a namespace of the same name; from now on this client is that user. */
  async becomeUser(username: string): Promise<void> {
    const { password } = await this.json<{ password: string }>('POST', '/api/v1/superuser/users', {
      username,
    });
    const response = await fetch(new URL('/api/v1/user/tokens', this.url), {
      method: 'POST',
      headers: {
        authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({
        name: 'test',
        scopes: ['repo:read', 'repo:write', 'repo:admin', 'org:admin', 'user:admin'],
      }),
    });
    if (!response.ok) throw new Error(`no token for ${username}: ${await response.text()}`);
    this.#token = ((await response.json()) as { token: string }).token;
  }

  async fetch(path: string, init: RequestInit & { duplex?: 'half' } = {}): Promise<Response> {
    return await fetch(new URL(path, this.url), {
      ...init,
      headers: {
        authorization: `Bearer ${this.token}`,
        ...(init.headers as Record<string, string> | undefined),
      },
    });
  }

  async json<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await this.fetch(path, {
      method,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  /** Stops it and removes everything; throws when a process that belongs to its data folder is left behind. */
  async dispose(): Promise<void> {
    const running =
      this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
    if (running) {
      const code = await Promise.race([
        this.kill('SIGTERM').then((status) => status ?? 'signal'),
        sleep(30_000, 'timeout'),
      ]);
      if (code === 'timeout') await this.kill('SIGKILL');
      if (code !== 0) throw new Error(`slipway up did not stop cleanly (${code}):\n${await this.output()}`);
    }
    const left = await processesOf(this.data);
    await rm(this.#folder, { recursive: true, force: true });
    if (left.length > 0)
      throw new Error(`left behind:\n${left.map(({ pid, command }) => `${pid} ${command}`).join('\n')}`);
  }
}

interface FoundProcess {
  readonly pid: number;
  readonly command: string;
}

/** Processes whose command line, working folder or root leads into a folder: what a server must not leave behind. */
export async function processesOf(folder: string): Promise<FoundProcess[]> {
  const found: FoundProcess[] = [];
  for (const each of await processes()) {
    const cwd = await readlink(`/proc/${each.pid}/cwd`).catch(() => '');
    if (each.command.includes(folder) || cwd === folder || cwd.startsWith(`${folder}/`)) found.push(each);
  }
  return found;
}

/** Processes with a text in their command line. */
export async function processesWith(text: string): Promise<FoundProcess[]> {
  return (await processes()).filter(({ command }) => command.includes(text));
}

async function processes(): Promise<FoundProcess[]> {
  const found: FoundProcess[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    const command = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
    found.push({ pid: Number(name), command: command.replaceAll('\0', ' ').trim() });
  }
  return found;
}

/** Waits for a condition, looking often; throws with `what` when it does not come. */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false>,
  seconds = 60,
): Promise<T> {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    if (Date.now() > deadline) throw new Error(`waited ${seconds} s in vain for: ${what}`);
    await sleep(25);
  }
}
