import { posix } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ContextError } from './context-error.ts';
import { type DockerfileRequest, forBuildPack, locateDockerfile } from './dockerfile-path.ts';

describe('locateDockerfile', () => {
  it.each<[DockerfileRequest, string, string]>([
    [{}, '/', '/Dockerfile'],
    [{ context: '/' }, '/', '/Dockerfile'],
    [{ context: '/some_path' }, '/some_path', '/some_path/Dockerfile'],
    [{ context: '/some_path/' }, '/some_path', '/some_path/Dockerfile'],
    [{ subdirectory: '/some_path' }, '/some_path', '/some_path/Dockerfile'],
    [{ subdirectory: 'some_path/' }, '/some_path', '/some_path/Dockerfile'],
    [{ subdirectory: '/a', context: '/b' }, '/a', '/a/Dockerfile'],
    [{ dockerfilePath: '/Dockerfile' }, '/', '/Dockerfile'],
    [{ dockerfilePath: 'a/b/Dockerfile.dev' }, '/a/b', '/a/b/Dockerfile.dev'],
    [{ dockerfilePath: '/a/b/Dockerfile', context: '/' }, '/', '/a/b/Dockerfile'],
    [{ dockerfilePath: '/a/b/Dockerfile', context: '/a' }, '/a', '/a/b/Dockerfile'],
    [{ dockerfilePath: '/a/Dockerfile', context: '/c' }, '/c', '/a/Dockerfile'],
    [{ dockerfilePath: '/a/Dockerfile', subdirectory: '/c' }, '/a', '/a/Dockerfile'],
    [{ dockerfilePath: './/a/./Dockerfile' }, '/a', '/a/Dockerfile'],
    [{ dockerfilePath: '', subdirectory: '', context: '' }, '/', '/Dockerfile'],
    [
      { dockerfilePath: '/with space/ümlaut/Dockerfile' },
      '/with space/ümlaut',
      '/with space/ümlaut/Dockerfile',
    ],
  ])('%j', (request, context, dockerfilePath) => {
    expect(locateDockerfile(request)).toMatchObject({ context, dockerfilePath });
  });

  it.each<DockerfileRequest>([
    { dockerfilePath: '../../etc/passwd' },
    { dockerfilePath: '/../Dockerfile' },
    { dockerfilePath: 'a/../Dockerfile' },
    { dockerfilePath: 'a\\Dockerfile' },
    { dockerfilePath: 'a\0b' },
    { dockerfilePath: 'a\nb' },
    { dockerfilePath: '/' },
    { dockerfilePath: 'a/' },
    { dockerfilePath: 'a/.' },
    { dockerfilePath: '.' },
    { dockerfilePath: 'x'.repeat(256) },
    { dockerfilePath: 'x/'.repeat(600) },
    { context: '..' },
    { subdirectory: 'a/..' },
    { dockerfilePath: '/Dockerfile', context: '/..' },
  ])('refuses %j', (request) => {
    expect(() => locateDockerfile(request)).toThrow(ContextError);
    expect(() => locateDockerfile(request)).toThrow(expect.objectContaining({ code: 'bad-path' }));
  });
});

describe('forBuildPack', () => {
  it.each<[DockerfileRequest, string, string]>([
    [{}, '/', 'Dockerfile'],
    [{ dockerfilePath: '/a/b/Dockerfile', context: '/a' }, '/a', 'b/Dockerfile'],
    [{ dockerfilePath: '/a/b/Dockerfile', context: '/a/b' }, '/a/b', 'Dockerfile'],
    [{ dockerfilePath: '/a/b/Dockerfile', context: '/c' }, '/a/b', 'Dockerfile'],
    [{ dockerfilePath: '/ab/Dockerfile', context: '/a' }, '/ab', 'Dockerfile'],
    [{ dockerfilePath: '/Dockerfile', context: '/a' }, '/', 'Dockerfile'],
  ])('%j', (request, context, dockerfilePath) => {
    expect(forBuildPack(locateDockerfile(request))).toEqual({ context, dockerfilePath });
  });
});

describe('any path', () => {
  const path = fc.oneof(
    fc.string(),
    fc
      .array(fc.constantFrom('a', '..', '.', '', 'b c', '…', 'Dockerfile'), { maxLength: 6 })
      .map((names) => names.join('/')),
  );

  it('is refused, or stays inside the source and means the same to the worker', () => {
    fc.assert(
      fc.property(path, path, path, (dockerfilePath, subdirectory, context) => {
        let located: ReturnType<typeof locateDockerfile>;
        try {
          located = locateDockerfile({ dockerfilePath, subdirectory, context });
        } catch (error) {
          expect(error).toBeInstanceOf(ContextError);
          return;
        }
        for (const each of [located.context, located.dockerfilePath]) {
          expect(posix.resolve('/', each)).toBe(each);
          expect(each).not.toMatch(/(^|\/)\.\.(\/|$)/);
        }
        const pack = forBuildPack(located);
        expect(posix.join(pack.context, pack.dockerfilePath)).toBe(located.dockerfilePath);
        expect(
          locateDockerfile({ dockerfilePath: located.dockerfilePath, context: located.context }),
        ).toMatchObject({
          context: located.context,
          dockerfilePath: located.dockerfilePath,
        });
      }),
      { numRuns: 500 },
    );
  });
});
