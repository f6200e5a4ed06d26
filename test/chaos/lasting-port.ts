import { once } from 'node:events';
import { createServer } from 'node:net';

const first = 20_000;
const last = 29_999;
const given = new Set<number>();

/**
 * A free loopback port that stays free while the server that has it is ended and started again: none that the system
 * would give to an outgoing connection meanwhile.
 */
export async function lastingPort(): Promise<number> {
  for (;;) {
    const port = first + Math.floor(Math.random() * (last - first + 1));
    if (given.has(port)) continue;
    given.add(port);
    if (await isFree(port)) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
