import { execFile } from 'node:child_process';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { CreateBucketCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { GoogleStorageServer } from '../../test/fakes/google-storage.ts';
import { findMoto } from '../../test/services/moto.ts';
import { type S3Service, startS3 } from '../../test/services/s3.ts';
import { systemClock as clock } from '../base/clock.ts';
import { digestOf } from '../model/digest.ts';
import { escapeTag } from '../model/tag.ts';
import { embeddedClient } from './embedded-client.ts';
import { EmbeddedRegistry } from './embedded-registry.ts';
import type { OciClient } from './oci-client.ts';
import type { RegistryStorage } from './registry-config.ts';
import { newSigningKey, readSigningKey } from './signing-key.ts';
import { TokenService } from './token-service.ts';

/** docker-registry on buckets that are not Amazon's: Google's, through the proxy, and Ceph's. */
const signal = () => AbortSignal.timeout(100_000);
const run = promisify(execFile);
const mebibyte = 1024 * 1024;
const mediaType = 'application/vnd.oci.image.manifest.v1+json';
const moto = await findMoto();
const why = 'missing' in moto ? ` (skipped: ${moto.missing})` : '';

describe.skipIf('missing' in moto)(`images in a bucket${why}`, () => {
  const stops: (() => Promise<unknown> | unknown)[] = [];
  let server: S3Service;
  let s3: S3Client;
  let bucket: string;

  beforeAll(async () => {
    if (!('missing' in moto)) server = await startS3(moto.python);
    const { accessKey, secretKey } = server.credentials;
    s3 = new S3Client({
      endpoint: server.url,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
    });
  });

  afterAll(async () => {
    s3?.destroy();
    await server?.[Symbol.asyncDispose]();
  });

  beforeEach(async () => {
    bucket = `images-${randomUUID()}`;
    await s3.send(new CreateBucketCommand({ Bucket: bucket }));
  });

  afterEach(async () => {
    for (const stop of stops.splice(0).reverse()) await stop();
  });

  async function start(storage: RegistryStorage): Promise<{ client: OciClient; folder: string }> {
    const folder = await mkdtemp(join(tmpdir(), 'slipway-google-'));
    stops.push(() => rm(folder, { recursive: true }));
    const key = await readSigningKey(newSigningKey(clock));
    const identity = { key, issuer: 'slipway', service: 'slipway-registry', clock };
    const embedded = new EmbeddedRegistry({
      ...identity,
      folder,
      realm: 'http://127.0.0.1/v2/auth',
      storage,
    });
    await embedded.start();
    stops.push(() => embedded.stop());
    const client = embeddedClient({
      socketPath: embedded.socketPath,
      name: 'bucket',
      tokens: new TokenService(identity),
      clock,
    });
    stops.push(() => client.close());
    return { client, folder };
  }

  async function google(): Promise<GoogleStorageServer> {
    const fake = await GoogleStorageServer.open(server.url);
    stops.push(() => fake[Symbol.asyncDispose]());
    return fake;
  }

  const googleStorage = (fake: GoogleStorageServer, credentials = server.credentials): RegistryStorage => ({
    kind: 'google',
    bucket,
    region: 'auto',
    endpoint: fake.url,
    prefix: 'slipway/registry',
    credentials,
  });

  async function keys(): Promise<string[]> {
    const { Contents = [] } = await s3.send(new ListObjectsV2Command({ Bucket: bucket }));
    return Contents.map(({ Key = '' }) => Key);
  }

  const small = (text: string) => {
    const bytes = Buffer.from(text);
    return { digest: digestOf(bytes), size: bytes.length, open: () => Readable.from([bytes]) };
  };

  async function pushAndPull(client: OciClient, layers: readonly Buffer[], chunkSize?: number) {
    const put = async (bytes: Buffer) => {
      const blob = { digest: digestOf(bytes), size: bytes.length };
      const source = { ...blob, open: () => Readable.from(pieces(bytes)) };
      await client.putBlob('team/web', source, signal(), chunkSize);
      return blob;
    };
    const config = await put(Buffer.from(JSON.stringify({ os: 'linux', architecture: 'amd64' })));
    const described: object[] = [];
    for (const layer of layers) {
      described.push({ mediaType: 'application/vnd.oci.image.layer.v1.tar', ...(await put(layer)) });
    }
    const configuration = { mediaType: 'application/vnd.oci.image.config.v1+json', ...config };
    const bytes = Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType, config: configuration, layers: described }),
    );
    await client.putManifest('team/web', escapeTag('latest'), { mediaType, bytes }, signal());
    const seen = await client.getManifest('team/web', escapeTag('latest'), signal());
    expect(seen.digest).toBe(digestOf(bytes));
    for (const layer of layers) {
      const { stream } = await client.getBlob('team/web', digestOf(layer), signal());
      const hash = createHash('sha256');
      for await (const piece of stream) hash.update(piece);
      expect(`sha256:${hash.digest('hex')}`).toBe(digestOf(layer));
    }
    return seen.digest;
  }

  test('Google: an image with a small and a 64 MiB layer is pushed, pulled and removed', async () => {
    const fake = await google();
    const { client, folder } = await start(googleStorage(fake));
    const digest = await pushAndPull(client, [randomBytes(50_000), randomBytes(64 * mebibyte)]);
    // Uploads are moved, which removes them: nothing is left of them.
    expect((await keys()).filter((key) => key.includes('/_uploads/'))).toEqual([]);
    await client.deleteManifest('team/web', digest, signal());
    await expect(client.getManifest('team/web', digest, signal())).rejects.toMatchObject({
      code: 'manifest-unknown',
    });
    expect((await keys()).filter((key) => key.endsWith('/data')).length).toBe(4);
    await run('docker-registry', ['garbage-collect', join(folder, 'config.yml')]);
    expect((await keys()).filter((key) => key.endsWith('/data'))).toEqual([]);
    expect(fake.refused).toEqual([]);
    expect(fake.requests.filter((line) => line.startsWith('DELETE ')).length).toBeGreaterThan(3);
    expect(fake.removalsAtOnce).toBeLessThanOrEqual(16);
    expect((await keys()).filter((key) => !key.startsWith('slipway/registry/docker/'))).toEqual([]);
    // The registry process does not get to know Google's key.
    const config = await readFile(join(folder, 'config.yml'), 'utf8');
    expect(config).not.toContain(server.credentials.secretKey);
    expect(config).not.toContain(server.credentials.accessKey);
  });

  test('Google: an upload that goes on after a short piece, which S3 would do by copying into a part', async () => {
    const fake = await google();
    const { client } = await start(googleStorage(fake));
    // Pieces of 3 MiB: every other part is shorter than 5 MiB, and the driver begins a new upload with what there is.
    await pushAndPull(client, [randomBytes(13 * mebibyte)], 3 * mebibyte);
    expect(fake.refused).toEqual([]);
    const reads = fake.requests.filter((line) => /^GET [^?]*\/_uploads\/[^?]*\/data$/.test(line));
    expect(reads.length).toBeGreaterThan(1);
  });

  test('Google: an object that it cannot copy goes through the proxy', async () => {
    const fake = await google();
    fake.copiesNothing = true;
    const { client } = await start(googleStorage(fake));
    await pushAndPull(client, [randomBytes(12 * mebibyte)]);
    expect(fake.refused).toEqual([]);
  });

  test('Google: what fails for a moment is repeated', async () => {
    const fake = await google();
    const { client } = await start(googleStorage(fake));
    fake.failures.push(
      { method: 'DELETE', status: 503, code: 'ServiceUnavailable', times: 1 },
      { method: 'PUT', status: 429, code: 'SlowDown', times: 1 },
    );
    await client.putBlob('team/web', small('text'), signal());
    expect(fake.failures.map(({ times }) => times)).toEqual([0, 0]);
    expect((await keys()).filter((key) => key.includes('/_uploads/'))).toEqual([]);
  });

  test('Google: a wrong key of the bucket is refused by Google, not hidden', async () => {
    const fake = await google();
    const { client, folder } = await start(
      googleStorage(fake, { ...server.credentials, secretKey: 'not-the-secret' }),
    );
    await expect(client.putBlob('team/web', small('text'), signal())).rejects.toMatchObject({
      code: 'unavailable',
    });
    expect(await readFile(join(folder, 'registry.log'), 'utf8')).toContain('SignatureDoesNotMatch');
  });

  test('RADOS gateway: plain S3 in path style', async () => {
    const { client } = await start({
      kind: 's3',
      bucket,
      region: 'us-east-1',
      endpoint: server.url,
      prefix: 'ceph',
      credentials: server.credentials,
    });
    const digest = await pushAndPull(client, [randomBytes(50_000), randomBytes(40 * mebibyte)]);
    await client.deleteManifest('team/web', digest, signal());
    expect((await keys()).filter((key) => key.includes('/_uploads/'))).toEqual([]);
    expect((await keys()).every((key) => key.startsWith('ceph/docker/'))).toBe(true);
  });
});

function* pieces(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += mebibyte) yield bytes.subarray(at, at + mebibyte);
}
