import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { Agent, createServer as createHttpServer, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ChannelCredentials } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { ManagerServer } from '../../test/fakes/manager-server.ts';
import { BuildManagerClient } from './generated/buildman.ts';
import { createOnePort, type OnePort } from './one-port.ts';
import { protocolOf } from './sniff.ts';

const run = promisify(execFile);
const quiet = { info: () => {}, warn: () => {}, error: () => {} };

const disposables: AsyncDisposable[] = [];
afterEach(async () => {
  for (const disposable of disposables.splice(0)) await disposable[Symbol.asyncDispose]();
});

async function manager(tls?: { key: string; cert: string }): Promise<ManagerServer> {
  const started = await ManagerServer.start(tls);
  disposables.push(started);
  return started;
}

function ping(server: string, credentials: ChannelCredentials): Promise<string> {
  const client = new BuildManagerClient(server, credentials, {
    'grpc.ssl_target_name_override': 'localhost',
    'grpc.initial_reconnect_backoff_ms': 100,
  });
  return new Promise<string>((resolve, reject) => {
    client.ping({}, (error, { reply } = { reply: '' }) => (error === null ? resolve(reply) : reject(error)));
  }).finally(() => client.close());
}

async function read(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('latin1');
}

describe('clear text', () => {
  test('gRPC, fetch, curl and large bodies go through one port, at once', async () => {
    const { address } = await manager();
    const body = 'x'.repeat(5_000_000);
    const [pong, text, posted, curl] = await Promise.all([
      ping(address, ChannelCredentials.createInsecure()),
      fetch(`http://${address}/a`).then((response) => response.text()),
      fetch(`http://${address}/b`, { method: 'POST', body }).then((response) => response.text()),
      run('curl', ['-sS', `http://${address}/c`]),
    ]);
    expect([pong, text, posted, curl.stdout]).toEqual(['pong', 'GET /a 0', 'POST /b 5000000', 'GET /c 0']);
  });

  test('one connection may carry many HTTP requests', async () => {
    const { address } = await manager();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const [host, port] = address.split(':');
    for (let n = 0; n < 5; n++) {
      const call = request({ agent, host, port: Number(port), path: `/${n}`, method: 'PUT' }).end('body');
      const [response] = await once(call, 'response');
      expect((await response.toArray()).join('')).toBe(`PUT /${n} 4`);
    }
    agent.destroy();
  });

  test.each([1, 3, 7])(
    'a preface and a request that arrive %i bytes at a time are told apart',
    async (size) => {
      const { address } = await manager();
      const [host = '', port] = address.split(':');
      const drip = async (text: string): Promise<Socket> => {
        const socket = connect(Number(port), host);
        socket.setNoDelay(true);
        await once(socket, 'connect');
        for (let at = 0; at < text.length; at += size) {
          socket.write(text.slice(at, at + size), 'latin1');
          await new Promise((resolve) => setImmediate(resolve));
        }
        return socket;
      };
      const http = await drip('PUT /p HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      expect(await read(http)).toMatch(/^HTTP\/1\.1 200 OK[\s\S]*PUT \/p 0$/);
      // The preface and empty SETTINGS; the answer is a frame of type SETTINGS.
      const http2 = await drip('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0');
      const [frame] = await once(http2, 'data');
      expect((frame as Buffer)[3]).toBe(4);
      http2.destroy();
    },
  );

  test('what is neither gets an HTTP error, and the port goes on', async () => {
    const { address } = await manager();
    const [host = '', port] = address.split(':');
    const socket = connect(Number(port), host);
    socket.write('\x16\x03\x01 what is this\r\n\r\n');
    expect(await read(socket)).toMatch(/^HTTP\/1\.1 400/);
    expect(await ping(address, ChannelCredentials.createInsecure())).toBe('pong');
  });
});

describe('clients that do not behave', () => {
  let port: OnePort;
  const start = async (http = createHttpServer((_request, response) => response.end('ok'))) => {
    port = createOnePort({
      grpc: { accept: (connection) => connection.destroy() },
      http,
      log: quiet,
      firstBytesTimeout: 100,
    });
    disposables.push(port);
    return await port.listen({ host: '127.0.0.1', port: 0 });
  };

  test('a silent client, one that stops in the preface, and one that only hangs up are let go', async () => {
    const { port: number } = await start();
    const sockets = ['', 'PRI * HT', 'P'].map((text) => {
      const socket = connect(number, '127.0.0.1');
      socket.on('error', () => {});
      socket.write(text);
      return socket;
    });
    const ended = connect(number, '127.0.0.1');
    ended.on('error', () => {});
    ended.end();
    await Promise.all([...sockets, ended].map((socket) => once(socket.resume(), 'close')));
    while (port.connections > 0) await new Promise((resolve) => setImmediate(resolve));
    expect(sockets.every((socket) => socket.destroyed)).toBe(true);
  });

  test('a reset before the first byte does no harm', async () => {
    const { port: number } = await start();
    const socket = connect(number, '127.0.0.1');
    await once(socket, 'connect');
    socket.resetAndDestroy();
    expect(await (await fetch(`http://127.0.0.1:${number}/`)).text()).toBe('ok');
  });

  test('a stop lets a response finish, ends idle connections, and then destroys what is left', async () => {
    let finish = () => {};
    const http = createHttpServer((incoming, response) => {
      response.write('first');
      if (incoming.url === '/slow') finish = () => response.end('last');
    });
    const { port: number } = await start(http);
    const idle = connect(number, '127.0.0.1');
    idle.on('error', () => {});
    const slow = await fetch(`http://127.0.0.1:${number}/slow`);
    const endless = await fetch(`http://127.0.0.1:${number}/endless`);
    const stopping = port.stop(300);
    await expect(fetch(`http://127.0.0.1:${number}/`)).rejects.toThrow();
    await once(idle.resume(), 'close');
    finish();
    expect(await slow.text()).toBe('firstlast');
    await expect(endless.text()).rejects.toThrow();
    await stopping;
    expect(port.connections).toBe(0);
  });

  test('a port for gRPC alone cuts off what speaks HTTP/1.1', async () => {
    let accepted = 0;
    const alone = createOnePort({
      grpc: {
        accept: (connection) => {
          accepted += 1;
          connection.destroy();
        },
      },
      log: quiet,
    });
    disposables.push(alone);
    const { port: number } = await alone.listen({ host: '127.0.0.1', port: 0 });
    await expect(fetch(`http://127.0.0.1:${number}/`)).rejects.toThrow();
    expect(accepted).toBe(0);
    const socket = connect(number, '127.0.0.1');
    socket.on('error', () => {});
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    await once(socket.resume(), 'close');
    expect(accepted).toBe(1);
  });

  test('an address that is taken is an error of listen', async () => {
    const { port: number } = await start();
    const second = createOnePort({ grpc: { accept: () => {} }, http: createHttpServer(), log: quiet });
    await expect(second.listen({ host: '127.0.0.1', port: number })).rejects.toMatchObject({
      code: 'EADDRINUSE',
    });
  });
});

describe('TLS', () => {
  let folder: string;
  let tls: { key: string; cert: string };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'one-port-'));
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
    const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'];
    await run('openssl', ['req', '-x509', ...kind, '-keyout', key, '-out', cert, ...subject]);
    tls = { key: await readFile(key, 'utf8'), cert: await readFile(cert, 'utf8') };
  });

  afterAll(() => rm(folder, { recursive: true }));

  test('gRPC by ALPN h2; curl, which offers h2 too, gets HTTP/1.1', async () => {
    const { address } = await manager(tls);
    const pong = await ping(address, ChannelCredentials.createSsl(Buffer.from(tls.cert)));
    const format = ['-w', ' %{http_version}'];
    const ca = ['--cacert', join(folder, 'cert.pem')];
    const { stdout } = await run('curl', ['-sS', '--http2', ...ca, ...format, `https://${address}/c`]);
    expect([pong, stdout]).toEqual(['pong', 'GET /c 0 1.1']);
  });

  test('a client that speaks clear text to it is let go, and the port goes on', async () => {
    const { address } = await manager(tls);
    await expect(fetch(`http://${address}/`)).rejects.toThrow();
    expect(await ping(address, ChannelCredentials.createSsl(Buffer.from(tls.cert)))).toBe('pong');
  });
});

test('protocolOf decides as soon as it can', () => {
  expect(protocolOf(Buffer.from('P'))).toBeUndefined();
  expect(protocolOf(Buffer.from('PR'))).toBeUndefined();
  expect(protocolOf(Buffer.from('PO'))).toBe('http1');
  expect(protocolOf(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'))).toBe('http2');
  expect(protocolOf(Buffer.from('PRI * HTTP/1.1\r\n'))).toBe('http1');
});
