import { randomBytes, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import {
  CreateBucketCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findMoto } from '../../test/services/moto.ts';
import { type S3Service, startS3 } from '../../test/services/s3.ts';
import { blobStoreSuite, type ScratchBlobs } from './blob-store.suite.ts';
import { S3BlobStore, type S3BlobStoreOptions } from './s3-blob-store.ts';

const moto = await findMoto();
const why = 'missing' in moto ? ` (skipped: ${moto.missing})` : '';

describe.skipIf('missing' in moto)(`a bucket of a real server${why}`, () => {
  let server: S3Service;
  let client: S3Client;

  beforeAll(async () => {
    if ('missing' in moto) return;
    server = await startS3(moto.python);
    const { accessKey, secretKey } = server.credentials;
    client = new S3Client({
      endpoint: server.url,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
    });
  });

  afterAll(async () => {
    client?.destroy();
    await server?.[Symbol.asyncDispose]();
  });

  function optionsOf(bucket: string, given: Partial<S3BlobStoreOptions> = {}): S3BlobStoreOptions {
    return {
      bucket,
      prefix: 'slipway/blobs',
      endpoint: server.url,
      region: 'us-east-1',
      pathStyle: true,
      credentials: server.credentials,
      tries: 2,
      ...given,
    };
  }

  async function scratch(): Promise<ScratchBlobs & { readonly bucket: string; readonly store: S3BlobStore }> {
    const Bucket = `test-${randomUUID()}`;
    await client.send(new CreateBucketCommand({ Bucket }));
    const store = await S3BlobStore.open(optionsOf(Bucket));
    return {
      bucket: Bucket,
      store,
      async everything() {
        const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket }));
        const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket }));
        return [...Contents, ...Uploads].map(({ Key }) => Key ?? '');
      },
      [Symbol.asyncDispose]: async () => await store.stop(),
    };
  }

  blobStoreSuite('S3', scratch);

  const limit = 64 << 20;

  it('keeps its keys below the prefix', async () => {
    await using blobs = await scratch();
    await blobs.store.put('logs/a', Readable.from([Buffer.from('a')]), { limit });
    expect(await blobs.everything()).toEqual(['slipway/blobs/logs/a']);
  });

  it('sends a long blob in parts, a few at a time', async () => {
    await using blobs = await scratch();
    const piece = randomBytes(1 << 20);
    let taken = 0;
    const source = Readable.from(
      (function* () {
        for (; taken < 21; taken += 1) yield piece;
      })(),
    );
    const { size, sha256 } = await blobs.store.put('long', source, { limit });
    expect(size).toBe(21 << 20);
    expect(sha256).toMatch(/^[0-9a-f]{64}$/);
    const found = await blobs.store.get('long', { start: 20 << 20 });
    expect(found?.size).toBe(21 << 20);
    expect(found && (await buffer(found.stream)).equals(piece)).toBe(true);
  });

  it('leaves no parts of a long blob that breaks off, is too long, or is given up', async () => {
    await using blobs = await scratch();
    const endless = (fail: () => void) =>
      Readable.from(
        (function* () {
          for (let sent = 0; ; sent += 1) {
            if (sent === 20) fail();
            yield Buffer.alloc(1 << 20);
          }
        })(),
      );
    const broken = endless(() => {
      throw new Error('connection lost');
    });
    await expect(blobs.store.put('a', broken, { limit })).rejects.toMatchObject({ code: 'interrupted' });
    const tooLong = endless(() => {});
    await expect(blobs.store.put('b', tooLong, { limit: 18 << 20 })).rejects.toMatchObject({
      code: 'too-large',
    });
    const leaving = new AbortController();
    const reason = new Error('the client left');
    const left = endless(() => leaving.abort(reason));
    await expect(blobs.store.put('c', left, { limit, signal: leaving.signal })).rejects.toBe(reason);
    expect(await blobs.everything()).toEqual([]);
  });

  it('says that the key is wrong, or the secret', async () => {
    await using blobs = await scratch();
    for (const credentials of [
      { accessKey: 'AKIAUNKNOWN0000000000', secretKey: 'wrong' },
      { ...server.credentials, secretKey: 'wrong' },
    ]) {
      await using store = await S3BlobStore.open(optionsOf(blobs.bucket, { credentials }));
      const put = store.put('a', Readable.from([Buffer.from('a')]), { limit });
      await expect(put).rejects.toMatchObject({ code: 'refused' });
      await expect(store.get('a')).rejects.toMatchObject({ code: 'refused' });
    }
  });

  it('says that there is no such bucket', async () => {
    await using store = await S3BlobStore.open(optionsOf('no-such-bucket'));
    const put = store.put('a', Readable.from([Buffer.from('a')]), { limit });
    await expect(put).rejects.toMatchObject({ code: 'no-bucket' });
    await expect(store.get('a')).rejects.toMatchObject({ code: 'no-bucket' });
  });
});

/** Answers as `answer` says; every request is counted. */
async function fakeS3(answer: (count: number, range: string | undefined) => FakeAnswer) {
  let requests = 0;
  const server = createServer((request, response) => {
    requests += 1;
    request.resume();
    const { status, headers = {}, body = '', cut = false } = answer(requests, request.headers.range);
    response.writeHead(status, headers);
    if (!cut) response.end(body);
    else response.write(body, () => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const store = await S3BlobStore.open({
    bucket: 'logs',
    prefix: '',
    endpoint: `http://127.0.0.1:${port}`,
    region: 'us-east-1',
    pathStyle: true,
    credentials: { accessKey: 'key', secretKey: 'a secret' },
    tries: 3,
  });
  return {
    store,
    requests: () => requests,
    async [Symbol.asyncDispose]() {
      await store.stop();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface FakeAnswer {
  readonly status: number;
  readonly headers?: Record<string, string>;
  readonly body?: string | Buffer;
  /** The connection breaks after the body. */
  readonly cut?: boolean;
}

function errorAnswer(status: number, code: string): FakeAnswer {
  const body = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>because</Message></Error>`;
  return { status, headers: { 'content-type': 'application/xml' }, body };
}

const one = () => Readable.from([Buffer.from('a')]);

describe('a bucket in trouble', () => {
  it('is asked again while it throttles, and stores what it lets through', async () => {
    await using fake = await fakeS3((count) =>
      count < 3 ? errorAnswer(503, 'SlowDown') : { status: 200, headers: { etag: '"1"' } },
    );
    expect(await fake.store.put('a', one(), { limit: 10 })).toMatchObject({ size: 1 });
    expect(fake.requests()).toBe(3);
  });

  it.each([
    [503, 'SlowDown', 'throttled', 3],
    [429, 'TooManyRequests', 'throttled', 3],
    [500, 'InternalError', 'unavailable', 3],
    [403, 'AccessDenied', 'refused', 1],
    [403, 'RequestTimeTooSkewed', 'refused', 1],
    [403, 'QuotaExceeded', 'disk-full', 1],
    [507, 'XMinioStorageFull', 'disk-full', 3],
    [404, 'NoSuchBucket', 'no-bucket', 1],
    [400, 'AuthorizationHeaderMalformed', 'no-bucket', 1],
  ])('answers %i %s: %s', async (status, name, code, most) => {
    await using fake = await fakeS3(() => errorAnswer(status, name));
    const failure = await fake.store.put('a', one(), { limit: 10 }).catch((thrown: unknown) => thrown);
    expect(failure).toMatchObject({ code });
    expect(String(failure)).not.toContain('a secret');
    expect(fake.requests()).toBeLessThanOrEqual(most);
  });

  it('says that nobody listens, or that there is no such host', async () => {
    for (const endpoint of ['http://127.0.0.1:1', 'http://no-such-host.invalid']) {
      await using store = await S3BlobStore.open({
        bucket: 'logs',
        prefix: '',
        endpoint,
        region: 'us-east-1',
        pathStyle: true,
        credentials: { accessKey: 'key', secretKey: 'secret' },
        tries: 1,
      });
      const failure = await store.put('a', one(), { limit: 10 }).catch((thrown: unknown) => thrown);
      expect(failure).toMatchObject({ code: 'unavailable' });
      expect(String(failure)).toContain(endpoint);
    }
  });

  it('goes on where an answer broke off', async () => {
    const bytes = randomBytes(100_000);
    const asked: (string | undefined)[] = [];
    await using fake = await fakeS3((_count, range) => {
      asked.push(range);
      const start = Number(/^bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0);
      const piece = bytes.subarray(start, start + 40_000);
      return {
        status: range === undefined ? 200 : 206,
        headers: {
          etag: '"1"',
          'content-length': `${bytes.length - start}`,
          ...(range === undefined
            ? {}
            : { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` }),
        },
        body: piece,
        cut: start + piece.length < bytes.length,
      };
    });
    const found = await fake.store.get('a');
    expect(found?.size).toBe(100_000);
    expect(found && (await buffer(found.stream)).equals(bytes)).toBe(true);
    expect(asked.length).toBeGreaterThanOrEqual(3);
  });
});
