import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { CreateBucketCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { findMoto } from '../../test/services/moto.ts';
import { type S3Service, startS3 } from '../../test/services/s3.ts';
import { systemClock as clock } from '../base/clock.ts';
import { digestOf } from '../model/digest.ts';
import { escapeTag } from '../model/tag.ts';
import { embeddedClient } from './embedded-client.ts';
import { EmbeddedRegistry } from './embedded-registry.ts';
import type { OciClient } from './oci-client.ts';
import type { RegistryStorage } from './registry-config.ts';
import { newSigningKey, readSigningKey, type SigningKey } from './signing-key.ts';
import { TokenService } from './token-service.ts';

/** Registry processes of several servers, each with a folder of its own, on one storage and with one signing key. */
const signal = AbortSignal.timeout(100_000);
const mediaType = 'application/vnd.oci.image.manifest.v1+json';
const stops: (() => Promise<unknown> | unknown)[] = [];
let key: SigningKey;

beforeAll(async () => {
  key = await readSigningKey(newSigningKey(clock));
});

afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

async function folder(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'slipway-shared-'));
  stops.push(() => rm(made, { recursive: true }));
  return made;
}

async function startOne(storage: RegistryStorage): Promise<OciClient> {
  const identity = { key, issuer: 'slipway', service: 'slipway-registry', clock };
  const embedded = new EmbeddedRegistry({
    ...identity,
    folder: await folder(),
    realm: 'http://127.0.0.1/v2/auth',
    storage,
  });
  await embedded.start();
  stops.push(() => embedded.stop());
  const client = embeddedClient({
    socketPath: embedded.socketPath,
    name: 'shared',
    tokens: new TokenService(identity),
    clock,
  });
  stops.push(() => client.close());
  return client;
}

async function push(client: OciClient, repository: string) {
  const put = async (bytes: Buffer) => {
    const blob = { digest: digestOf(bytes), size: bytes.length };
    await client.putBlob(repository, { ...blob, open: () => Readable.from([bytes]) }, signal);
    return blob;
  };
  const config = await put(Buffer.from(JSON.stringify({ os: 'linux', architecture: 'amd64' })));
  const content = randomBytes(100_000);
  const layer = await put(content);
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', ...layer }],
    }),
  );
  await client.putManifest(repository, escapeTag('latest'), { mediaType, bytes }, signal);
  return { digest: digestOf(bytes), layer: layer.digest, content };
}

/** What one pushes, the other serves at once; what one removes, the other does not serve any more. */
async function expectShared(first: OciClient, second: OciClient): Promise<void> {
  const pushed = await push(first, 'team/web');
  const seen = await second.getManifest('team/web', escapeTag('latest'), signal);
  expect(seen.digest).toBe(pushed.digest);
  const { stream } = await second.getBlob('team/web', pushed.layer, signal);
  expect((await buffer(stream)).equals(pushed.content)).toBe(true);
  const again = await push(second, 'team/web');
  expect((await first.getManifest('team/web', escapeTag('latest'), signal)).digest).toBe(again.digest);
  await first.deleteManifest('team/web', again.digest, signal);
  await expect(second.getManifest('team/web', again.digest, signal)).rejects.toMatchObject({
    code: 'manifest-unknown',
  });
}

test('a folder', async () => {
  const storage: RegistryStorage = { kind: 'folder', folder: join(await folder(), 'images') };
  await expectShared(await startOne(storage), await startOne(storage));
});

const moto = await findMoto();
const why = 'missing' in moto ? ` (skipped: ${moto.missing})` : '';

describe.skipIf('missing' in moto)(`S3${why}`, () => {
  let server: S3Service;

  beforeAll(async () => {
    if (!('missing' in moto)) server = await startS3(moto.python);
  });

  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
  });

  test('a bucket, below a prefix', async () => {
    const bucket = `images-${randomUUID()}`;
    const { accessKey, secretKey } = server.credentials;
    const s3 = new S3Client({
      endpoint: server.url,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
    });
    stops.push(() => s3.destroy());
    await s3.send(new CreateBucketCommand({ Bucket: bucket }));
    const storage: RegistryStorage = {
      kind: 's3',
      bucket,
      region: 'us-east-1',
      endpoint: server.url,
      prefix: 'slipway/registry',
      credentials: server.credentials,
    };
    await expectShared(await startOne(storage), await startOne(storage));
    const { Contents: objects = [] } = await s3.send(new ListObjectsV2Command({ Bucket: bucket }));
    expect(objects.length).toBeGreaterThan(4);
    expect(objects.filter((object) => object.Key?.startsWith('slipway/registry/docker/') !== true)).toEqual(
      [],
    );
  });
});
