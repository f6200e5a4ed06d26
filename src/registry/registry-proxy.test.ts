import { once } from 'node:events';
import { Agent, createServer, request } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { linger } from './registry-proxy.ts';

async function serveRefusals() {
  const sockets = new Set<Socket>();
  const server = createServer((incoming, response) => {
    sockets.add(incoming.socket);
    response.writeHead(401).end();
    linger(incoming);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    sockets,
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

test('requests that are refused leave nothing behind on a connection that goes on', async () => {
  await using server = await serveRefusals();
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const counts: number[] = [];
  for (let at = 0; at < 15; at += 1) {
    const asked = request({ agent, host: '127.0.0.1', port: server.port, method: 'PUT' });
    asked.end('a body');
    const [answer] = await once(asked, 'response');
    answer.resume();
    await once(answer, 'end');
    const [socket] = server.sockets;
    counts.push(socket?.listenerCount('close') ?? 0);
  }
  agent.destroy();
  expect(server.sockets.size).toBe(1);
  expect(Math.max(...counts)).toBe(counts[0]);
});

test('a client that goes on sending after its answer is cut off in a while', async () => {
  await using server = await serveRefusals();
  const client = connect(server.port, '127.0.0.1');
  client.on('error', () => {});
  client.write('PUT / HTTP/1.1\r\nhost: here\r\ncontent-length: 1000000\r\n\r\nand so on');
  const [answer] = await once(client, 'data');
  expect(String(answer)).toMatch(/^HTTP\/1.1 401 /);
  await once(client, 'close');
});
