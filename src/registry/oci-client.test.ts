import { generateKeyPairSync } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import type { Clock } from '../base/clock.ts';
import { digestOf } from '../model/digest.ts';
import type { Tag } from '../model/tag.ts';
import { pemOf, selfSignedCertificate } from './certificate.ts';
import type { OciCredentials } from './oci-authorization.ts';
import { OciClient } from './oci-client.ts';

const signal = AbortSignal.timeout(30_000);
const latest = 'latest' as Tag;
const manifest = Buffer.from('{"schemaVersion":2}');

/** Never waits, and notes for how long it was asked to. */
class HastyClock implements Clock {
  time = 1_700_000_000_000;
  readonly slept: number[] = [];
  now(): number {
    return this.time;
  }
  async sleep(milliseconds: number): Promise<void> {
    this.slept.push(milliseconds);
  }
}

const open: Server[] = [];
const clients: OciClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  for (const server of open.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

async function listen(server: Server): Promise<string> {
  open.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function clientOf(
  host: string,
  credentials: OciCredentials = { kind: 'none' },
  security: 'http' | 'tls' | 'unverified' = 'http',
) {
  const clock = new HastyClock();
  const client = new OciClient({ endpoint: { kind: 'network', host, security }, credentials, clock });
  clients.push(client);
  return { client, clock };
}

const ann: OciCredentials = { kind: 'password', username: 'ann', password: 'pa:ss' };

/** A registry that answers by the test's own words; counts requests. */
async function registry(answer: Answer): Promise<{ host: string; requests: string[] }> {
  const requests: string[] = [];
  const host = await listen(
    createServer((request, response) => {
      requests.push(`${request.method} ${request.url} ${request.headers.authorization ?? '-'}`);
      request.resume();
      answer(request, response);
    }),
  );
  return { host, requests };
}

const send = (
  response: ServerResponse,
  status: number,
  headers: Record<string, string> = {},
  body: string | Buffer = '',
) => response.writeHead(status, headers).end(body);

describe('login', () => {
  test('by Basic, only once it was asked for', async () => {
    const { host, requests } = await registry((request, response) => {
      if (request.headers.authorization === undefined)
        send(response, 401, { 'www-authenticate': 'Basic realm="r"' });
      else send(response, 200, {}, manifest);
    });
    const { client } = clientOf(host, ann);
    await client.getManifest('a/b', latest, signal);
    await client.getManifest('a/b', latest, signal);
    const basic = `Basic ${Buffer.from('ann:pa:ss').toString('base64')}`;
    expect(requests.map((line) => line.split(' ').slice(2).join(' '))).toEqual(['-', basic, basic]);
  });

  test('a wrong password is asked about once', async () => {
    const { host, requests } = await registry((_, response) => {
      send(response, 401, { 'www-authenticate': 'Basic realm="r"' });
    });
    await expect(clientOf(host, ann).client.ping(signal)).rejects.toMatchObject({ code: 'unauthorized' });
    expect(requests).toHaveLength(2);
    await expect(clientOf(host).client.ping(signal)).rejects.toMatchObject({ code: 'unauthorized' });
    expect(requests).toHaveLength(3);
  });

  test('tokens are kept until shortly before their end, one for each scope', async () => {
    let issued = 0;
    const { host, requests } = await registry((request, response) => {
      if (request.url?.startsWith('/token')) {
        issued += 1;
        send(response, 200, {}, JSON.stringify({ access_token: `t${issued}`, expires_in: 100 }));
      } else if (request.headers.authorization === `Bearer t${issued}` && issued > 0) {
        send(response, 200, {}, manifest);
      } else {
        const challenge = `Bearer realm="http://${request.headers.host}/token",service="s, \\"x\\"",scope="ignored"`;
        send(response, 401, { 'www-authenticate': challenge });
      }
    });
    const { client, clock } = clientOf(host, ann);
    const tokens = () => requests.filter((line) => line.startsWith('GET /token'));
    await client.getManifest('a/b', latest, signal);
    await client.getManifest('a/b', latest, signal);
    expect(tokens()).toHaveLength(1);
    const url = new URL(tokens()[0]?.split(' ')[1] ?? '', 'http://x');
    expect(Object.fromEntries(url.searchParams)).toEqual({
      service: 's, "x"',
      scope: 'repository:a/b:pull',
      account: 'ann',
    });
    clock.time += 95_000;
    await client.getManifest('a/b', latest, signal);
    expect(tokens()).toHaveLength(2);
    await client.getManifest('a/c', latest, signal);
    expect(tokens()).toHaveLength(3);
  });

  test('a token that was revoked is replaced once', async () => {
    let issued = 0;
    let good = 't1';
    const { host } = await registry((request, response) => {
      if (request.url?.startsWith('/token')) {
        issued += 1;
        send(response, 200, {}, JSON.stringify({ token: `t${issued}`, expires_in: 1000 }));
      } else if (request.headers.authorization === `Bearer ${good}`) send(response, 200, {}, manifest);
      else send(response, 401, { 'www-authenticate': `Bearer realm="http://${request.headers.host}/token"` });
    });
    const { client } = clientOf(host);
    await client.getManifest('a/b', latest, signal);
    good = 't2';
    await client.getManifest('a/b', latest, signal);
    good = 'never';
    await expect(client.getManifest('a/b', latest, signal)).rejects.toMatchObject({ code: 'unauthorized' });
    expect(issued).toBe(3);
  });

  test.each(['ftp://x/token', 'nonsense', ''])('a token service %j is not asked', async (realm) => {
    const { host } = await registry((_, response) => {
      send(response, 401, { 'www-authenticate': `Bearer realm="${realm}"` });
    });
    await expect(clientOf(host, ann).client.ping(signal)).rejects.toMatchObject({ code: 'invalid' });
  });

  test.each([
    ['not json', 'invalid'],
    ['{}', 'invalid'],
    ['null', 'invalid'],
  ])('a token service that answers %s', async (body, code) => {
    const { host } = await registry((request, response) => {
      if (request.url?.startsWith('/token')) send(response, 200, {}, body);
      else send(response, 401, { 'www-authenticate': `Bearer realm="http://${request.headers.host}/token"` });
    });
    await expect(clientOf(host).client.ping(signal)).rejects.toMatchObject({ code });
  });

  test('an unknown scheme is named', async () => {
    const { host } = await registry((_, response) => {
      send(response, 401, { 'www-authenticate': 'Negotiate' });
    });
    await expect(clientOf(host, ann).client.ping(signal)).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('negotiate'),
    });
  });
});

describe('faults', () => {
  test('of the registry are tried again, with growing waits', async () => {
    let left = 3;
    const { host, requests } = await registry((_, response) => {
      left -= 1;
      if (left >= 0) send(response, left === 1 ? 500 : 503);
      else send(response, 200, {}, '{}');
    });
    const { client, clock } = clientOf(host);
    await client.ping(signal);
    expect(requests).toHaveLength(4);
    expect(clock.slept).toHaveLength(3);
    expect(Math.max(...clock.slept)).toBeLessThanOrEqual(4_000);
  });

  test('that last are an error that names registry and image', async () => {
    const { host, requests } = await registry((_, response) => {
      send(response, 503);
    });
    await expect(clientOf(host).client.getManifest('a/b', latest, signal)).rejects.toMatchObject({
      name: 'RegistryError',
      code: 'unavailable',
      message: expect.stringMatching(new RegExp(`${host}.*a/b:latest`)),
    });
    expect(requests).toHaveLength(4);
  });

  test('too many requests: waits as long as it is told to', async () => {
    let asked = 0;
    const { host } = await registry((_, response) => {
      asked += 1;
      if (asked === 1) send(response, 429, { 'retry-after': '3' });
      else send(response, 200);
    });
    const { client, clock } = clientOf(host);
    await client.ping(signal);
    expect(clock.slept).toEqual([3_000]);
  });

  test('a connection that breaks off is tried again', async () => {
    let asked = 0;
    const { host } = await registry((_, response) => {
      asked += 1;
      if (asked === 1) response.socket?.destroy();
      else if (asked === 2)
        response.writeHead(200, { 'content-length': '100' }).write('abc', () => response.destroy());
      else send(response, 200, {}, manifest);
    });
    expect((await clientOf(host).client.getManifest('a/b', latest, signal)).bytes).toEqual(manifest);
    expect(asked).toBe(3);
  });

  test('nobody there', async () => {
    const { host } = await registry(() => {});
    const [server] = open.splice(0);
    await new Promise((resolve) => server?.close(resolve));
    const { client, clock } = clientOf(host);
    await expect(client.ping(signal)).rejects.toMatchObject({ code: 'unavailable' });
    expect(clock.slept).toHaveLength(3);
  });

  test('a certificate that nobody vouches for, unless that is allowed', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const certificate = selfSignedCertificate({
      commonName: 'localhost',
      privateKey,
      publicKey,
      now: Date.now(),
    });
    const key = privateKey.export({ format: 'pem', type: 'pkcs8' });
    const host = await listen(
      createSecureServer({ key, cert: pemOf(certificate) }, (_, response) => void send(response, 200)),
    );
    const { client, clock } = clientOf(host, { kind: 'none' }, 'tls');
    await expect(client.ping(signal)).rejects.toMatchObject({ code: 'tls' });
    expect(clock.slept).toEqual([]);
    await expect(clientOf(host, { kind: 'none' }, 'unverified').client.ping(signal)).resolves.toBeUndefined();
  });

  test.each([
    [403, '', 'denied'],
    [404, '', 'manifest-unknown'],
    [404, '{"errors":[{"code":"NAME_UNKNOWN"}]}', 'name-unknown'],
    [400, '{"errors":[{"code":"MANIFEST_INVALID","message":"bad\\u001b[2J"}]}', 'invalid'],
    [405, '{"errors":[{"code":"UNSUPPORTED"}]}', 'unsupported'],
    [413, '<html>', 'too-large'],
    [418, 'null', 'invalid'],
  ])('status %d with %j', async (status, body, code) => {
    const { host, requests } = await registry((_, response) => {
      send(response, status, {}, body);
    });
    const refusal = clientOf(host).client.getManifest('a/b', latest, signal);
    await expect(refusal).rejects.toMatchObject({ code });
    await expect(refusal).rejects.toMatchObject({ message: expect.not.stringMatching(/\p{Cc}/u) });
    expect(requests).toHaveLength(1);
  });
});

describe('what a registry says is not believed', () => {
  test('bytes that are not those of the digest', async () => {
    const { host } = await registry((_, response) => void send(response, 200, {}, 'something else'));
    const { client } = clientOf(host);
    await expect(client.getManifest('a/b', digestOf(manifest), signal)).rejects.toMatchObject({
      code: 'digest-mismatch',
    });
  });

  test('a tag whose digest is another than the header’s', async () => {
    const headers = { 'docker-content-digest': digestOf('x') };
    const { host } = await registry((_, response) => void send(response, 200, headers, manifest));
    await expect(clientOf(host).client.getManifest('a/b', latest, signal)).rejects.toMatchObject({
      code: 'digest-mismatch',
    });
  });

  test('a manifest stored as another', async () => {
    const headers = { 'docker-content-digest': digestOf('x') };
    const { host } = await registry((_, response) => void send(response, 201, headers));
    await expect(
      clientOf(host).client.putManifest('a/b', latest, { mediaType: 'x/y', bytes: manifest }, signal),
    ).rejects.toMatchObject({ code: 'digest-mismatch' });
  });

  test('a manifest without end', async () => {
    const { host } = await registry(
      (_, response) => void send(response, 200, {}, Buffer.alloc(4 * 1024 * 1024 + 1)),
    );
    await expect(clientOf(host).client.getManifest('a/b', latest, signal)).rejects.toMatchObject({
      code: 'too-large',
    });
  });

  test('a HEAD without a digest is made up for by the bytes', async () => {
    const { host } = await registry((request, response) => {
      send(response, 200, { 'content-type': 'x/y' }, request.method === 'HEAD' ? '' : manifest);
    });
    expect(await clientOf(host).client.headManifest('a/b', latest, signal)).toEqual({
      digest: digestOf(manifest),
      mediaType: 'x/y',
      size: manifest.length,
    });
  });
});

test('tags are listed page by page', async () => {
  const pages = [['a', 'b'], ['c'], ['not a tag', 'd']];
  const { host } = await registry((request, response) => {
    const page = Number(new URL(request.url ?? '', 'http://x').searchParams.get('last') ?? 0);
    const next: Record<string, string> =
      page + 1 < pages.length ? { link: `</v2/a/b/tags/list?last=${page + 1}>; rel="next"` } : {};
    send(response, 200, next, JSON.stringify({ name: 'a/b', tags: pages[page] }));
  });
  expect(await clientOf(host).client.listTags('a/b', signal)).toEqual(['a', 'b', 'c', 'd']);
});

describe('redirects', () => {
  test('are followed to a store elsewhere, which does not get the login', async () => {
    const store = await registry((_, response) => void send(response, 200, {}, 'blob'));
    const { host } = await registry((request, response) => {
      if (request.headers.authorization === undefined) send(response, 401, { 'www-authenticate': 'Basic' });
      else send(response, 307, { location: `http://${store.host}/somewhere?signed=1` });
    });
    const { stream } = await clientOf(host, ann).client.getBlob('a/b', digestOf('blob'), signal);
    expect((await stream.toArray()).join('')).toBe('blob');
    expect(store.requests).toEqual(['GET /somewhere?signed=1 -']);
  });

  test('in a circle come to an end', async () => {
    const { host } = await registry(
      (request, response) => void send(response, 302, { location: request.url ?? '' }),
    );
    await expect(clientOf(host).client.getBlob('a/b', digestOf('x'), signal)).rejects.toMatchObject({
      code: 'unavailable',
    });
  });
});
