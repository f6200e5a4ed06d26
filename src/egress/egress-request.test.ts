import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from 'vitest';
import { EgressGuard, type Resolve } from './egress-guard.ts';
import { type EgressOptions, EgressPolicy } from './egress-policy.ts';
import { type EgressRequest, egressRequest } from './egress-request.ts';

const servers: Server[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function serve(listener: RequestListener): Promise<number> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

const loopback: EgressOptions = { allowCidrs: ['127.0.0.1/32'] };

function guard(options: EgressOptions = loopback, resolve?: Resolve): EgressGuard {
  return new EgressGuard(
    new EgressPolicy(options),
    resolve ?? (async () => [{ address: '127.0.0.1', family: 4 }]),
  );
}

async function get(url: string, request: Partial<EgressRequest> = {}, by = guard()): Promise<string> {
  const response = await egressRequest(by, url, { maxBytes: 1 << 20, timeout: 10_000, ...request });
  return (await buffer(response.body)).toString();
}

describe('egressRequest', () => {
  it('reads a body, by name and by address', async () => {
    const port = await serve((request, response) => response.end(`hello ${request.headers.host}`));
    expect(await get(`http://some.example:${port}/`)).toBe(`hello some.example:${port}`);
    expect(await get(`http://127.0.0.1:${port}/`)).toBe(`hello 127.0.0.1:${port}`);
  });

  it('connects to the address it checked, whatever the name server says next', async () => {
    const port = await serve((_request, response) => response.end('inside'));
    let asked = 0;
    const rebinding: Resolve = async () => [
      { address: asked++ === 0 ? '203.0.113.9' : '127.0.0.1', family: 4 },
    ];
    const strict = guard({ allowCidrs: ['203.0.113.0/24'] }, rebinding);
    const failure = get(`http://rebind.example:${port}/`, { timeout: 300 }, strict);
    await expect(failure).rejects.toMatchObject({ name: 'EgressError' });
    await expect(failure).rejects.not.toMatchObject({ code: 'status' });
    expect(asked).toBe(1);
    await expect(get(`http://rebind.example:${port}/`, {}, strict)).rejects.toMatchObject({
      code: 'forbidden',
    });
  });

  it('checks redirects again', async () => {
    const port = await serve((_request, response) =>
      response.writeHead(302, { location: 'http://169.254.169.254/' }).end(),
    );
    await expect(get(`http://a.example:${port}/`)).rejects.toMatchObject({ code: 'forbidden' });
  });

  it.each([
    '//127.0.0.2/',
    'http://127.0.0.2/',
    'http://2130706434/',
    'http://0x7f.2/',
    'http://[::1]/',
    'http://[::ffff:127.0.0.2]/',
    'http://[64:ff9b::7f00:2]/',
    'http://[2002:7f00:2::]/',
    'http://127.0.0.2./',
    'http://inside.example/',
    'http://inside.example./',
    '\\\\127.0.0.2\\',
  ])('follows no redirect to %s', async (location) => {
    let asked = 0;
    const port = await serve((_request, response) => {
      asked += 1;
      response.writeHead(302, { location }).end();
    });
    const resolve: Resolve = async (host) => [
      { address: host.startsWith('inside') ? '127.0.0.2' : '127.0.0.1', family: 4 },
    ];
    await expect(get(`http://a.example:${port}/`, {}, guard(loopback, resolve))).rejects.toMatchObject({
      code: 'forbidden',
    });
    expect(asked).toBe(1);
  });

  it('refuses a redirect to another scheme or with a user name', async () => {
    for (const [location, code] of [
      ['file:///etc/passwd', 'bad-url'],
      ['gopher://127.0.0.1/', 'bad-url'],
      ['http://example.com@127.0.0.2/', 'bad-url'],
    ] as const) {
      const port = await serve((_request, response) => response.writeHead(302, { location }).end());
      await expect(get(`http://a.example:${port}/`), location).rejects.toMatchObject({ code });
    }
  });

  it('follows a redirect without the authorization of another origin', async () => {
    const seen: (string | undefined)[] = [];
    const second = await serve((request, response) => {
      seen.push(request.headers.authorization);
      response.end('there');
    });
    const first = await serve((_request, response) =>
      response.writeHead(307, { location: `http://b.example:${second}/` }).end(),
    );
    expect(await get(`http://a.example:${first}/`, { headers: { Authorization: 'Bearer x' } })).toBe('there');
    expect(seen).toEqual([undefined]);
  });

  it('stops a redirect loop after five', async () => {
    let hits = 0;
    const port = await serve((_request, response) => {
      hits++;
      response.writeHead(302, { location: '/again' }).end();
    });
    await expect(get(`http://a.example:${port}/`)).rejects.toMatchObject({ code: 'redirects' });
    expect(hits).toBe(6);
  });

  it('limits the bytes, announced or not', async () => {
    const chunked = await serve((_request, response) => {
      response.write('x'.repeat(2000));
      response.end('y');
    });
    const announced = await serve((_request, response) => response.end('x'.repeat(2001)));
    await expect(get(`http://a.example:${chunked}/`, { maxBytes: 2000 })).rejects.toMatchObject({
      code: 'too-large',
    });
    await expect(get(`http://a.example:${announced}/`, { maxBytes: 2000 })).rejects.toMatchObject({
      code: 'too-large',
    });
    expect(await get(`http://a.example:${announced}/`, { maxBytes: 2001 })).toHaveLength(2001);
  });

  it('limits the whole time and the idle time', async () => {
    const port = await serve((_request, response) => response.write('x'));
    await expect(get(`http://a.example:${port}/`, { timeout: 100 })).rejects.toMatchObject({
      code: 'too-slow',
    });
    await expect(get(`http://a.example:${port}/`, { idleTimeout: 100 })).rejects.toMatchObject({
      code: 'too-slow',
    });
  });

  it('tells an early end from a whole body', async () => {
    const port = await serve((request, response) => {
      response.writeHead(200, request.url === '/length' ? { 'content-length': '100' } : {});
      response.write('half', () => response.destroy());
    });
    await expect(get(`http://a.example:${port}/length`)).rejects.toMatchObject({ code: 'truncated' });
    await expect(get(`http://a.example:${port}/chunked`)).rejects.toMatchObject({ code: 'truncated' });
  });

  it('is cancelled before the answer and in the middle of the body', async () => {
    const abort = new AbortController();
    const silent = await serve(() => abort.abort());
    await expect(get(`http://a.example:${silent}/`, { signal: abort.signal })).rejects.toMatchObject({
      code: 'cancelled',
    });
    const later = new AbortController();
    const port = await serve((_request, response) => response.write('x'));
    const response = await egressRequest(guard(), `http://a.example:${port}/`, {
      maxBytes: 100,
      timeout: 10_000,
      signal: later.signal,
    });
    response.body.once('data', () => later.abort());
    await expect(buffer(response.body)).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('reports the status, and a refused connection as unreachable', async () => {
    const port = await serve((_request, response) => response.writeHead(503).end());
    await expect(get(`http://a.example:${port}/?sig=hunter2`)).rejects.toMatchObject({
      code: 'status',
      status: 503,
      message: expect.not.stringContaining('hunter2'),
    });
    const closed = servers.pop();
    await new Promise((resolve) => closed?.close(resolve));
    await expect(get(`http://a.example:${port}/`)).rejects.toMatchObject({ code: 'unreachable' });
  });

  it('posts a body and follows no redirect', async () => {
    const bodies: string[] = [];
    const port = await serve(async (request, response) => {
      bodies.push((await buffer(request)).toString());
      response.writeHead(302, { location: '/elsewhere' }).end();
    });
    await expect(get(`http://a.example:${port}/`, { method: 'POST', body: '{"a":1}' })).rejects.toMatchObject(
      { code: 'status', status: 302 },
    );
    expect(bodies).toEqual(['{"a":1}']);
  });
});
