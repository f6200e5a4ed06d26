import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SourceError } from './source-error.ts';
import { expectFolders, readSubmodules } from './submodules.ts';

const commit = 'a'.repeat(40);
const settingsOf = (path: string, url: string) => `submodule.lib.path\n${path}\0submodule.lib.url\n${url}\0`;
const read = (...paths: string[]) =>
  readSubmodules(
    new Map(paths.map((path) => [path, commit])),
    paths.map((path) => settingsOf(path, 'https://git.example/lib')).join(''),
  );

describe('readSubmodules', () => {
  it('joins what the tree and .gitmodules say', () => {
    expect(
      readSubmodules(
        new Map([
          ['a', commit],
          ['b/c', commit],
        ]),
        `submodule.x.y.path\nb/c/\0submodule.x.y.url\n../c.git\0`,
      ),
    ).toEqual([
      { path: 'a', commit },
      { path: 'b/c', commit, url: '../c.git' },
    ]);
  });

  it.each([
    'lib\r',
    'lib\nx',
    'a\x1b[2Jb',
    '../lib',
    'a/../../b',
    'a/./b',
    'a//b',
    '.git',
    '.git/hooks',
    'a/.GIT/b',
    '.git.',
    '.git ',
    'git~1',
    '.g\u200cit',
    '.git\\x',
    '\xff\xfe',
  ])('refuses the path %j', (path) => {
    expect(() => read(Buffer.from(path).toString('latin1'))).not.toThrow(TypeError);
    const raw = path === '\xff\xfe' ? path : Buffer.from(path).toString('latin1');
    expect(() => read(raw)).toThrow(expect.objectContaining({ name: 'SourceError', code: 'gitfailure' }));
  });

  it.each([
    ['Lib', 'lib'],
    ['a/b', 'A/B'],
    ['\u00e9', 'e\u0301'],
  ])('refuses %s beside %s', (a, b) => {
    const raw = [a, b].map((path) => Buffer.from(path).toString('latin1'));
    expect(() => read(...raw)).toThrow(/upper and lower case/);
  });

  it('refuses a URL with a control character', () => {
    expect(() => readSubmodules(new Map([['lib', commit]]), settingsOf('lib', 'https://x/\ry'))).toThrow(
      /control character/,
    );
  });

  it('gives only paths that stay inside, whatever is written', () => {
    const name = fc.constantFrom('a', 'B', '.', '..', '.git', '.GIT', '', 'git~1', '\r', '-x');
    fc.assert(
      fc.property(fc.array(name, { minLength: 1, maxLength: 5 }), fc.string(), (names, settings) => {
        try {
          for (const { path } of readSubmodules(new Map([[names.join('/'), commit]]), settings)) {
            expect(path.split('/')).not.toContain('..');
            expect(path).not.toMatch(/(^|\/)\.git(\/|$)|[\0-\x1f]|^\/|\/\//i);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(SourceError);
        }
      }),
    );
  });
});

it('a submodule is not put behind a link', () => {
  const root = mkdtempSync(join(tmpdir(), 'slipway-submodule-'));
  try {
    mkdirSync(join(root, 'real/lib'), { recursive: true });
    symlinkSync('real', join(root, 'link'));
    symlinkSync('/etc', join(root, 'etc'));
    expectFolders(root, 'real/lib');
    for (const path of ['link/lib', 'etc', 'nowhere', 'real/nowhere'])
      expect(() => expectFolders(root, path), path).toThrow(/not at a folder of its own/);
  } finally {
    rmSync(root, { recursive: true });
  }
});
