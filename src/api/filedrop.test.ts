import { createHash, randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ApiHarness, startApiServer } from '../../test/harness/api-server.ts';
import { ManualClock } from '../base/clock.ts';
import type { UploadId } from '../model/ids.ts';

const limit = 1024 * 1024;
let server: ApiHarness;
let clock: ManualClock;
let token: string;

beforeEach(async () => {
  clock = new ManualClock(Date.now());
  server = await startApiServer({ clock, uploadLimit: limit });
  token = await server.addUser('owner');
  await server.addRepository('owner/web');
});
afterEach(async () => await server[Symbol.asyncDispose]());

async function drop(as = token): Promise<{ url: string; file_id: UploadId }> {
  const { json } = await server.call('POST', '/api/v1/filedrop/', {
    token: as,
    body: { mimeType: 'application/gzip' },
  });
  return json as { url: string; file_id: UploadId };
}
const put = async (url: string, body: Uint8Array | string, headers: Record<string, string> = {}) => {
  const response = await fetch(url, { method: 'PUT', body, headers });
  return { status: response.status, json: (await response.json()) as Record<string, unknown> };
};
const build = async (as: string, file_id: string, repository = 'owner/web') =>
  await server.call('POST', `/api/v1/repository/${repository}/build/`, { token: as, body: { file_id } });
/** The attempt that is claimed for a build of the file, and where its worker fetches the file. */
const claimed = async (file_id: UploadId) => {
  await build(token, file_id);
  return await claim(file_id);
};
const claim = async (file_id: UploadId) => {
  const [attempt] = await server.queue.claim({ manager: 'm1', limit: 1, capacity: 10, lease: 600_000 });
  if (attempt === undefined) throw new Error('nothing was claimed');
  const holder = { attemptId: attempt.id, epoch: attempt.epoch };
  return { ...holder, url: `${server.url}${await server.uploads.packageUrl(file_id, holder, 3_600_000)}` };
};
const files = async () => {
  const found = await readdir(join(server.folder, 'blobs'), { recursive: true, withFileTypes: true });
  return found.filter((entry) => entry.isFile()).length;
};

test('bytes go up, are built under the name of their checksum, and come down as they were', async () => {
  const bytes = randomBytes(300_000);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const { url, file_id } = await drop();
  const stored = await put(url, bytes, { 'content-type': 'application/gzip' });
  expect(stored).toEqual({ status: 200, json: { file_id, size: bytes.length, checksum: sha256 } });
  const made = await build(token, file_id);
  expect(made.json).toMatchObject({ display_name: sha256.slice(0, 7), resource_key: file_id });
  const { url: packageUrl } = await claim(file_id);
  const back = await fetch(packageUrl);
  expect(back.headers.get('content-type')).toBe('application/gzip');
  expect(back.headers.get('content-length')).toBe(String(bytes.length));
  expect(Buffer.from(await back.arrayBuffer()).equals(bytes)).toBe(true);
  const rest = await fetch(packageUrl, { headers: { range: 'bytes=299990-' } });
  expect(rest.status).toBe(206);
  expect(rest.headers.get('content-range')).toBe('bytes 299990-299999/300000');
  expect(Buffer.from(await rest.arrayBuffer()).equals(bytes.subarray(299_990))).toBe(true);
});

test('any content type goes, JSON too, and nothing is parsed', async () => {
  for (const type of ['application/json', 'text/plain', 'application/x-www-form-urlencoded', 'nonsense']) {
    const { url } = await drop();
    expect((await put(url, '{broken', { 'content-type': type })).status).toBe(200);
  }
});

test('too many bytes are refused: announced ones before they are sent, others as soon as they are too many', async () => {
  const announced = await drop();
  const refused = await put(announced.url, Buffer.alloc(limit + 1));
  expect(refused.status).toBe(413);
  expect(refused.json.detail).toContain(String(limit));
  const streamed = await drop();
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => {
      sent += 65_536;
      if (sent > limit * 2) controller.close();
      else controller.enqueue(new Uint8Array(65_536));
    },
  });
  let sent = 0;
  const response = await fetch(streamed.url, { method: 'PUT', body, duplex: 'half' } as RequestInit);
  expect(response.status).toBe(413);
  expect(await files()).toBe(0);
  // The limit itself is allowed.
  expect((await put(announced.url, Buffer.alloc(limit))).status).toBe(200);
});

test('an upload that is broken off leaves nothing, and can be made again', async () => {
  const { url, file_id } = await drop();
  const { pathname, search, port } = new URL(url);
  const socket = connect(Number(port), '127.0.0.1');
  socket.write(`PUT ${pathname}${search} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nabc`);
  while ((await files()) === 0) await new Promise((resolve) => setImmediate(resolve));
  socket.destroy();
  while ((await files()) > 0) await new Promise((resolve) => setImmediate(resolve));
  expect((await build(token, file_id)).status).toBe(400);
  expect((await put(url, 'FROM scratch')).status).toBe(200);
  expect((await build(token, file_id)).status).toBe(201);
});

test('an upload is written once', async () => {
  const { url } = await drop();
  expect((await put(url, 'one')).status).toBe(200);
  expect((await put(url, 'two')).status).toBe(409);
});

test('of two at once one wins whole', async () => {
  const { url, file_id } = await drop();
  const answers = await Promise.all([put(url, 'a'.repeat(50_000)), put(url, 'b'.repeat(50_000))]);
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
  const won = answers.find(({ status }) => status === 200);
  const back = await fetch((await claimed(file_id)).url);
  const sha256 = createHash('sha256')
    .update(Buffer.from(await back.arrayBuffer()))
    .digest('hex');
  expect(won?.json.checksum).toBe(sha256);
  expect(await files()).toBe(1);
});

test('a worker that was given up on fetches nothing any more, and the next one does', async () => {
  const { url, file_id } = await drop();
  await put(url, 'FROM scratch');
  const first = await claimed(file_id);
  expect((await fetch(first.url)).status).toBe(200);
  const lost = { code: 'workerlost', message: 'The worker is gone.' } as const;
  await server.queue.finish(
    first.attemptId,
    first.epoch,
    { kind: 'expired', at: 'building', fault: lost },
    0,
  );
  const late = async ({ url: from }: typeof first) => {
    const response = await fetch(from);
    const { error_type, detail } = (await response.json()) as Record<string, unknown>;
    return [response.status, error_type, detail];
  };
  const refused = [403, 'insufficient_scope', expect.stringContaining('is over or was given up')];
  expect(await late(first)).toEqual(refused);
  const second = await claim(file_id);
  expect(second.epoch).toBe(2);
  expect((await fetch(second.url)).status).toBe(200);
  expect(await late(first)).toEqual(refused);
  // Nor after the end of the build.
  await server.queue.finish(second.attemptId, second.epoch, { kind: 'cancelled', by: 'owner' }, 0);
  expect(await late(second)).toEqual(refused);
  const { text } = await server.call('GET', '/metrics');
  expect(text).toMatch(/slipway_epochs_refused_total\{[^}]*reason="source"[^}]*\} 3/);
});

test('the signature of a URL is for one attempt: nobody makes another of it', async () => {
  const { url, file_id } = await drop();
  await put(url, 'FROM scratch');
  const { url: own, attemptId } = await claimed(file_id);
  const other = '00000000-0000-4000-8000-000000000000';
  for (const changed of [own.replace(attemptId, other), own.replace(`${attemptId}/1`, `${attemptId}/2`)]) {
    const response = await fetch(changed);
    expect(response.status).toBe(403);
    expect(await response.text()).toContain('signature');
  }
  expect((await fetch(own.replace(attemptId, 'none'))).status).toBe(404);
  expect((await fetch(own.replace(`${attemptId}/1`, `${attemptId}/x`))).status).toBe(400);
});

test('a URL is good for what it was signed for only', async () => {
  const { url, file_id } = await drop();
  const other = await drop();
  const changed = (change: (url: URL) => void) => {
    const made = new URL(url);
    change(made);
    return made.href;
  };
  const bad = [
    changed((each) => each.searchParams.set('max', '999999999999')),
    changed((each) => each.searchParams.set('expires', '9999999999')),
    changed((each) => each.searchParams.set('signature', 'AAAA')),
    changed((each) => {
      each.pathname = new URL(other.url).pathname;
    }),
  ];
  for (const each of bad) expect([each, (await put(each, 'x')).status]).toEqual([each, 403]);
  // It is for PUT, and that of a worker is for GET.
  expect((await fetch(url)).status).toBe(405);
  const { file_id: fetched } = await stored();
  const { url: packageUrl } = await claimed(fetched);
  expect((await put(packageUrl, 'x')).status).toBe(405);
  await clock.advance(61 * 60_000);
  const late = await put(url, 'x');
  expect(late.status).toBe(403);
  expect(late.json.detail).toContain('expired');
  expect((await build(token, file_id)).status).toBe(400);
});

async function stored(as = token): Promise<{ file_id: UploadId; url: string }> {
  const made = await drop(as);
  await put(made.url, `FROM scratch # ${made.file_id}`);
  return made;
}

test('a file is for its uploader, and after its first build for who may write that repository', async () => {
  const other = await server.addUser('other');
  const writer = await server.addUser('writer');
  for (const name of ['other/app', 'writer/app']) await server.addRepository(name);
  await server.accounts.setPermission({ namespace: 'owner', name: 'web' }, 'writer', 'write');
  const { file_id } = await stored();
  expect((await build(other, file_id, 'other/app')).status).toBe(403);
  expect((await build(writer, file_id, 'owner/web')).status).toBe(403);
  expect((await build(token, file_id)).status).toBe(201);
  expect((await build(other, file_id, 'other/app')).status).toBe(403);
  expect((await build(writer, file_id, 'writer/app')).status).toBe(201);
  expect((await build(token, file_id)).status).toBe(201);
  expect((await build(token, '00000000-0000-4000-8000-000000000000')).status).toBe(404);
});

test('a refused request does not tie the file to the repository', async () => {
  const { file_id } = await stored();
  const refused = await server.call('POST', '/api/v1/repository/owner/web/build/', {
    token,
    body: { file_id, dockerfile_path: '../x' },
  });
  expect(refused.status).toBe(400);
  await clock.advance(25 * 60 * 60_000);
  expect(await server.uploads.sweep(new AbortController().signal)).toBe(1);
});

test('what no build used is removed after a day, what one used is kept', async () => {
  const used = await stored();
  await build(token, used.file_id);
  await stored();
  await drop();
  await clock.advance(23 * 60 * 60_000);
  const signal = new AbortController().signal;
  expect(await server.uploads.sweep(signal)).toBe(0);
  const fresh = await stored();
  await clock.advance(2 * 60 * 60_000);
  expect(await server.uploads.sweep(signal)).toBe(2);
  expect(await files()).toBe(2);
  expect((await build(token, used.file_id)).status).toBe(201);
  expect((await build(token, fresh.file_id)).status).toBe(201);
});
