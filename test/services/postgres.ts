import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { chown, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import {
  boundCommand,
  freePort,
  ServerProcess,
  serviceFolder,
  type TestService,
  unprivileged,
} from './service.ts';

const run = promisify(execFile);

/** The programs of the newest PostgreSQL that Debian's packages put on this machine. */
function programs(): string {
  const base = '/usr/lib/postgresql';
  const versions = readdirSync(base).filter((name) => /^\d+$/.test(name));
  const newest = versions.sort((a, b) => Number(b) - Number(a))[0];
  if (newest === undefined)
    throw new Error(`no PostgreSQL in ${base}; install it: apt-get install postgresql`);
  return join(base, newest, 'bin');
}

/**
 * Starts an empty PostgreSQL in a folder of its own, on a Unix socket there and on an ephemeral loopback port. The
 * account in the URL is a superuser, so each test file makes (and drops) databases of its own. Nothing is
 * flushed to disk: it lives for one run of the tests. `more`: settings that are to be otherwise.
 */
export async function startPostgres(more: Readonly<Record<string, string>> = {}): Promise<TestService> {
  const bin = programs();
  const account = unprivileged('postgres');
  const folder = await serviceFolder('postgres');
  const data = join(folder, 'data');
  const password = randomBytes(16).toString('hex');
  const passwordFile = join(folder, 'password');
  try {
    await writeFile(passwordFile, password, { mode: 0o600 });
    if (account !== undefined) {
      await chown(folder, account.uid, account.gid);
      await chown(passwordFile, account.uid, account.gid);
    }
    const [command, args] = boundCommand(account, 'INT', [
      join(bin, 'initdb'),
      ...['--pgdata', data, '--username', 'slipway', '--pwfile', passwordFile, '--auth', 'scram-sha-256'],
      ...['--encoding', 'UTF8', '--locale', 'C', '--no-sync'],
    ]);
    await run(command, args, { cwd: folder });
    // The port can be taken between the choice and the start; then another is chosen.
    for (let attempt = 1; ; attempt += 1) {
      const port = await freePort();
      const settings = {
        listen_addresses: '127.0.0.1',
        port,
        unix_socket_directories: folder,
        fsync: 'off',
        synchronous_commit: 'off',
        full_page_writes: 'off',
        max_connections: 200,
        dynamic_shared_memory_type: 'mmap',
        ...more,
      };
      const server = new ServerProcess(
        boundCommand(account, 'INT', [
          join(bin, 'postgres'),
          '-D',
          data,
          ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
        ]),
        folder,
      );
      const url = `postgres://slipway:${password}@127.0.0.1:${port}/postgres`;
      if (await server.ready(() => answers(url))) {
        return {
          url,
          [Symbol.asyncDispose]: async () => {
            await server.stop('SIGINT');
            await rm(folder, { recursive: true, force: true });
          },
        };
      }
      if (attempt === 5) throw new Error(`PostgreSQL did not start: ${server.output}`);
    }
  } catch (thrown) {
    await rm(folder, { recursive: true, force: true });
    throw thrown;
  }
}

async function answers(url: string): Promise<boolean> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 2000 });
  // A refused connection is reported on the client as well.
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('SELECT 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}
