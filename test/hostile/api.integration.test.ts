import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SlipwayServer, until } from '../harness/slipway-server.ts';
import { build, buildBase, dockerfileBuild, outcomeOf } from './hostile-build.ts';

/** The API and the port of a real server under requests that nobody should send: never a 5xx, and builds go on. */
let server: SlipwayServer;
let base: string;
let finished: string;
const slow: Socket[] = [];
let slowSince = 0;

beforeAll(async () => {
  server = await SlipwayServer.start(['--workers', '1', '--retry-delay', '0']);
  base = await buildBase(server, 'admin/base');
  finished = (await build(server, 'admin/base', { file_id: await copyOf() })).view.id;
});

afterAll(async () => {
  for (const socket of slow) socket.destroy();
  await server?.dispose();
});

async function copyOf(): Promise<string> {
  const { url, file_id } = await server.json<{ url: string; file_id: string }>('POST', '/api/v1/filedrop/', {
    mimeType: 'text/plain',
  });
  await fetch(url, { method: 'PUT', body: `FROM ${base}\nLABEL a=b\n` });
  return file_id;
}

function dial(): Socket {
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  return socket;
}

/** Sends bytes and gives what is answered until the server hangs up, or says enough. */
async function say(bytes: string | Buffer, enough = /\r\n\r\n/): Promise<string> {
  const socket = dial();
  let text = '';
  socket.write(bytes);
  await new Promise<void>((resolve) => {
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      if (enough.test(text)) resolve();
    });
    socket.on('close', () => resolve());
    socket.setTimeout(15_000, () => resolve());
  });
  socket.destroy();
  return text;
}

const builds = '/api/v1/repository/admin/base/build/';
const deep = (open: string, close: string) => open.repeat(100_000) + close.repeat(100_000);

test('two hundred connections that say nothing, or half of something, while a build works', async () => {
  const beginnings = [
    '',
    'G',
    'GET /health/instance HTTP/1.1\r\nhost: ',
    'PRI * HTTP/2.0\r\n\r\nSM',
    `POST ${builds} HTTP/1.1\r\nx: `,
  ];
  for (let index = 0; index < 200; index += 1) {
    const socket = dial();
    socket.resume();
    slow.push(socket);
    socket.write(beginnings[index % beginnings.length] ?? '');
  }
  slowSince = Date.now();
  await Promise.all(
    slow.map(async (socket) => (socket.connecting ? await once(socket, 'connect') : undefined)),
  );
  const { view, text } = await build(server, 'admin/meanwhile', { file_id: await copyOf() });
  expect(view.phase, text).toBe('complete');
  const began = performance.now();
  expect((await server.fetch('/health/instance')).status).toBe(200);
  expect(performance.now() - began).toBeLessThan(5_000);
});

describe('a body', () => {
  test.each<[string, string, number, RegExp]>([
    ['that is no JSON', '{"file_id": ', 400, /not valid JSON/],
    ['that is nothing', '', 400, /body/],
    ['that is another type', '[]', 400, /JSON object/],
    ['that is a number', '1e999', 400, /body/],
    ['of arrays, 100,000 deep', deep('[', ']'), 400, /nested more than 32 levels/],
    ['of objects, 25,000 deep', '{"a":'.repeat(25_000), 400, /nested more than 32 levels/],
    ['with __proto__', '{"__proto__": {"superuser": true}, "file_id": "x"}', 400, /not valid JSON|prototype/],
    [
      'with constructor.prototype',
      '{"constructor": {"prototype": {"x": 1}}}',
      400,
      /not valid JSON|prototype/,
    ],
    ['with a number for an id', '{"file_id": 5}', 400, /file_id.*string/],
    ['with an object for tags', '{"file_id": "x", "docker_tags": {"0": "a"}}', 400, /docker_tags.*array/],
    [
      'with 101 tags',
      JSON.stringify({ file_id: 'x', docker_tags: Array(101).fill('t') }),
      400,
      /docker_tags/,
    ],
    ['with an id that is none', '{"file_id": "../../etc/passwd"}', 400, /not one that POST/],
    [
      'with an id that is unknown',
      '{"file_id": "3f2b1c4e-9a31-4a51-8f7e-0c2f4f4f4f4f"}',
      404,
      /no uploaded file/,
    ],
    ['with two sources', '{"file_id": "x", "archive_url": "https://example.com/x"}', 400, /exactly one/],
    [
      'with an escape as path',
      '{"archive_url": "https://example.com/x", "dockerfile_path": "../../etc/passwd"}',
      400,
      /\.\./,
    ],
    ['with NUL in a path', '{"archive_url": "https://example.com/x", "context": "/a\\u0000b"}', 400, /./],
    [
      'with an option as target',
      '{"archive_url": "https://example.com/x", "target": "--help"}',
      400,
      /target/,
    ],
    [
      'with a bad name of an argument',
      '{"archive_url": "https://example.com/x", "build_args": {"A B": "x"}}',
      400,
      /build_args/,
    ],
    [
      'with a secret that is no base64',
      '{"archive_url": "https://example.com/x", "secrets": {"a": "***"}}',
      400,
      /base64/,
    ],
    ['of 10 MB', JSON.stringify({ file_id: 'x'.repeat(10_000_000) }), 413, /filedrop/],
  ])('%s', async (_what, body, status, message) => {
    const response = await server.fetch(builds, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json' },
    });
    const answer = (await response.json()) as { error_message: string; detail: string; status: number };
    expect([response.status, answer.error_message]).toEqual([status, expect.stringMatching(message)]);
    expect([answer.status, answer.detail]).toEqual([status, answer.error_message]);
  });

  test('of another type is refused by its type', async () => {
    for (const type of ['text/xml', 'multipart/form-data; boundary=x', 'application/x-www-form-urlencoded']) {
      const response = await server.fetch(builds, {
        method: 'POST',
        body: 'a=b',
        headers: { 'content-type': type },
      });
      expect(response.status, type).toBe(415);
    }
  });
});

describe('an address', () => {
  test.each([
    '/api/v1/repository/%00/x/build/',
    '/api/v1/repository/admin/base/build/%2e%2e',
    '/api/v1/repository/admin/base/build/not-an-id',
    '/api/v1/repository/admin/base/build/3f2b1c4e-9a31-4a51-8f7e-0c2f4f4f4f4f',
    '/api/v1/repository/admin/base/build/3f2b1c4e-9a31-4a51-8f7e-0c2f4f4f4f4f/logs',
    '/api/v1/repository/admin/base/build/__proto__/logs/stream',
    '/api/v1/repository/admin/base/build/?limit=-1',
    '/api/v1/repository/admin/base/build/?limit=1e9',
    '/api/v1/repository/admin/base/build/?since=yesterday',
    '/api/v1/repository/admin/base/build/?limit=1&limit=2',
    '/api/v1/repository/ADMIN/Base/build/',
    '/api/v1/repository/admin/../../../etc/passwd',
    '/api/v1/%ff',
    '/api/v1/repository/%E0%A4%A/x',
    '/userfiles/..%2f..%2fkeys%2flocal-client-token?expires=1&max=1&signature=x',
    '/v2/../../etc/passwd',
    '/v2/%2e%2e/%2e%2e/blobs/uploads/',
    `/v2/${'a/'.repeat(2000)}manifests/latest`,
    '/v2/admin/base/manifests/..%2f..%2f',
    `/${'x'.repeat(15_000)}`,
    '//api//v1//',
    '/%25%32%65',
    '*',
    'http://169.254.169.254/latest/',
  ])('%s is answered with a 4xx', async (path) => {
    const answer = await say(
      `GET ${path} HTTP/1.1\r\nhost: ${server.host}\r\nauthorization: Bearer ${server.token}\r\nconnection: close\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /);
    expect(answer).not.toMatch(/root:|at file:|node:internal|\/work\//);
  });

  test('of every route takes any body and any parameter without a 5xx', async () => {
    const document = (await (await server.fetch('/api/v1/openapi.json')).json()) as {
      paths: Record<string, Record<string, unknown>>;
    };
    const values = ['nope', '..%2f..', '%00', 'a'.repeat(600), '__proto__', '%F0%9F%92%A9', '-1'];
    const bodies = [
      '',
      '{',
      'null',
      '[]',
      '{"name":5,"username":{},"visibility":"x","scopes":"all"}',
      '"text"',
    ];
    const bad: string[] = [];
    let count = 0;
    for (const [path, operations] of Object.entries(document.paths))
      for (const method of Object.keys(operations))
        for (const [index, value] of values.entries()) {
          const address = path.replace(/\{[^}]+\}/g, value);
          // A stream that is accepted goes on; everything else ends by itself.
          const stop = new AbortController();
          const body = ['get', 'head', 'delete'].includes(method)
            ? {}
            : { body: bodies[index % bodies.length] ?? '' };
          const response = await server.fetch(address, {
            method: method.toUpperCase(),
            headers: { 'content-type': 'application/json' },
            signal: stop.signal,
            ...body,
          });
          count += 1;
          if (response.status >= 500)
            bad.push(`${method} ${address}: ${response.status} ${await response.text()}`);
          else stop.abort();
        }
    expect(bad).toEqual([]);
    expect(count).toBeGreaterThan(100);
  });
});

describe('the port', () => {
  test.each<[string, string | Buffer]>([
    ['rubbish', Buffer.from(Array.from({ length: 4096 }, (_, index) => (index * 31) % 256))],
    ['a TLS greeting', Buffer.from('16030100c8010000c40303', 'hex')],
    ['a redis command', '*1\r\n$4\r\nPING\r\n'],
    ['an unknown method', 'BREW /coffee HTTP/1.1\r\nhost: x\r\n\r\n'],
    ['TRACE', 'TRACE / HTTP/1.1\r\nhost: x\r\n\r\n'],
    ['CONNECT', 'CONNECT 169.254.169.254:80 HTTP/1.1\r\nhost: x\r\n\r\n'],
    ['an upgrade', 'GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n'],
    ['two lengths', `POST ${builds} HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx`],
    [
      'length and chunks',
      `POST ${builds} HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    ['headers of 100 KB', `GET / HTTP/1.1\r\nhost: x\r\nx: ${'x'.repeat(100_000)}\r\n\r\n`],
    ['no host', 'GET /health/instance HTTP/1.1\r\n\r\n'],
    ['a line break in a header', 'GET / HTTP/1.1\r\nhost: x\r\nx: a\rb\r\n\r\n'],
  ])('answers %s without a 5xx, or hangs up', async (_what, bytes) => {
    const answer = await say(bytes);
    expect(answer).toMatch(/^$|^HTTP\/1\.1 4\d\d /);
  });

  test.each<[string, Buffer]>([
    ['rubbish', Buffer.from(Array.from({ length: 4096 }, (_, index) => (index * 97) % 256))],
    ['a frame of 16 MB', Buffer.concat([Buffer.from('ffffff0000000000000000', 'hex'), Buffer.alloc(1000)])],
    [
      'settings in plenty',
      Buffer.concat(Array.from({ length: 20_000 }, () => Buffer.from('000000040000000000', 'hex'))),
    ],
    [
      'resets of streams that never were',
      Buffer.concat(Array.from({ length: 5_000 }, (_, index) => reset(index * 2 + 1))),
    ],
    [
      'headers that are no headers',
      Buffer.concat([
        Buffer.from('000000040000000000', 'hex'),
        Buffer.from('000004010400000001ffffffff', 'hex'),
      ]),
    ],
  ])('outlives %s behind the preface of HTTP/2', async (_what, bytes) => {
    const socket = dial();
    socket.resume();
    socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), bytes]));
    socket.end();
    await Promise.race([
      once(socket, 'close'),
      new Promise((resolve) => socket.setTimeout(3_000, () => resolve(undefined))),
    ]);
    socket.destroy();
    expect((await server.fetch('/health/instance')).status).toBe(200);
  });

  test('still builds, and the slow connections are gone', async () => {
    const { id } = await dockerfileBuild(server, 'admin/after', `FROM ${base}\nRUN echo all is well\n`, {
      no_cache: true,
    });
    const { view, text } = await outcomeOf(server, 'admin/after', id);
    expect(view.phase, text).toBe('complete');
    await until('the end of the slow connections', async () => slow.every((socket) => socket.closed), 40);
    console.info(
      `200 slow connections: all gone ${Math.round((Date.now() - slowSince) / 1000)} s after they came`,
    );
    expect((await server.fetch(`${builds}${finished}`)).status).toBe(200);
    const errors = (await server.output()).match(/Error:.*/g) ?? [];
    expect(errors).toEqual([]);
  });
});

function reset(stream: number): Buffer {
  const frame = Buffer.alloc(13);
  frame.writeUIntBE(4, 0, 3);
  frame[3] = 3;
  frame.writeUInt32BE(stream, 5);
  frame.writeUInt32BE(8, 9);
  return frame;
}
