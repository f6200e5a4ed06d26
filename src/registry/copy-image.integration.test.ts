import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RegistryFront } from '../../test/fakes/registry-front.ts';
import { RegistryServer } from '../../test/fakes/registry-server.ts';
import { type RegistryService, startRegistry } from '../../test/services/docker-registry.ts';
import { systemClock } from '../base/clock.ts';
import { type Digest, digestOf } from '../model/digest.ts';
import type { Tag } from '../model/tag.ts';
import { copyImage } from './copy-image.ts';
import { OciClient } from './oci-client.ts';
import { mediaTypes } from './oci-manifest.ts';
import type { BlobSource } from './oci-uploads.ts';

const { signal } = new AbortController();
let ours: RegistryServer;
let theirs: RegistryService;
let front: RegistryFront;
let source: OciClient;
let target: OciClient;

beforeAll(async () => {
  [ours, theirs] = await Promise.all([RegistryServer.start(), startRegistry()]);
  front = await RegistryFront.open(theirs.host);
  source = ours.client();
  target = new OciClient({
    endpoint: { kind: 'network', host: front.host, security: 'http' },
    credentials: { kind: 'none' },
    clock: systemClock,
  });
});
afterAll(async () => {
  source?.close();
  target?.close();
  await front?.[Symbol.asyncDispose]();
  await theirs?.[Symbol.asyncDispose]();
  await ours?.stop();
});

function blobOf(bytes: Buffer): BlobSource {
  return { digest: digestOf(bytes), size: bytes.length, open: () => Readable.from([bytes]) };
}

/** So many megabytes that are nowhere as a whole. */
function largeBlob(megabytes: number): BlobSource {
  const piece = randomBytes(1024 * 1024);
  const pieces = () =>
    Readable.from(
      (function* () {
        for (let n = 0; n < megabytes; n += 1) yield piece;
      })(),
      { objectMode: false },
    );
  const hash = createHash('sha256');
  for (let n = 0; n < megabytes; n += 1) hash.update(piece);
  return { digest: `sha256:${hash.digest('hex')}` as Digest, size: megabytes * piece.length, open: pieces };
}

async function pushImage(repository: string, layers: readonly BlobSource[]): Promise<Digest> {
  const config = blobOf(Buffer.from(JSON.stringify({ of: repository })));
  for (const blob of [config, ...layers]) await source.putBlob(repository, blob, signal);
  const describe = ({ digest, size }: BlobSource, mediaType: string) => ({ mediaType, digest, size });
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: describe(config, 'application/vnd.oci.image.config.v1+json'),
      layers: layers.map((layer) => describe(layer, 'application/vnd.oci.image.layer.v1.tar')),
    }),
  );
  return await source.putManifest(
    repository,
    digestOf(bytes),
    { mediaType: mediaTypes.ociManifest, bytes },
    signal,
  );
}

const copy = (repository: string, digest: Digest, still: () => Promise<void> = async () => {}) => ({
  ...{ source, target, from: repository, to: `copies/${repository}`, digest, still },
  tags: ['latest', 'more'] as Tag[],
  siblings: [],
  onTag: () => {},
});

test('a layer of half a gigabyte passes through little memory', async () => {
  const digest = await pushImage('team/large', [largeBlob(512)]);
  const before = process.memoryUsage.rss();
  let most = before;
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss());
  }, 20);
  await copyImage(copy('team/large', digest), signal);
  clearInterval(watch);
  expect((most - before) / 1024 ** 2).toBeLessThan(150);
  expect((await target.headManifest('copies/team/large', 'more' as Tag, signal))?.digest).toBe(digest);
});

test('an index is copied with its images, and each of them is served by its digest', async () => {
  const images = [
    await pushImage('team/many', [blobOf(Buffer.from('one'))]),
    await pushImage('team/many', [blobOf(Buffer.from('two'))]),
  ];
  const manifests = await Promise.all(
    images.map(async (digest) => {
      const found = await source.headManifest('team/many', digest, signal);
      return { mediaType: mediaTypes.ociManifest, digest, size: found?.size };
    }),
  );
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }));
  const index = await source.putManifest(
    'team/many',
    digestOf(bytes),
    { mediaType: mediaTypes.ociIndex, bytes },
    signal,
  );
  await copyImage(copy('team/many', index), signal);
  const there = await target.getManifest('copies/team/many', 'latest' as Tag, signal);
  expect({ digest: there.digest, same: there.bytes.equals(bytes) }).toEqual({ digest: index, same: true });
  for (const digest of images)
    expect((await target.headManifest('copies/team/many', digest, signal))?.digest).toBe(digest);
});

test('a copy that was broken off sends only what is missing', async () => {
  const layers = ['first', 'second', 'third'].map((text) => blobOf(Buffer.from(text.repeat(1000))));
  const digest = await pushImage('team/broken', layers);
  let steps = 0;
  const broken = copyImage(
    copy('team/broken', digest, async () => {
      steps += 1;
      if (steps === 4) throw new Error('the manager was ended');
    }),
    signal,
  );
  await expect(broken).rejects.toThrow('the manager was ended');
  const uploads = () => front.seen.filter((line) => /^PUT .*copies\/team\/broken\/blobs/.test(line)).length;
  expect(uploads()).toBe(3);
  await copyImage(copy('team/broken', digest), signal);
  expect(uploads()).toBe(4);
  await copyImage(copy('team/broken', digest), signal);
  expect(uploads()).toBe(4);
});

test('an image that is gone from ours is not the fault of theirs', async () => {
  const digest = digestOf(Buffer.from('nothing'));
  await expect(copyImage(copy('team/none', digest), signal)).rejects.toMatchObject({ code: 'unavailable' });
});
