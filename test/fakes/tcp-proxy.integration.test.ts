import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { TcpProxy } from './tcp-proxy.ts';

const open: AsyncDisposable[] = [];

afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]();
});

/** Sends back what it gets, after its own name. */
async function echo(name: string): Promise<{ port: number; server: Server }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', (bytes) => socket.write(`${name}:${bytes}`));
    socket.on('end', () => socket.end());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  open.push({
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  });
  return { port: (server.address() as AddressInfo).port, server };
}

async function through(targets: readonly number[], doors = 1): Promise<TcpProxy> {
  const proxy = await TcpProxy.open({ targets, doors });
  open.push(proxy);
  return proxy;
}

class Client {
  readonly socket: Socket;
  readonly over: Promise<string>;
  text = '';

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1');
    this.socket.on('data', (bytes) => {
      this.text += bytes.toString();
    });
    this.over = new Promise((resolve) => {
      let why = 'closed';
      this.socket.on('error', (error: NodeJS.ErrnoException) => {
        why = error.code ?? 'error';
      });
      this.socket.once('close', () => resolve(why));
    });
    open.push({
      [Symbol.asyncDispose]: async () => {
        this.socket.destroy();
      },
    });
  }

  async said(text: string): Promise<void> {
    while (!this.text.includes(text)) await once(this.socket, 'data');
  }
}

test('what is sent arrives, and what is answered comes back, to the end of both directions', async () => {
  const proxy = await through([(await echo('a')).port]);
  const client = new Client(proxy.port);
  client.socket.end('hello');
  expect(await client.over).toBe('closed');
  expect(client.text).toBe('a:hello');
  expect(proxy.connections).toBe(0);
});

test('every door leads to the targets in turn, and past one that is gone', async () => {
  const [a, b] = [await echo('a'), await echo('b')];
  const proxy = await through([a.port, b.port], 2);
  expect(new Set(proxy.ports).size).toBe(2);
  const answers: string[] = [];
  for (const port of [...proxy.ports, ...proxy.ports]) {
    const client = new Client(port);
    client.socket.end('x');
    await client.over;
    answers.push(client.text);
  }
  expect(answers.sort()).toEqual(['a:x', 'a:x', 'b:x', 'b:x']);
  await new Promise((resolve) => a.server.close(resolve));
  for (let tried = 0; tried < 3; tried += 1) {
    const client = new Client(proxy.port);
    client.socket.end('x');
    await client.over;
    expect(client.text).toBe('b:x');
  }
});

test('cut: connections are reset, and new ones too, until it is fair again', async () => {
  const proxy = await through([(await echo('a')).port]);
  const client = new Client(proxy.port);
  client.socket.write('x');
  await client.said('a:x');
  proxy.set({ kind: 'cut' });
  expect(await client.over).toBe('ECONNRESET');
  expect(await new Client(proxy.port).over).toBe('ECONNRESET');
  proxy.set({ kind: 'fair' });
  const again = new Client(proxy.port);
  again.socket.end('y');
  await again.over;
  expect(again.text).toBe('a:y');
});

test('stalled: nothing passes and nobody is told; afterwards everything comes, in order', async () => {
  const proxy = await through([(await echo('a')).port]);
  const client = new Client(proxy.port);
  client.socket.write('1');
  await client.said('a:1');
  proxy.set({ kind: 'stalled' });
  client.socket.write('2');
  const late = new Client(proxy.port);
  late.socket.write('3');
  const quiet = new Client((await echo('b')).port);
  quiet.socket.write('4');
  await quiet.said('b:4');
  expect(client.text).toBe('a:1');
  expect(late.text).toBe('');
  proxy.set({ kind: 'fair' });
  await client.said('a:2');
  await late.said('a:3');
});

test('slow: a piece takes its time, and order is kept', async () => {
  const proxy = await through([(await echo('a')).port]);
  proxy.set({ kind: 'slow', delay: 40 });
  const client = new Client(proxy.port);
  const begun = performance.now();
  client.socket.write('1');
  client.socket.write('2');
  await client.said('2');
  // There and back.
  expect(performance.now() - begun).toBeGreaterThan(75);
  expect(client.text.replaceAll('a:', '')).toBe('12');
});

test('closing ends every connection, stalled ones too', async () => {
  const proxy = await through([(await echo('a')).port]);
  const client = new Client(proxy.port);
  client.socket.write('x');
  await client.said('a:x');
  proxy.set({ kind: 'stalled' });
  client.socket.write('y');
  await proxy.close();
  expect(await client.over).toBe('ECONNRESET');
  expect(await new Client(1).over).toBe('ECONNREFUSED');
});

test('deaf: who says the words hears one answer more; others hear all', async () => {
  const proxy = await TcpProxy.open({ targets: [(await echo('a')).port], deafAfter: 'listen' });
  open.push(proxy);
  const [client, other] = [new Client(proxy.port), new Client(proxy.port)];
  client.socket.write('1');
  await client.said('a:1');
  client.socket.write('listen');
  await client.said('a:listen');
  client.socket.write('2');
  other.socket.write('3');
  await other.said('a:3');
  client.socket.end();
  expect(await client.over).toBe('closed');
  expect(client.text).toBe('a:1a:listen');
});
