import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LogEntry } from '../../src/log/log-store.ts';
import { finalPhases } from './build-client.ts';
import { processesOf, until } from './slipway-server.ts';

const project = resolve(import.meta.dirname, '../..');
const program = ['--disable-warning=ExperimentalWarning', join(project, 'src/bin/slipway.ts')];

export interface ServeOptions {
  /** The configuration, as in the YAML file; DATA_FOLDER is put in. */
  readonly config: Readonly<Record<string, unknown>> & {
    readonly SLIPWAY: Readonly<Record<string, unknown>>;
  };
  readonly environment?: Readonly<Record<string, string>>;
}

/** A real `slipway serve` in a process of its own, with a data folder of its own. */
export class ServeProcess implements AsyncDisposable {
  readonly folder: string;
  readonly #options: ServeOptions;
  #child: ChildProcess | undefined;
  #lives = 0;

  private constructor(folder: string, options: ServeOptions) {
    this.folder = folder;
    this.#options = options;
  }

  static async start(options: ServeOptions): Promise<ServeProcess> {
    const server = await ServeProcess.prepare(options);
    try {
      await server.start();
    } catch (thrown) {
      await rm(server.folder, { recursive: true, force: true });
      throw thrown;
    }
    return server;
  }

  /** With its folder and configuration, not started. */
  static async prepare(options: ServeOptions): Promise<ServeProcess> {
    const folder = await mkdtemp(join(tmpdir(), 'slipway-serve-'));
    // The account of the workers must be able to pass through.
    await chmod(folder, 0o711);
    const server = new ServeProcess(folder, options);
    const { SLIPWAY: own, ...rest } = options.config;
    const config = { ...rest, SLIPWAY: { ...own, DATA_FOLDER: server.data } };
    // JSON is YAML.
    await writeFile(server.configFile, JSON.stringify(config, undefined, 2));
    return server;
  }

  get data(): string {
    return join(this.folder, 'data');
  }

  get configFile(): string {
    return join(this.folder, 'config.yaml');
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error('the server is not running');
    return pid;
  }

  get #environment(): NodeJS.ProcessEnv {
    const own = Object.entries(process.env).filter(([name]) => !name.startsWith('SLIPWAY_'));
    return { ...Object.fromEntries(own), ...this.#options.environment };
  }

  async start(): Promise<void> {
    this.#lives += 1;
    const file = openSync(this.#outputFile, 'w');
    const child = spawn(process.execPath, [...program, 'serve', '--setup', '--config', this.configFile], {
      stdio: ['ignore', file, file],
      cwd: this.folder,
      env: this.#environment,
    });
    closeSync(file);
    this.#child = child;
    await until('slipway serve to be ready', async () => {
      const text = await this.output();
      if (child.exitCode !== null || child.signalCode !== null)
        throw new Error(`slipway serve ended (${child.exitCode ?? child.signalCode}):\n${text}`);
      return text.includes('listens ') && text.includes('ready at');
    });
  }

  get #outputFile(): string {
    return join(this.folder, `output-${this.#lives}.log`);
  }

  async output(): Promise<string> {
    return await readFile(this.#outputFile, 'utf8');
  }

  /** The manager's name in this life. */
  async name(): Promise<string> {
    const name = /manager +(\S+)/.exec(await this.output())?.[1];
    if (name === undefined) throw new Error('the server has not said its name');
    return name;
  }

  /** The server's log, one object a line. */
  async log(): Promise<string> {
    return await readFile(join(this.data, 'server.log'), 'utf8');
  }

  /** `slipway admin create-user`; gives the password. */
  createUser(username: string): string {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [...program, 'admin', 'create-user', username, '--config', this.configFile],
      { encoding: 'utf8', env: this.#environment },
    );
    const password = /password +(\S+)/.exec(stdout)?.[1];
    if (status !== 0 || password === undefined) throw new Error(`create-user: ${status} ${stdout}${stderr}`);
    return password;
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

  /** Returns what lets it go on. */
  freeze(): () => void {
    const child = this.#child;
    child?.kill('SIGSTOP');
    return () => void child?.kill('SIGCONT');
  }

  /** Stops it and removes everything; throws when a process that belongs to its folder is left behind. */
  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const code = await Promise.race([
        this.kill('SIGTERM').then((status) => status ?? 'signal'),
        sleep(30_000, 'timeout' as const, { ref: false }),
      ]);
      if (code === 'timeout') await this.kill('SIGKILL');
      if (code !== 0)
        throw new Error(`slipway serve did not stop cleanly (${code}):\n${await this.output()}`);
    }
    const left = await processesOf(this.folder);
    for (const { pid } of left) process.kill(pid, 'SIGKILL');
    await rm(this.folder, { recursive: true, force: true });
    if (left.length > 0)
      throw new Error(`left behind:\n${left.map(({ pid, command }) => `${pid} ${command}`).join('\n')}`);
  }
}

export interface RemoteBuildView {
  readonly id: string;
  readonly phase: string;
  readonly error: string | null;
  readonly error_code: string | null;
  readonly digest: string | null;
  readonly attempts: readonly {
    readonly epoch: number;
    readonly state: string;
    readonly outcome: string | null;
    readonly error_code: string | null;
  }[];
}

/** A user of a server, by its URL; any server of a cluster will do. */
export class RemoteUser {
  readonly url: string;
  readonly username: string;
  readonly authorization: string;

  private constructor(url: string, username: string, authorization: string) {
    this.url = url;
    this.username = username;
    this.authorization = authorization;
  }

  static withPassword(url: string, username: string, password: string): RemoteUser {
    const basic = Buffer.from(`${username}:${password}`).toString('base64');
    return new RemoteUser(url, username, `Basic ${basic}`);
  }

  /** Signs in for a token, which the whole cluster takes. */
  async withToken(): Promise<RemoteUser> {
    const { token } = await this.json<{ token: string }>('POST', '/api/v1/user/tokens', {
      name: 'test',
      scopes: ['repo:read', 'repo:write', 'repo:admin', 'org:admin', 'user:admin', 'super:user'],
    });
    return new RemoteUser(this.url, this.username, `Bearer ${token}`);
  }

  /** The same user at another server. */
  at(url: string): RemoteUser {
    return new RemoteUser(url, this.username, this.authorization);
  }

  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    return await fetch(new URL(path, this.url), {
      ...init,
      headers: { authorization: this.authorization, ...(init.headers as Record<string, string> | undefined) },
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

  /** Uploads a Dockerfile and asks for its build, in a repository of the user's. */
  async build(
    repository: string,
    dockerfile: string,
    tags: readonly string[] = ['latest'],
  ): Promise<RemoteBuild> {
    const made = await this.fetch('/api/v1/repository', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ namespace: this.username, repository, visibility: 'private', description: '' }),
    });
    if (!made.ok && made.status !== 400 && made.status !== 409)
      throw new Error(`cannot create ${repository}: ${made.status} ${await made.text()}`);
    const drop = await this.json<{ url: string; file_id: string }>('POST', '/api/v1/filedrop/', {
      mimeType: 'text/plain',
    });
    const put = await fetch(new URL(drop.url, this.url), {
      method: 'PUT',
      body: dockerfile,
      headers: { 'content-type': 'text/plain' },
    });
    if (!put.ok) throw new Error(`PUT ${drop.url}: ${put.status} ${await put.text()}`);
    const path = `/api/v1/repository/${this.username}/${repository}/build/`;
    const { id } = await this.json<{ id: string }>('POST', path, {
      file_id: drop.file_id,
      docker_tags: tags,
    });
    return new RemoteBuild(this, `${path}${id}`, id);
  }
}

/** A build, as any server of the cluster shows it. */
export class RemoteBuild {
  readonly id: string;
  readonly #user: RemoteUser;
  readonly #path: string;

  constructor(user: RemoteUser, path: string, id: string) {
    this.#user = user;
    this.#path = path;
    this.id = id;
  }

  async view(user = this.#user): Promise<RemoteBuildView> {
    return await user.json<RemoteBuildView>('GET', this.#path);
  }

  async cancel(user = this.#user): Promise<Response> {
    return await user.fetch(this.#path, { method: 'DELETE' });
  }

  async log(user = this.#user): Promise<LogEntry[]> {
    const entries: LogEntry[] = [];
    for (;;) {
      const page = await user.json<{ total: number; logs: LogEntry[] }>(
        'GET',
        `${this.#path}/logs?start=${entries.length}`,
      );
      entries.push(...page.logs);
      if (page.logs.length === 0 || entries.length >= page.total) return entries;
    }
  }

  async says(pattern: RegExp, user = this.#user): Promise<void> {
    await until(`${this.id} to say ${pattern}`, async () =>
      (await this.log(user)).some(({ message }) => pattern.test(message)),
    );
  }

  async ends(user = this.#user): Promise<RemoteBuildView> {
    return await until(`the end of ${this.id}`, async () => {
      const view = await this.view(user);
      return finalPhases.has(view.phase) && view;
    });
  }
}
