import fc from 'fast-check';
import { expect, test } from 'vitest';
import { request } from '../queue/build-queue.suite.ts';
import { askerOf, buildPack, packPaths } from './build-pack.ts';

test.each([
  ['/', '/Dockerfile', '/', 'Dockerfile'],
  ['/', '/a/Dockerfile', '/', 'a/Dockerfile'],
  ['/a', '/a/Dockerfile', '/a', 'Dockerfile'],
  ['/a/', '/a/b/Dockerfile', '/a', 'b/Dockerfile'],
  ['/a', '/b/Containerfile', '/b', 'Containerfile'],
  ['/a', '/ab/Dockerfile', '/ab', 'Dockerfile'],
  ['/a', '/Dockerfile', '/', 'Dockerfile'],
  ['/../..', '/../../etc/passwd', '/', 'etc/passwd'],
])('context %s and Dockerfile %s', (context, dockerfilePath, folder, file) => {
  expect(packPaths({ context, dockerfilePath })).toEqual({ context: folder, dockerfilePath: file });
});

test('the Dockerfile is always below its context, and never leads out of the source', () => {
  const path = fc
    .array(fc.constantFrom('a', 'b', '..', '.', ''), { maxLength: 6 })
    .map((parts) => `/${parts.join('/')}`);
  fc.assert(
    fc.property(path, path, (context, folder) => {
      const made = packPaths({ context, dockerfilePath: `${folder}/Dockerfile` });
      expect(made.context.startsWith('/')).toBe(true);
      expect(`${made.context}/${made.dockerfilePath}`.split('/')).not.toContain('..');
      expect(made.dockerfilePath.startsWith('/')).toBe(false);
      expect(made.dockerfilePath.endsWith('Dockerfile')).toBe(true);
    }),
  );
});

test('a build pulls as its pull robot, else as whoever asked for it', () => {
  expect(askerOf({ manualUser: 'kim', pullRobot: 'team+ci' })).toEqual({ asker: 'team+ci' });
  expect(askerOf({ manualUser: 'kim' })).toEqual({ asker: 'kim' });
  expect(askerOf({})).toEqual({});
});

test('only a build of the namespace’s own source gets its credentials for base images', async () => {
  const registry = { registry: 'quay.example', username: 'u', password: 'p', insecure: false };
  const asked: string[] = [];
  const rights: unknown[] = [];
  const packed = async (
    changes: { readonly untrusted?: boolean; readonly push?: boolean; readonly manualUser?: string },
    byDigest = true,
  ) => {
    const { registryCredentials } = await buildPack(
      {
        identity: { buildId: 'b', jobId: 'j', attemptId: 'a', epoch: 1 } as never,
        build: {
          ...request(),
          id: 'b',
          source: { kind: 'archive', url: 'https://x.example/a.tar' },
          ...changes,
        } as never,
        platform: '',
        byDigest,
        expiresAt: 0,
        maxSeconds: 1,
      },
      {
        queue: { secrets: async () => [] },
        links: { packageUrl: async () => undefined },
        credentials: {
          openings: [],
          issue: async ({ push, untrusted, asker }) => {
            rights.push({ push: push.kind, untrusted, asker });
            return { pullToken: '', pushToken: '' };
          },
        },
        hostKeys: { known: async () => [] },
        baseImages: {
          ofNamespace: async (namespace) => {
            asked.push(namespace);
            return [registry];
          },
        },
        site: { registryHost: '', registryInsecure: true, maxSourceBytes: 1, allowedPrivateHosts: [] },
      },
    );
    return registryCredentials;
  };
  expect(await packed({})).toEqual([registry]);
  expect(asked).toEqual([request().repository.namespace]);
  expect(await packed({ untrusted: true, push: false, manualUser: 'kim' })).toEqual([]);
  expect(asked).toHaveLength(1);
  await packed({ push: false, manualUser: 'kim' }, false);
  await packed({ push: true }, false);
  expect(rights).toEqual([
    { push: 'by-digest', untrusted: false, asker: undefined },
    // Nor does it act as anybody, or push.
    { push: 'nothing', untrusted: true, asker: undefined },
    { push: 'nothing', untrusted: false, asker: 'kim' },
    { push: 'tags', untrusted: false, asker: undefined },
  ]);
});
