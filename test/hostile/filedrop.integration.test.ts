import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { UrlSigner } from '../../src/upload/url-signer.ts';
import { createRepository } from '../harness/build-client.ts';
import { SlipwayServer, until } from '../harness/slipway-server.ts';
import { fileDrop, requestBuild } from './hostile-build.ts';

/** The file drop of a real server that takes a million bytes, used as it should not be. */
const limit = 1_000_000;
type Body = NonNullable<RequestInit['body']>;

let server: SlipwayServer;

beforeAll(async () => {
  server = await SlipwayServer.start(['--upload-limit', String(limit), '--workers', '1']);
});

afterAll(async () => {
  await server?.dispose();
});

const put = async (url: string, body: Body, headers: Record<string, string> = {}) =>
  await fetch(url, { method: 'PUT', body, headers, duplex: 'half' } as RequestInit);

async function answerOf(response: Response): Promise<{ status: number; message: string }> {
  const body = (await response.json()) as { error_message?: string };
  return { status: response.status, message: body.error_message ?? '' };
}

/** Files of uploads in the data folder, half-written ones too. */
async function blobs(): Promise<string[]> {
  const entries = await readdir(join(server.data, 'blobs'), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => !file.startsWith(join(server.data, 'blobs', 'logs')));
}

/** Writes a request by hand, and gives what comes back until the connection ends or `enough` is seen. */
async function raw(parts: (string | Buffer)[], enough = /\r\n\r\n[\s\S]*\}/): Promise<string> {
  const url = new URL(server.url);
  const socket = connect(Number(url.port), url.hostname);
  let text = '';
  const answered = new Promise<void>((resolve) => {
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1');
      if (enough.test(text)) resolve();
    });
    socket.on('close', () => resolve());
    socket.on('error', () => resolve());
  });
  for (const part of parts) await written(socket, part);
  await answered;
  socket.destroy();
  return text;
}

async function written(socket: Socket, part: string | Buffer): Promise<void> {
  // The server may hang up in the middle; what it said before is what counts.
  await new Promise<void>((resolve) => {
    socket.once('close', () => resolve());
    socket.write(part, () => resolve());
  });
}

function sizeOfGone(thrown: NodeJS.ErrnoException): number {
  if (thrown.code !== 'ENOENT') throw thrown;
  return 0;
}

const pathOf = (url: string) => url.slice(server.url.length);

test('a file over the limit is refused at its announcement, and a chunked one as it comes', async () => {
  const before = await blobs();
  const announced = await fileDrop(server, 'application/gzip');
  const tooMuch = await answerOf(await put(announced.url, Buffer.alloc(limit + 1)));
  expect(tooMuch.status).toBe(413);
  expect(tooMuch.message).toMatch(/1000000 bytes.*\.dockerignore/);

  const chunked = await fileDrop(server, 'application/gzip');
  const stream = Readable.toWeb(
    Readable.from(Array.from({ length: 40 }, () => Buffer.alloc(65_536))),
  ) as Body;
  const inChunks = await answerOf(await put(chunked.url, stream));
  expect(inChunks.status).toBe(413);
  expect(inChunks.message).toMatch(/1000000 bytes/);

  const exact = await fileDrop(server, 'application/gzip');
  expect((await put(exact.url, Buffer.alloc(limit))).status).toBe(200);
  expect((await blobs()).length).toBe(before.length + 1);
});

test('a Content-Length that lies stores no more than it says, and nothing when it says too much', async () => {
  const before = await blobs();
  const short = await fileDrop(server, 'text/plain');
  // What follows the five bytes is no request; whether the first answer still arrives is the network's affair.
  const more = await raw(
    [
      `PUT ${pathOf(short.url)} HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n`,
      Buffer.alloc(limit * 2, 'x'),
    ],
    /HTTP\/1\.1 400/,
  );
  expect(more).toMatch(/HTTP\/1\.1 400 /);
  // A half file may go between the two looks.
  const sizes = await Promise.all(
    (await blobs()).map((file) => stat(file).then(({ size }) => size, sizeOfGone)),
  );
  expect(sizes.filter((size) => size > limit)).toEqual([]);
  const kept = await until('the end of the PUT', async () => {
    const files = await blobs();
    return files.length <= before.length + 1 && [files.length];
  });

  const long = await fileDrop(server, 'text/plain');
  const url = new URL(server.url);
  const socket = connect(Number(url.port), url.hostname);
  await written(socket, `PUT ${pathOf(long.url)} HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\nfive!`);
  socket.destroy();
  const both = await raw(
    [
      `PUT ${pathOf(long.url)} HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    /\r\n\r\n/,
  );
  expect(both).toMatch(/^HTTP\/1\.1 400/);
  for (const wrong of ['-5', '5x', '99999999999999999999']) {
    const answer = await raw(
      [`PUT ${pathOf(long.url)} HTTP/1.1\r\nhost: x\r\ncontent-length: ${wrong}\r\n\r\n`],
      /\r\n\r\n/,
    );
    expect(answer, wrong).toMatch(/^HTTP\/1\.1 4\d\d/);
  }
  await until('nothing more', async () => (await blobs()).length === kept[0]);
});

test('what is broken off in the middle leaves no file, and can be sent again', async () => {
  const before = await blobs();
  const drop = await fileDrop(server, 'text/plain');
  const url = new URL(server.url);
  const socket = connect(Number(url.port), url.hostname);
  await written(socket, `PUT ${pathOf(drop.url)} HTTP/1.1\r\nhost: x\r\ncontent-length: 500000\r\n\r\n`);
  await written(socket, Buffer.alloc(250_000));
  await until('the half file', async () => (await blobs()).length > before.length);
  socket.resetAndDestroy();
  await until('no half file', async () => (await blobs()).length === before.length);
  expect((await put(drop.url, 'FROM scratch\n')).status).toBe(200);
});

test('a second PUT changes nothing, and of many at once one wins whole', async () => {
  const drop = await fileDrop(server, 'text/plain');
  expect((await put(drop.url, 'first')).status).toBe(200);
  const again = await answerOf(await put(drop.url, 'second'));
  expect(again.status).toBe(409);
  expect(again.message).toMatch(/uploaded already.*new URL/);

  const before = await blobs();
  const race = await fileDrop(server, 'text/plain');
  const bodies = Array.from({ length: 8 }, () => randomBytes(300_000));
  const answers = await Promise.all(bodies.map((body) => put(race.url, new Uint8Array(body))));
  expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(7).fill(409)]);
  const winner = answers.findIndex(({ status }) => status === 200);
  const { checksum } = (await (answers[winner] as Response).json()) as { checksum: string };
  expect(checksum).toBe(
    createHash('sha256')
      .update(bodies[winner] ?? '')
      .digest('hex'),
  );
  await until('one file more', async () => (await blobs()).length === before.length + 1);
});

test('an address that was changed, is another file’s, or is too old is refused', async () => {
  const drop = await fileDrop(server, 'text/plain');
  const other = await fileDrop(server, 'text/plain');
  const change = (name: string, value: string) => {
    const url = new URL(drop.url);
    url.searchParams.set(name, value);
    return url.href;
  };
  const otherFile = drop.url.replace(/userfiles\/[^?]+/, /userfiles\/[^?]+/.exec(other.url)?.[0] ?? '');
  for (const url of [
    change('signature', 'A'.repeat(43)),
    change('max', '99999999999'),
    change('expires', '99999999999'),
    otherFile,
  ]) {
    const { status, message } = await answerOf(await put(url, 'x'));
    expect([status, message], url).toEqual([403, expect.stringMatching(/signature of the URL is wrong/)]);
  }
  for (const url of [
    change('signature', ''),
    change('max', 'many'),
    change('expires', '-1'),
    drop.url.replace(/\?.*/, ''),
  ]) {
    const { status } = await answerOf(await put(url, 'x'));
    expect([400, 403], url).toContain(status);
  }
  // The server's own key, an hour ago.
  const key = await readFile(join(server.data, 'keys/url-signing-key'), 'utf8');
  const anHourAgo = { now: () => Date.now() - 3_700_000, sleep: async () => {} };
  const signer = new UrlSigner(Buffer.from(key.trim(), 'hex'), anHourAgo);
  const path = new URL(drop.url).pathname;
  const old = signer.sign({ method: 'PUT', path, maxSize: limit, lifetime: 3_600_000 });
  const { status, message } = await answerOf(await put(new URL(old, server.url).href, 'x'));
  expect([status, message]).toEqual([403, expect.stringMatching(/has expired\. Ask for a new one/)]);
  // A URL to write is none to read.
  expect((await put(drop.url, 'x')).status).toBe(200);
  expect((await fetch(drop.url)).status).toBe(405);
  const asRead = new URL(drop.url);
  asRead.pathname += `/${randomUUID()}/1`;
  expect((await fetch(asRead)).status).toBe(403);
});

test('nobody builds what somebody else uploaded', async () => {
  const drop = await fileDrop(server, 'text/plain');
  expect((await put(drop.url, 'FROM scratch\nLABEL a=b\n')).status).toBe(200);
  const admin = server.token;
  await createRepository(server, 'admin', 'mine');
  await server.becomeUser('thief');
  try {
    const theirs = await answerOf(await requestBuild(server, 'thief/loot', { file_id: drop.file_id }));
    expect([theirs.status, theirs.message]).toEqual([
      403,
      expect.stringMatching(/uploaded by somebody else/),
    ]);
    const missing = await answerOf(
      await requestBuild(server, 'thief/loot', { file_id: 'b2c3f0e8-5f0a-4c6b-9b62-111111111111' }),
    );
    expect([400, 404]).toContain(missing.status);
    const notSent = await fileDrop(server, 'text/plain');
    const early = await answerOf(await requestBuild(server, 'thief/loot', { file_id: notSent.file_id }));
    expect([early.status, early.message]).toEqual([400, expect.stringMatching(/not uploaded yet/)]);
  } finally {
    expect(admin).not.toBe(server.token);
  }
});

test('the OpenAPI document says how large an upload may be', async () => {
  const document = JSON.stringify(await (await server.fetch('/api/v1/openapi.json')).json());
  expect(document).toContain('1000000 bytes');
});
