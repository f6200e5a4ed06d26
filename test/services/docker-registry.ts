import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { boundCommand, freePort, ServerProcess, serviceFolder, type TestService } from './service.ts';

const run = promisify(execFile);

export interface RegistryService extends TestService {
  readonly host: string;
  /** Ends the process; what was pushed stays. */
  end(): Promise<void>;
  /** Starts it again on the same port. */
  start(): Promise<void>;
  /** From now on these, and no others, may log in. */
  setUsers(users: Readonly<Record<string, string>>): Promise<void>;
}

export interface RegistryServiceOptions {
  /** For one that comes back. */
  readonly port?: number;
  /** Passwords by user name; absent: no authentication. */
  readonly users?: Readonly<Record<string, string>>;
  /** PEM files. */
  readonly tls?: { readonly certificate: string; readonly key: string };
}

/** A docker-registry of its own on the loopback. */
export async function startRegistry({
  port,
  users,
  tls,
}: RegistryServiceOptions = {}): Promise<RegistryService> {
  const folder = await serviceFolder('registry');
  await mkdir(join(folder, 'storage'));
  const passwords = join(folder, 'htpasswd');
  if (users !== undefined) await writePasswords(passwords, users);
  for (let tries = 1; ; tries += 1) {
    const chosen = port ?? (await freePort());
    const host = `127.0.0.1:${chosen}`;
    const config = {
      version: '0.1',
      log: { level: 'warn', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: join(folder, 'storage') } },
      http: {
        addr: host,
        ...(tls === undefined ? {} : { tls: { certificate: tls.certificate, key: tls.key } }),
      },
      ...(users === undefined ? {} : { auth: { htpasswd: { realm: 'test', path: passwords } } }),
    };
    await writeFile(join(folder, 'config.json'), JSON.stringify(config));
    const command = boundCommand(undefined, 'TERM', [
      'docker-registry',
      'serve',
      join(folder, 'config.json'),
    ]);
    let server = new ServerProcess(command, folder);
    if (await server.ready(() => accepts(chosen))) {
      return {
        url: `${tls === undefined ? 'http' : 'https'}://${host}`,
        host,
        end: async () => await server.stop('SIGTERM'),
        start: async () => {
          server = new ServerProcess(command, folder);
          if (!(await server.ready(() => accepts(chosen))))
            throw new Error(`docker-registry does not start again: ${server.output}`);
        },
        setUsers: async (next) => await writePasswords(passwords, next),
        [Symbol.asyncDispose]: async () => {
          await server.stop('SIGTERM');
          await rm(folder, { recursive: true, force: true });
        },
      };
    }
    if (tries === 5) throw new Error(`docker-registry does not start: ${server.output}`);
  }
}

async function accepts(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const end = (accepted: boolean) => {
      socket.destroy();
      resolve(accepted);
    };
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
  });
}

/** bcrypt, by the crypt of the machine's C library: the registry reads no other kind. */
async function writePasswords(file: string, users: Readonly<Record<string, string>>): Promise<void> {
  const lines = await Promise.all(
    Object.entries(users).map(async ([name, password]) => {
      const salt = `$2b$05$${randomBytes(16).toString('hex').slice(0, 21)}e`;
      const { stdout } = await run('perl', ['-e', 'print crypt($ARGV[0], $ARGV[1])', password, salt]);
      return `${name}:${stdout}\n`;
    }),
  );
  const draft = `${file}.${randomBytes(6).toString('hex')}`;
  // The registry reads the file again when its time has changed.
  await writeFile(draft, lines.join(''));
  await rename(draft, file);
}
