import { once } from 'node:events';
import { chown, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import {
  boundCommand,
  freePort,
  ServerProcess,
  serviceFolder,
  type TestService,
  unprivileged,
} from './service.ts';

export interface TestRedis extends TestService {
  readonly port: number;
  /** A folder the server may read. */
  readonly folder: string;
  /** Ends it with a signal and waits for its end. */
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>;
  /** Stops it as it stands, or lets it go on. */
  freeze(frozen: boolean): void;
  /** Starts it again, empty, on the same port. */
  start(): Promise<void>;
}

export interface TestRedisOptions {
  /** More settings, as arguments of redis-server. */
  readonly settings?: (folder: string, port: number) => readonly string[];
  /** Called when the folder is there, before the server is started. */
  readonly prepare?: (
    folder: string,
    account: { readonly uid: number; readonly gid: number } | undefined,
  ) => Promise<void>;
}

/** Starts an empty Redis on an ephemeral loopback port; nothing of it outlives the run. */
export async function startRedis({ settings, prepare }: TestRedisOptions = {}): Promise<TestRedis> {
  const account = unprivileged('redis');
  const folder = await serviceFolder('redis');
  const launch = async (port: number): Promise<ServerProcess | undefined> => {
    const server = new ServerProcess(
      boundCommand(account, 'TERM', [
        'redis-server',
        ...['--bind', '127.0.0.1', '--port', `${port}`, '--dir', folder, '--save', '', '--appendonly', 'no'],
        ...(settings?.(folder, port) ?? []),
      ]),
      folder,
    );
    if (await server.ready(() => accepts(port))) return server;
    output = server.output;
    return undefined;
  };
  let output = '';
  try {
    if (account !== undefined) await chown(folder, account.uid, account.gid);
    await prepare?.(folder, account);
    for (let attempt = 1; ; attempt += 1) {
      const port = await freePort();
      let server = await launch(port);
      if (server !== undefined) {
        return {
          url: `redis://127.0.0.1:${port}`,
          port,
          folder,
          end: async (signal) => await server?.stop(signal),
          freeze: (frozen) => server?.signal(frozen ? 'SIGSTOP' : 'SIGCONT'),
          start: async () => {
            server = await launch(port);
            if (server === undefined) throw new Error(`Redis did not start again: ${output}`);
          },
          [Symbol.asyncDispose]: async () => {
            server?.signal('SIGCONT');
            await server?.stop('SIGTERM');
            await rm(folder, { recursive: true, force: true });
          },
        };
      }
      if (attempt === 5) throw new Error(`Redis did not start: ${output}`);
    }
  } catch (thrown) {
    await rm(folder, { recursive: true, force: true });
    throw thrown;
  }
}

/** Whether it is there at all: with a password its answer is an error, and one that wants TLS hangs up. */
async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
  } catch {
    return false;
  }
  socket.write('PING\r\n');
  await new Promise<void>((resolve) => {
    for (const event of ['data', 'error', 'close', 'timeout']) socket.once(event, () => resolve());
    socket.setTimeout(500);
  });
  socket.destroy();
  return true;
}
