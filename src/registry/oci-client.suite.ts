import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Digest, digestOf } from '../model/digest.ts';
import type { Tag } from '../model/tag.ts';
import type { OciClient } from './oci-client.ts';
import { mediaTypes, type StoredManifest } from './oci-manifest.ts';
import { imageSize, publish, putBack, type TagFence } from './publish.ts';

const open: TagFence = { before: async () => true, written: async () => true };

export interface RegistryUnderTest {
  readonly client: OciClient;
  /** A repository nobody used before, which the client may pull from, push to and delete in. */
  newRepository(): string;
  stop(): Promise<void>;
}

/** What the client must be able to do with every registry. */
export function ociClientSuite(name: string, start: () => Promise<RegistryUnderTest>): void {
  describe(`OCI client with ${name}`, () => {
    let registry: RegistryUnderTest;
    let client: OciClient;
    const signal = AbortSignal.timeout(120_000);
    const absent = digestOf('nobody pushed this');
    const tag = (text: string) => text as Tag;

    beforeAll(async () => {
      registry = await start();
      client = registry.client;
    });
    afterAll(async () => {
      client.close();
      await registry.stop();
    });

    async function putBlob(repository: string, bytes: Buffer, chunkSize?: number): Promise<Digest> {
      const source = { digest: digestOf(bytes), size: bytes.length, open: () => Readable.from([bytes]) };
      await client.putBlob(repository, source, signal, chunkSize);
      return source.digest;
    }

    async function putImage(
      repository: string,
      extra: Readonly<Record<string, unknown>> = {},
    ): Promise<StoredManifest & { layer: Buffer; config: Buffer }> {
      const layer = randomBytes(2_000);
      const config = Buffer.from(
        JSON.stringify({ os: 'linux', architecture: 'amd64', id: randomBytes(4).toString('hex') }),
      );
      await putBlob(repository, layer);
      await putBlob(repository, config);
      const describe = (mediaType: string, bytes: Buffer) => ({
        mediaType,
        digest: digestOf(bytes),
        size: bytes.length,
      });
      const manifest = {
        schemaVersion: 2,
        mediaType: mediaTypes.ociManifest,
        config: describe('application/vnd.oci.image.config.v1+json', config),
        layers: [describe('application/vnd.oci.image.layer.v1.tar', layer)],
        ...extra,
      };
      const bytes = Buffer.from(JSON.stringify(manifest));
      const stored = { mediaType: mediaTypes.ociManifest, bytes, digest: digestOf(bytes) };
      await client.putManifest(repository, stored.digest, stored, signal);
      return { ...stored, layer, config };
    }

    test('is reachable', async () => {
      await expect(client.ping(signal)).resolves.toBeUndefined();
    });

    test('uploads a blob whole and gives it back', async () => {
      const repository = registry.newRepository();
      const bytes = randomBytes(300_000);
      const digest = await putBlob(repository, bytes);
      expect(await client.headBlob(repository, digest, signal)).toBe(bytes.length);
      const { size, stream } = await client.getBlob(repository, digest, signal);
      expect(size).toBe(bytes.length);
      expect((await buffer(stream)).equals(bytes)).toBe(true);
    });

    test.each([1, 99_999, 100_000, 250_000, 1_000_000])(
      'uploads a blob in chunks of %d bytes',
      async (chunkSize) => {
        const repository = registry.newRepository();
        const bytes = randomBytes(chunkSize === 1 ? 3 : 250_000);
        const digest = await putBlob(repository, bytes, chunkSize);
        const { stream } = await client.getBlob(repository, digest, signal);
        expect((await buffer(stream)).equals(bytes)).toBe(true);
      },
    );

    test('uploads an empty blob, both ways', async () => {
      const repository = registry.newRepository();
      const empty = Buffer.alloc(0);
      await putBlob(repository, empty);
      expect(await client.headBlob(repository, digestOf(empty), signal)).toBe(0);
      const other = registry.newRepository();
      await putBlob(other, empty, 10);
      expect(await client.headBlob(other, digestOf(empty), signal)).toBe(0);
    });

    test('a blob that is not its digest is refused', async () => {
      const repository = registry.newRepository();
      const source = { digest: absent, size: 3, open: () => Readable.from([Buffer.from('abc')]) };
      await expect(client.putBlob(repository, source, signal)).rejects.toMatchObject({
        name: 'RegistryError',
        code: 'invalid',
      });
      expect(await client.headBlob(repository, absent, signal)).toBeUndefined();
    });

    test('mounts a blob of another repository', async () => {
      const from = registry.newRepository();
      const digest = await putBlob(from, randomBytes(1_000));
      const to = registry.newRepository();
      expect(await client.mountBlob(to, from, digest, signal)).toBe(true);
      expect(await client.headBlob(to, digest, signal)).toBe(1_000);
      expect(await client.mountBlob(to, from, absent, signal)).toBe(false);
    });

    test('stores a manifest under a tag and finds it by tag and digest', async () => {
      const repository = registry.newRepository();
      const image = await putImage(repository);
      expect(await client.putManifest(repository, tag('v1'), image, signal)).toBe(image.digest);
      for (const reference of [tag('v1'), image.digest]) {
        expect(await client.getManifest(repository, reference, signal)).toEqual({
          digest: image.digest,
          mediaType: image.mediaType,
          bytes: image.bytes,
        });
        expect(await client.headManifest(repository, reference, signal)).toEqual({
          digest: image.digest,
          mediaType: image.mediaType,
          size: image.bytes.length,
        });
      }
    });

    test('stores an index of images, and adds up what they take', async () => {
      const repository = registry.newRepository();
      const images = [await putImage(repository), await putImage(repository)];
      const manifests = images.map(({ digest, mediaType, bytes }, n) => ({
        mediaType,
        digest,
        size: bytes.length,
        platform: { os: 'linux', architecture: n === 0 ? 'amd64' : 'arm64' },
      }));
      const bytes = Buffer.from(
        JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }),
      );
      const index = { mediaType: mediaTypes.ociIndex, bytes };
      const digest = await client.putManifest(repository, tag('all'), index, signal);
      expect(await client.getManifest(repository, digest, signal)).toEqual({ ...index, digest });
      const blobs = images.flatMap(({ layer, config }) => [layer.length, config.length]);
      expect(await imageSize(client, repository, digest, signal)).toEqual({
        bytes: blobs.reduce((sum, length) => sum + length),
        layers: 2,
      });
    });

    test('what is not there is absent, or an error that says so', async () => {
      const repository = registry.newRepository();
      expect(await client.headManifest(repository, tag('none'), signal)).toBeUndefined();
      expect(await client.listTags(repository, signal)).toEqual([]);
      expect(await client.deleteManifest(repository, absent, signal)).toBe(false);
      await expect(client.getManifest(repository, tag('none'), signal)).rejects.toMatchObject({
        code: 'manifest-unknown',
        message: expect.stringContaining(`${repository}:none`),
      });
      await putImage(repository);
      await expect(client.getBlob(repository, absent, signal)).rejects.toMatchObject({
        code: 'blob-unknown',
      });
      await expect(client.getManifest(repository, absent, signal)).rejects.toMatchObject({
        code: 'manifest-unknown',
      });
    });

    test('a manifest whose layers are missing is refused', async () => {
      const repository = registry.newRepository();
      const image = await putImage(registry.newRepository());
      await expect(client.putManifest(repository, tag('v1'), image, signal)).rejects.toMatchObject({
        code: 'blob-unknown',
      });
    });

    test('lists tags', async () => {
      const repository = registry.newRepository();
      const image = await putImage(repository);
      for (const name of ['c', 'a', 'b']) await client.putManifest(repository, tag(name), image, signal);
      expect((await client.listTags(repository, signal)).toSorted()).toEqual(['a', 'b', 'c']);
    });

    test('deletes a manifest with its tags', async () => {
      const repository = registry.newRepository();
      const image = await putImage(repository);
      await client.putManifest(repository, tag('v1'), image, signal);
      expect(await client.deleteManifest(repository, image.digest, signal)).toBe(true);
      expect(await client.headManifest(repository, tag('v1'), signal)).toBeUndefined();
      expect(await client.deleteManifest(repository, image.digest, signal)).toBe(false);
    });

    test('keeps referrers', async () => {
      const repository = registry.newRepository();
      const image = await putImage(repository);
      expect(await client.referrers(repository, image.digest, signal)).toEqual([]);
      const subject = { mediaType: image.mediaType, digest: image.digest, size: image.bytes.length };
      const pushed: Digest[] = [];
      for (const artifactType of ['application/x.signature', 'application/x.sbom']) {
        const artifact = await putImage(repository, { subject, artifactType });
        pushed.push(await client.putReferrer(repository, image.digest, artifact, signal));
        await client.putReferrer(repository, image.digest, artifact, signal);
      }
      const found = await client.referrers(repository, image.digest, signal);
      expect(found.map((entry) => entry.digest).toSorted()).toEqual(pushed.toSorted());
      const only = await client.referrers(repository, image.digest, signal, 'application/x.sbom');
      expect(only.map((entry) => entry.digest)).toEqual(pushed.slice(1));
    });

    test('publishes tags for what was pushed by digest, as often as asked', async () => {
      const repository = registry.newRepository();
      const first = await putImage(repository);
      const tags = [tag('latest'), tag('v1')];
      for (let n = 0; n < 2; n += 1) {
        const written: (readonly string[])[] = [];
        const fence: TagFence = {
          before: async () => true,
          written: async (...given) => written.push(given) > 0,
        };
        const publication = { repository, digest: first.digest, tags };
        expect(await publish(client, publication, fence, signal)).toBe('published');
        expect(written).toEqual(tags.map((each) => [each, first.mediaType]));
      }
      const second = await putImage(repository);
      const newer = { repository, digest: second.digest, tags: [tag('latest')] };
      await publish(client, newer, open, signal);
      expect((await client.headManifest(repository, tag('latest'), signal))?.digest).toBe(second.digest);
      expect((await client.headManifest(repository, tag('v1'), signal))?.digest).toBe(first.digest);
    });

    test('publishes no further tag than it may', async () => {
      const repository = registry.newRepository();
      const { digest } = await putImage(repository);
      const publication = { repository, digest, tags: [tag('a'), tag('b'), tag('c')] };
      const times = (left: number) => async () => left-- > 0;
      expect(await publish(client, publication, { ...open, before: times(1) }, signal)).toBe('lost');
      expect(await client.listTags(repository, signal)).toEqual(['a']);
      expect(await publish(client, publication, { ...open, written: times(1) }, signal)).toBe('lost');
      expect((await client.listTags(repository, signal)).toSorted()).toEqual(['a', 'b']);
    });

    test('puts a tag back to what was recorded last, also when that changes meanwhile', async () => {
      const repository = registry.newRepository();
      const old = await putImage(repository);
      const newer = await putImage(repository);
      const newest = await putImage(repository);
      const all = [tag('moved'), tag('own'), tag('same'), tag('gone')];
      await publish(client, { repository, digest: old.digest, tags: all }, open, signal);
      const records = new Map([
        ['moved', [newer.digest, newest.digest]],
        ['same', [old.digest]],
        ['gone', [absent]],
        ['deleted', [old.digest]],
      ]);
      const recorded = async (_: string, name: string) => {
        const known = records.get(name) ?? [];
        return known.length > 1 ? known.shift() : known[0];
      };
      await putBack(client, { repository, tags: [...all, tag('deleted')] }, { recorded }, signal);
      const served = async (name: string) =>
        (await client.headManifest(repository, tag(name), signal))?.digest;
      expect(await served('moved')).toBe(newest.digest);
      expect(await served('own')).toBe(old.digest);
      expect(await served('same')).toBe(old.digest);
      expect(await served('gone')).toBe(old.digest);
      expect(await served('deleted')).toBeUndefined();
    });

    test('publishes nothing of what is not there', async () => {
      const repository = registry.newRepository();
      await putImage(repository);
      await expect(
        publish(client, { repository, digest: absent, tags: [tag('v1')] }, open, signal),
      ).rejects.toMatchObject({
        code: 'manifest-unknown',
      });
      expect(await client.listTags(repository, signal)).toEqual([]);
    });

    test('stops at an abort with the reason it was given', async () => {
      const repository = registry.newRepository();
      const abort = new AbortController();
      const reason = new Error('enough');
      abort.abort(reason);
      await expect(client.listTags(repository, abort.signal)).rejects.toBe(reason);
      const during = new AbortController();
      const source = {
        digest: absent,
        size: 1_000_000,
        open: () =>
          Readable.from(
            (async function* () {
              yield Buffer.alloc(1_000);
              during.abort(reason);
              yield Buffer.alloc(1_000);
            })(),
          ),
      };
      await expect(client.putBlob(repository, source, during.signal)).rejects.toBe(reason);
    });
  });
}
