import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { chown, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { boundCommand, ServerProcess, serviceFolder, unprivileged } from '../services/service.ts';
import { lastingPort } from './lasting-port.ts';

const run = promisify(execFile);

/** A server that can be ended and started again, on the same port and with what it had stored. */
export abstract class RestartableServer implements AsyncDisposable {
  readonly folder: string;
  readonly port: number;
  #process: ServerProcess | undefined;

  constructor(folder: string, port: number) {
    this.folder = folder;
    this.port = port;
  }

  protected abstract launch(): ServerProcess;
  protected abstract answers(): Promise<boolean>;

  async start(): Promise<void> {
    for (let tried = 1; ; tried += 1) {
      const server = this.launch();
      this.#process = server;
      if (await server.ready(() => this.answers())) return;
      if (tried === 3) throw new Error(`a server did not come back: ${server.output}`);
    }
  }

  async stop(signal: NodeJS.Signals): Promise<void> {
    const server = this.#process;
    this.#process = undefined;
    await server?.stop(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGTERM');
    await rm(this.folder, { recursive: true, force: true });
  }
}

const account = (name: string) => unprivileged(name);

/**
 * PostgreSQL that keeps what it confirmed when it is ended at once: commits are written, but not flushed to the disk,
 * because the machine itself does not fail here.
 */
export class RestartablePostgres extends RestartableServer {
  readonly #bin: string;
  readonly #password: string;

  private constructor(folder: string, port: number, bin: string, password: string) {
    super(folder, port);
    this.#bin = bin;
    this.#password = password;
  }

  static async open(): Promise<RestartablePostgres> {
    const base = '/usr/lib/postgresql';
    const newest = readdirSync(base)
      .filter((name) => /^\d+$/.test(name))
      .sort((a, b) => Number(b) - Number(a))[0];
    if (newest === undefined)
      throw new Error('PostgreSQL is missing; install it: apt-get install postgresql');
    const bin = join(base, newest, 'bin');
    const folder = await serviceFolder('chaos-postgres');
    const password = randomBytes(16).toString('hex');
    const passwordFile = join(folder, 'password');
    await writeFile(passwordFile, password, { mode: 0o600 });
    const owner = account('postgres');
    if (owner !== undefined) {
      await chown(folder, owner.uid, owner.gid);
      await chown(passwordFile, owner.uid, owner.gid);
    }
    const initialise = ['--username', 'slipway', '--pwfile', passwordFile, '--auth', 'scram-sha-256'];
    const [command, args] = boundCommand(owner, 'INT', [
      join(bin, 'initdb'),
      ...['--pgdata', join(folder, 'data'), ...initialise],
      ...['--encoding', 'UTF8', '--locale', 'C', '--no-sync'],
    ]);
    await run(command, args, { cwd: folder });
    const server = new RestartablePostgres(folder, await lastingPort(), bin, password);
    await server.start();
    return server;
  }

  urlAt(port: number): string {
    return `postgres://slipway:${this.#password}@127.0.0.1:${port}/postgres`;
  }

  protected override launch(): ServerProcess {
    const settings = {
      listen_addresses: '127.0.0.1',
      port: this.port,
      unix_socket_directories: this.folder,
      fsync: 'off',
      full_page_writes: 'off',
      max_connections: 200,
      dynamic_shared_memory_type: 'mmap',
    };
    return new ServerProcess(
      boundCommand(account('postgres'), 'INT', [
        join(this.#bin, 'postgres'),
        ...['-D', join(this.folder, 'data')],
        ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
      ]),
      this.folder,
    );
  }

  protected override async answers(): Promise<boolean> {
    const client = new Client({ connectionString: this.urlAt(this.port), connectionTimeoutMillis: 2_000 });
    client.on('error', () => {});
    try {
      await client.connect();
      await client.query('SELECT 1');
      return true;
    } catch {
      return false;
    } finally {
      await client.end().catch(() => {});
    }
  }
}

export class RestartableRedis extends RestartableServer {
  static async open(): Promise<RestartableRedis> {
    const folder = await serviceFolder('chaos-redis');
    const owner = account('redis');
    if (owner !== undefined) await chown(folder, owner.uid, owner.gid);
    const server = new RestartableRedis(folder, await lastingPort());
    await server.start();
    return server;
  }

  protected override launch(): ServerProcess {
    const flags = ['--bind', '127.0.0.1', '--port', `${this.port}`, '--dir', this.folder];
    return new ServerProcess(
      boundCommand(account('redis'), 'TERM', ['redis-server', ...flags, '--save', '', '--appendonly', 'no']),
      this.folder,
    );
  }

  protected override async answers(): Promise<boolean> {
    return (await this.ask('PING')).startsWith('+PONG');
  }

  async flush(): Promise<void> {
    await this.ask('FLUSHALL');
  }

  /** One command; what it answers first, or nothing when nobody answers. */
  async ask(command: string): Promise<string> {
    return await new Promise<string>((resolve) => {
      const socket = connect(this.port, '127.0.0.1', () => socket.write(`${command}\r\n`));
      socket.setTimeout(2_000, () => socket.destroy());
      socket.once('data', (bytes) => {
        resolve(bytes.toString());
        socket.destroy();
      });
      socket.on('error', () => {});
      socket.once('close', () => resolve(''));
    });
  }
}
