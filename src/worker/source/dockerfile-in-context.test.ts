import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findBuildFiles } from './dockerfile-in-context.ts';

let base: string;
let root: string;

beforeEach(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), 'slipway-context-')));
  root = join(base, 'source');
  mkdirSync(root);
  writeFileSync(join(base, 'Dockerfile'), 'outside');
});

afterEach(() => rmSync(base, { recursive: true }));

function put(...paths: string[]): void {
  for (const path of paths) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), 'FROM scratch');
  }
}

function find(context: string, dockerfilePath: string) {
  return findBuildFiles({ root, context, dockerfilePath });
}

describe('findBuildFiles', () => {
  it('finds both, and the ignore file that counts', async () => {
    put('Dockerfile', 'app/docker/Dockerfile', 'app/.dockerignore');
    expect(await find('/', 'Dockerfile')).toEqual({ contextDir: root, dockerfile: join(root, 'Dockerfile') });
    const app = { contextDir: join(root, 'app'), dockerfile: join(root, 'app/docker/Dockerfile') };
    expect(await find('/app', 'docker/Dockerfile')).toEqual({
      ...app,
      ignoreFile: join(root, 'app/.dockerignore'),
    });
    put('app/docker/Dockerfile.dockerignore');
    expect(await find('/app', 'docker/Dockerfile')).toEqual({
      ...app,
      ignoreFile: join(root, 'app/docker/Dockerfile.dockerignore'),
    });
  });

  it('follows links that stay inside', async () => {
    put('real/deep/Dockerfile');
    symlinkSync('real', join(root, 'app'));
    symlinkSync('deep/../deep/Dockerfile', join(root, 'real/Dockerfile'));
    expect(await find('/app', 'Dockerfile')).toEqual({
      contextDir: join(root, 'real'),
      dockerfile: join(root, 'real/deep/Dockerfile'),
    });
  });

  it.each([
    ['../Dockerfile', 'up'],
    ['x/../../Dockerfile', 'up through a folder'],
    ['/etc/passwd', 'absolute'],
  ])('refuses a Dockerfile link to %s (%s)', async (target) => {
    put('x/file');
    symlinkSync(target, join(root, 'Dockerfile'));
    await expect(find('/', 'Dockerfile')).rejects.toMatchObject({
      code: 'dockerfilemissing',
      message: expect.stringContaining('leads out'),
    });
  });

  it('refuses a context and an ignore file that lead out, and a ring of links', async () => {
    symlinkSync('..', join(root, 'out'));
    symlinkSync('ring', join(root, 'ring'));
    await expect(find('/out', 'Dockerfile')).rejects.toMatchObject({ code: 'contextmissing' });
    await expect(find('/out/source', 'Dockerfile')).rejects.toMatchObject({ code: 'contextmissing' });
    await expect(find('/ring', 'Dockerfile')).rejects.toMatchObject({ code: 'contextmissing' });
    put('Dockerfile');
    symlinkSync('/etc/passwd', join(root, '.dockerignore'));
    await expect(find('/', 'Dockerfile')).rejects.toMatchObject({ code: 'dockerfileissue' });
    await expect(find('/', '../Dockerfile')).rejects.toMatchObject({ code: 'dockerfilemissing' });
  });

  it('says what is missing and what could be meant', async () => {
    await expect(find('/', 'Dockerfile')).rejects.toMatchObject({
      code: 'dockerfilemissing',
      message: expect.stringContaining('No file in it'),
    });
    put('svc/Dockerfile', 'prod.Dockerfile', 'Dockerfile.dockerignore', 'node_modules/x/Dockerfile');
    await expect(find('/', 'Dockerfile')).rejects.toMatchObject({
      code: 'dockerfilemissing',
      message: expect.stringContaining(': /prod.Dockerfile, /svc/Dockerfile. '),
    });
    await expect(find('/nowhere', 'Dockerfile')).rejects.toMatchObject({
      code: 'contextmissing',
      message: expect.stringContaining('/svc'),
    });
    await expect(find('/prod.Dockerfile', 'Dockerfile')).rejects.toMatchObject({ code: 'contextmissing' });
    await expect(find('/', 'svc')).rejects.toMatchObject({ code: 'dockerfileissue' });
    await expect(find('/', 'prod.Dockerfile/x')).rejects.toMatchObject({ code: 'dockerfilemissing' });
  });

  it('reads an absolute path as one from the root of the source', async () => {
    await expect(find('/', '/etc/passwd')).rejects.toMatchObject({ code: 'dockerfilemissing' });
  });
});
