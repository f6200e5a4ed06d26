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

/** Starts an empty Redis on an ephemeral loopback port; nothing of it outlives the run. */
export async function startRedis(): Promise<TestService> {
  const account = unprivileged('redis');
  const folder = await serviceFolder('redis');
  try {
    if (account !== undefined) await chown(folder, account.uid, account.gid);
    for (let attempt = 1; ; attempt += 1) {
      const port = await freePort();
      const server = new ServerProcess(
        boundCommand(account, 'TERM', [
          'redis-server',
          ...[
            '--bind',
            '127.0.0.1',
            '--port',
            `${port}`,
            '--dir',
            folder,
            '--save',
            '',
            '--appendonly',
            'no',
          ],
        ]),
        folder,
      );
      if (await server.ready(() => answers(port))) {
        return {
          url: `redis://127.0.0.1:${port}`,
          [Symbol.asyncDispose]: async () => {
            await server.stop('SIGTERM');
            await rm(folder, { recursive: true, force: true });
          },
        };
      }
      if (attempt === 5) throw new Error(`Redis did not start: ${server.output}`);
    }
  } catch (thrown) {
    await rm(folder, { recursive: true, force: true });
    throw thrown;
  }
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    socket.write('PING\r\n');
    const [reply] = await once(socket, 'data');
    return String(reply).startsWith('+PONG');
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
