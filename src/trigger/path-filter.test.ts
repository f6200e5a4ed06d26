import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { faultsOfPathFilters, PathFilter } from './path-filter.ts';

describe('path filters', () => {
  it.each<[string[], string, boolean]>([
    [['src/**'], 'src/a/b.ts', true],
    [['src/**'], 'lib/src/a.ts', false],
    [['src/'], 'src/a/b.ts', true],
    [['src/*.ts'], 'src/a.ts', true],
    [['src/*.ts'], 'src/a/b.ts', false],
    [['*.md'], 'docs/deep/a.md', true],
    [['*.md'], 'a.mdx', false],
    [['/Dockerfile'], 'Dockerfile', true],
    [['/Dockerfile'], 'app/Dockerfile', false],
    [['Dockerfile'], 'app/Dockerfile', true],
    [['**/test/**'], 'a/b/test/c', true],
    [['**/test/**'], 'test/c', true],
    [['a/**/z'], 'a/z', true],
    [['a/**/z'], 'a/b/c/z', true],
    [['file?.txt'], 'file1.txt', true],
    [['file[0-9].txt'], 'filex.txt', false],
    [['file[!0-9].txt'], 'filex.txt', true],
    [['{src,lib}/*.ts'], 'lib/a.ts', true],
    [['{src,lib}/*.ts'], 'bin/a.ts', false],
    [['a+b(c).txt'], 'a+b(c).txt', true],
    [['**', '!docs/**'], 'docs/a.md', false],
    [['**', '!docs/**'], 'src/a.md', true],
    [['!docs/**'], 'docs/a.md', false],
    [['!docs/**'], 'src/a.ts', true],
    [['*'], 'new\nline', true],
  ])('%j and %j', (filters, path, passes) => {
    expect(new PathFilter(filters).passes([path])).toBe(passes);
  });

  it('passes when one path of many does', () => {
    expect(new PathFilter(['src/**']).passes(['a', 'b', 'src/c'])).toBe(true);
    expect(new PathFilter(['src/**']).passes([])).toBe(false);
  });

  it('tells filters that are none', () => {
    expect(faultsOfPathFilters(['src/**', '', '!', '{a,b', '[z-a]'])).toHaveLength(4);
    expect(faultsOfPathFilters(Array.from({ length: 200 }, () => 'a'))).toHaveLength(1);
  });

  it('takes any text, and without wildcards matches that path alone', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'binary' })),
        fc.array(fc.string({ unit: 'binary' })),
        (filters, paths) => {
          expect(typeof new PathFilter(filters).passes(paths)).toBe('boolean');
          faultsOfPathFilters(filters);
        },
      ),
    );
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z.+()^$|]{1,20}\/[a-z.+()^$|]{1,20}$/), (path) => {
        expect(new PathFilter([path]).passes([path])).toBe(true);
        expect(new PathFilter([path]).passes([`${path}x`])).toBe(false);
      }),
    );
  });
});
