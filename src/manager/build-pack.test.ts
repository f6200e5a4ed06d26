import fc from 'fast-check';
import { expect, test } from 'vitest';
import { askerOf, packPaths } from './build-pack.ts';

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
