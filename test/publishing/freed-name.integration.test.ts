import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Digest, digestOf } from '../../src/model/digest.ts';
import type { Tag } from '../../src/model/tag.ts';
import { mediaTypes } from '../../src/registry/oci-manifest.ts';
import { startWholeServer, type WholeServer } from '../harness/whole-server.ts';

/** What a repository leaves in the real registry and the real database when it is deleted: nothing. */
const { signal } = new AbortController();
let server: WholeServer;

beforeAll(async () => {
  server = await startWholeServer();
});
afterAll(async () => await server?.[Symbol.asyncDispose]());

const path = '/api/v1/repository/kim/app';
const create = async () => await server.call('POST', '/api/v1/repository', { repository: 'app' });
const isServed = async (reference: Tag | Digest) =>
  (await server.registry.client.headManifest('kim/app', reference, signal)) !== undefined;

test('whoever takes the name of a deleted repository gets no image, build or log of it', async () => {
  await create();
  const first = await server.build('app', ['LABEL a=1'], { docker_tags: ['v1'] });
  const second = await server.build('app', ['LABEL a=2'], { docker_tags: ['v1', 'v2'] });
  const digests = [first.digest, second.digest] as Digest[];
  expect(new Set(digests).size, JSON.stringify([first, second])).toBe(2);
  // An index with an image that nothing else knows, as it was pushed before manifests were remembered.
  const { client } = server.registry;
  const image = await client.getManifest('kim/app', second.digest as Digest, signal);
  const bytes = Buffer.from(`${image.bytes.toString('utf8')}\n`);
  const hidden = digestOf(bytes);
  await client.putManifest('kim/app', hidden, { mediaType: image.mediaType, bytes }, signal);
  const entry = { mediaType: image.mediaType, digest: hidden, size: bytes.length };
  const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [entry] };
  const indexBytes = Buffer.from(JSON.stringify(index));
  const all = { mediaType: mediaTypes.ociIndex, bytes: indexBytes };
  digests.push(hidden, await client.putManifest('kim/app', 'all' as Tag, all, signal));
  for (const digest of digests) expect(await isServed(digest), digest).toBe(true);

  const deleted = await server.call('DELETE', path);
  expect([deleted.status, deleted.text]).toEqual([204, '']);
  for (const digest of digests) expect(await isServed(digest), digest).toBe(false);
  expect(await client.listTags('kim/app', signal)).toEqual([]);

  expect((await create()).status).toBe(201);
  expect((await server.call('GET', `${path}/build/`)).json).toEqual({ builds: [] });
  for (const { id } of [first, second]) {
    expect((await server.call('GET', `${path}/build/${id}`)).status).toBe(404);
    expect((await server.call('GET', `${path}/build/${id}/logs`)).status).toBe(404);
  }
  for (const table of ['log_heads', 'log_archives', 'registry_pushes', 'registry_manifests'] as const)
    expect(await server.database.sql.selectFrom(table).selectAll().execute(), table).toEqual([]);
});

test('what was pushed while a repository was being deleted goes before the name is taken', async () => {
  await create();
  const { digest } = await server.build('app', ['LABEL a=3'], { docker_tags: ['late'] });
  // As if the push had come after the last look for images.
  await server.database.sql.deleteFrom('builds').execute();
  await server.accounts.deleteRepository({ namespace: 'kim', name: 'app' });
  expect(await isServed(digest as Digest)).toBe(true);
  expect((await create()).status).toBe(201);
  expect(await isServed(digest as Digest)).toBe(false);
});
