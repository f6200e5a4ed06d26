import { randomBytes, randomUUID } from 'node:crypto';
import { createServer as createHttpServer, request as httpRequest, type IncomingMessage } from 'node:http';
import { connect, createServer } from 'node:net';
import { Readable } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { GoogleStorageServer } from '../../../test/fakes/google-storage.ts';
import { findMoto } from '../../../test/services/moto.ts';
import { type S3Service, startS3 } from '../../../test/services/s3.ts';
import { systemClock } from '../../base/clock.ts';
import { authorizationOf, sha256, signingTime } from './signature.ts';
import { GoogleStorageProxy, type ProxiedBucket } from './storage-proxy.ts';

const moto = await findMoto();
const why = 'missing' in moto ? ` (skipped: ${moto.missing})` : '';

describe.skipIf('missing' in moto)(`the proxy in front of Google${why}`, () => {
  const Bucket = `images-${randomUUID()}`;
  let server: S3Service;
  let fake: GoogleStorageServer;
  let proxy: GoogleStorageProxy;
  let found: ProxiedBucket;
  let client: S3Client;
  /** Added to what the proxy takes for now. */
  let ahead = 0;
  const clients: S3Client[] = [];

  beforeAll(async () => {
    if (!('missing' in moto)) server = await startS3(moto.python);
    await clientOf({ endpoint: server.url, credentials: server.credentials }).send(
      new CreateBucketCommand({ Bucket }),
    );
  });

  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
  });

  beforeEach(async () => {
    ahead = 0;
    fake = await GoogleStorageServer.open(server.url);
    const clock = { ...systemClock, now: () => systemClock.now() + ahead };
    const { credentials } = server;
    proxy = new GoogleStorageProxy(
      { bucket: Bucket, endpoint: fake.url, region: 'auto', credentials },
      clock,
    );
    found = await proxy.start();
    client = clientOf(found);
  });

  afterEach(async () => {
    for (const one of clients.splice(0)) one.destroy();
    await proxy.stop();
    await fake[Symbol.asyncDispose]();
  });

  function clientOf({ endpoint, credentials }: ProxiedBucket): S3Client {
    const made = new S3Client({
      endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      maxAttempts: 1,
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      credentials: { accessKeyId: credentials.accessKey, secretAccessKey: credentials.secretKey },
    });
    clients.push(made);
    return made;
  }

  const put = (Key: string, Body: Buffer = randomBytes(10)) =>
    client.send(new PutObjectCommand({ Bucket, Key, Body, ACL: 'private' }));

  test('objects go in, come out, are copied, and many are removed at once', async () => {
    const body = randomBytes(3_000_000);
    const names = ['a/ü & <x>', 'a/it’s (1)!*', 'a/b+c=d'];
    for (const name of names) await put(name, body);
    await client.send(new CopyObjectCommand({ Bucket, Key: 'a/copy', CopySource: `${Bucket}/a/b%2Bc%3Dd` }));
    const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket, Prefix: 'a/' }));
    expect(Contents.map(({ Key }) => Key).sort()).toEqual([...names, 'a/copy'].sort());
    const { Body } = await client.send(new GetObjectCommand({ Bucket, Key: 'a/copy', Range: 'bytes=10-' }));
    expect(Buffer.from((await Body?.transformToByteArray()) ?? []).equals(body.subarray(10))).toBe(true);
    const Objects = [...names, 'a/copy', 'a/never-was'].map((Key) => ({ Key }));
    const { Deleted = [], Errors } = await client.send(
      new DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: false } }),
    );
    expect(Errors).toBeUndefined();
    expect(Deleted.map(({ Key }) => Key)).toEqual(Objects.map(({ Key }) => Key));
    expect((await client.send(new ListObjectsV2Command({ Bucket, Prefix: 'a/' }))).KeyCount).toBe(0);
    expect(fake.refused).toEqual([]);
  });

  test('parts are copied by reading and writing their ranges', async () => {
    const body = randomBytes(6_000_000);
    await put('from', body);
    const upload = { Bucket, Key: 'to' };
    const { UploadId } = await client.send(new CreateMultipartUploadCommand(upload));
    const Parts: { PartNumber: number; ETag: string | undefined }[] = [];
    for (const [index, range] of ['bytes=0-5242879', 'bytes=5242880-5999999'].entries()) {
      const PartNumber = index + 1;
      const { CopyPartResult } = await client.send(
        new UploadPartCopyCommand({
          ...upload,
          UploadId,
          PartNumber,
          CopySource: `${Bucket}/from`,
          CopySourceRange: range,
        }),
      );
      Parts.push({ PartNumber, ETag: CopyPartResult?.ETag });
    }
    await client.send(
      new CompleteMultipartUploadCommand({ ...upload, UploadId, MultipartUpload: { Parts } }),
    );
    const { Body } = await client.send(new GetObjectCommand(upload));
    expect(Buffer.from((await Body?.transformToByteArray()) ?? []).equals(body)).toBe(true);
    const absent = { ...upload, UploadId, PartNumber: 1, CopySource: `${Bucket}/absent` };
    await expect(client.send(new UploadPartCopyCommand(absent))).rejects.toMatchObject({ name: 'NoSuchKey' });
    expect(fake.refused).toEqual([]);
  });

  test.each([
    [503, 'ServiceUnavailable'],
    [500, 'InternalError'],
    [429, 'SlowDown'],
  ])('what Google answers is passed on: %i %s', async (status, code) => {
    for (const method of ['GET', 'PUT', 'DELETE']) fake.failures.push({ method, status, code });
    const refused = { name: code, $metadata: { httpStatusCode: status } };
    await expect(put('key', randomBytes(4_000_000))).rejects.toMatchObject(refused);
    await expect(client.send(new GetObjectCommand({ Bucket, Key: 'key' }))).rejects.toMatchObject(refused);
    await expect(
      client.send(new CopyObjectCommand({ Bucket, Key: 'to', CopySource: `${Bucket}/key` })),
    ).rejects.toMatchObject(refused);
    await expect(
      client.send(
        new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: 'one' }, { Key: 'two' }] } }),
      ),
    ).rejects.toMatchObject(refused);
  });

  test('when Google cannot be reached, the answer is one after which clients try again', async () => {
    await fake[Symbol.asyncDispose]();
    const refused = { name: 'ServiceUnavailable', $metadata: { httpStatusCode: 503 } };
    await expect(put('key')).rejects.toMatchObject(refused);
    fake = await GoogleStorageServer.open(server.url);
  });

  test('a wrong secret, an unknown key and no signature at all do not reach Google', async () => {
    const { accessKey } = found.credentials;
    const wrong = clientOf({ ...found, credentials: { accessKey, secretKey: 'wrong' } });
    await expect(wrong.send(new ListObjectsV2Command({ Bucket }))).rejects.toMatchObject({
      name: 'SignatureDoesNotMatch',
    });
    const unknown = clientOf({ ...found, credentials: server.credentials });
    await expect(unknown.send(new ListObjectsV2Command({ Bucket }))).rejects.toMatchObject({
      name: 'InvalidAccessKeyId',
    });
    const unsigned = await fetch(`${found.endpoint}/${Bucket}/key`, { method: 'PUT', body: 'x'.repeat(3e6) });
    expect(unsigned.status).toBe(403);
    expect(fake.requests).toEqual([]);
  });

  test('the key leads to one bucket', async () => {
    const denied = { name: 'AccessDenied' };
    await expect(client.send(new ListObjectsV2Command({ Bucket: 'other' }))).rejects.toMatchObject(denied);
    await expect(
      client.send(new CopyObjectCommand({ Bucket, Key: 'to', CopySource: 'other/key' })),
    ).rejects.toMatchObject(denied);
    expect(fake.requests).toEqual([]);
  });

  test('a signature is good for a quarter of an hour', async () => {
    ahead = 16 * 60_000;
    await expect(put('key')).rejects.toMatchObject({ name: 'RequestTimeTooSkewed' });
    ahead = 14 * 60_000;
    fake.failures.push({ method: 'PUT', status: 503, code: 'ServiceUnavailable' });
    await expect(put('key')).rejects.toMatchObject({ name: 'ServiceUnavailable' });
  });

  test('a header that decides what is done has to be signed, and a list of removals to be the signed one', async () => {
    const signed = (method: string, target: string, payloadHash: string) => {
      const time = signingTime(Date.now());
      const host = new URL(found.endpoint).host;
      const headers = { host, 'x-amz-content-sha256': payloadHash, 'x-amz-date': time };
      const request = { method, target, payloadHash, headers };
      return { ...headers, authorization: authorizationOf(request, time, 'auto', found.credentials) };
    };
    const target = `/${Bucket}/key`;
    const copy = await fetch(found.endpoint + target, {
      method: 'PUT',
      headers: { ...signed('PUT', target, sha256('')), 'x-amz-copy-source': `${Bucket}/other` },
    });
    expect(await copy.text()).toContain('have to be signed');
    const removal = await fetch(`${found.endpoint}/${Bucket}?delete=`, {
      method: 'POST',
      headers: signed('POST', `/${Bucket}?delete=`, sha256('<Delete></Delete>')),
      body: '<Delete><Object><Key>key</Key></Object></Delete>',
    });
    expect(await removal.text()).toContain('XAmzContentSHA256Mismatch');
    expect(fake.requests).toEqual([]);
  });

  test('after its stop nobody listens, and every start makes another key', async () => {
    const port = Number(new URL(found.endpoint).port);
    await proxy.stop();
    const socket = connect(port, '127.0.0.1');
    const outcome = await new Promise((resolve) => {
      socket.once('connect', () => resolve('connected')).once('error', () => resolve('refused'));
    });
    socket.destroy();
    expect(outcome).toBe('refused');
    const again = await proxy.start();
    expect(again.credentials.secretKey).not.toBe(found.credentials.secretKey);
  });

  test('a stop does not wait for Google', async () => {
    const silent = createServer((socket) => socket.resume().on('error', () => {}));
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const connected = new Promise((resolve) => silent.once('connection', resolve));
    const address = silent.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const { credentials } = server;
    const endpoint = `http://127.0.0.1:${port}`;
    const other = new GoogleStorageProxy(
      { bucket: Bucket, endpoint, region: 'auto', credentials },
      systemClock,
    );
    const asked = clientOf(await other.start()).send(new ListObjectsV2Command({ Bucket }));
    const lost = expect(asked).rejects.toThrow();
    await connected;
    await other.stop();
    await lost;
    await new Promise((resolve) => silent.close(resolve));
  });
});

test('bodies pass as fast as the slower side takes them, and are not held', async () => {
  const size = 192 * 1024 * 1024;
  const piece = Buffer.alloc(64 * 1024, 'x');
  let most = 0;
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  // What nobody holds any more does not count, whether it was collected by now or not.
  const look = () => {
    collect();
    most = Math.max(most, process.memoryUsage().arrayBuffers);
  };
  function* content() {
    for (let at = 0; at < size; at += piece.length) {
      if (at % (16 * 1024 * 1024) === 0) look();
      // Its own memory, as what comes from a socket has.
      yield Buffer.from(piece);
    }
  }
  const taken = async (body: IncomingMessage) => {
    let bytes = 0;
    for await (const part of body as AsyncIterable<Buffer>) {
      bytes += part.length;
      await new Promise((resolve) => setImmediate(resolve));
    }
    return bytes;
  };
  let stored = 0;
  const google = createHttpServer(async (asked, answer) => {
    stored += await taken(asked);
    if (asked.method === 'PUT') return answer.end();
    answer.writeHead(200, { 'content-length': size });
    return Readable.from(content()).pipe(answer);
  });
  await new Promise<void>((resolve) => google.listen(0, '127.0.0.1', resolve));
  const address = google.address();
  const endpoint = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  const credentials = { accessKey: 'AK', secretKey: 'SK' };
  const proxy = new GoogleStorageProxy(
    { bucket: 'images', endpoint, region: 'auto', credentials },
    systemClock,
  );
  const found = await proxy.start();
  const ask = async (method: string, body?: Readable) => {
    const time = signingTime(Date.now());
    const payloadHash = sha256(method);
    const host = new URL(found.endpoint).host;
    const headers = { host, 'x-amz-content-sha256': payloadHash, 'x-amz-date': time };
    const signed = { method, target: '/images/key', payloadHash, headers };
    const authorization = authorizationOf(signed, time, 'auto', found.credentials);
    const asked = httpRequest(`${found.endpoint}/images/key`, {
      method,
      headers: { ...headers, authorization, ...(body === undefined ? {} : { 'content-length': size }) },
    });
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      asked.once('response', resolve).once('error', reject);
    });
    if (body === undefined) asked.end();
    else body.pipe(asked);
    return await answered;
  };
  look();
  const before = most;
  try {
    expect(await taken(await ask('PUT', Readable.from(content())))).toBe(0);
    expect(stored).toBe(size);
    expect(await taken(await ask('GET'))).toBe(size);
    expect(most - before).toBeLessThan(size / 2);
  } finally {
    await proxy.stop();
    google.closeAllConnections();
    await new Promise((resolve) => google.close(resolve));
  }
});
