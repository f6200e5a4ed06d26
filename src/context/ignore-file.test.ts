import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ContextError } from './context-error.ts';
import { IgnoreFile, ignoreFileNames } from './ignore-file.ts';

function excluded(text: string, ...paths: string[]): boolean[] {
  const file = IgnoreFile.parse(text);
  return paths.map((path) => file.excludes(path));
}

describe('one pattern', () => {
  it.each<[string, string, boolean]>([
    ['foo', 'foo', true],
    ['foo', 'foo/bar', true],
    ['foo', 'a/foo', false],
    ['foo', 'foobar', false],
    ['/foo', 'foo', true],
    ['//foo/', 'foo/x', true],
    ['foo/', 'foo', true],
    ['./foo/./bar/..', 'foo/x', true],
    ['  foo  ', 'foo', true],
    ['a/b', 'a/b/c', true],
    ['a/b', 'a', false],
    ['*', 'a', true],
    ['*', 'a/b', true],
    ['*', '.hidden', true],
    ['*/b', 'a/b', true],
    ['*/b', 'b', false],
    ['*/b', 'x/a/b', false],
    ['*.md', 'a.md', true],
    ['*.md', 'd/a.md', false],
    ['*/*.md', 'd/a.md', true],
    ['a*c', 'abbc', true],
    ['a*c', 'a/c', false],
    ['a?c', 'abc', true],
    ['a?c', 'a/c', false],
    ['a?c', 'ac', false],
    ['a?c', 'aüc', true],
    ['temp?', 'temp', false],
    ['[ab]', 'a', true],
    ['[ab]', 'c', false],
    ['[a-c]x', 'bx', true],
    ['[^a-c]x', 'bx', false],
    ['[^a-c]x', 'dx', true],
    ['[!a]x', 'bx', false],
    ['[!a]x', '!x', true],
    ['[\\]]', ']', true],
    ['\\*', '*', true],
    ['\\*', 'a', false],
    ['a\\b', 'ab', true],
    ['**', 'a', true],
    ['**', 'a/b/c', true],
    ['**/', 'a/b', true],
    ['**/foo', 'foo', true],
    ['**/foo', 'a/foo', true],
    ['**/foo', 'a/b/foo/c', true],
    ['**/foo', 'xfoo', false],
    ['**foo', 'xfoo', true],
    ['**foo', 'a/xfoo', true],
    ['**/*.go', 'a.go', true],
    ['**/*.go', 'a/b/c.go', true],
    ['**/*.go', 'a.gox', false],
    ['foo/**', 'foo', false],
    ['foo/**', 'foo/a', true],
    ['foo/**', 'foo/a/b', true],
    ['foo**', 'foobar/x', true],
    ['foo**', 'foo', true],
    ['a/**/b', 'a/b', true],
    ['a/**/b', 'a/x/b', true],
    ['a/**/b', 'a/x/y/b', true],
    ['a/**/b', 'a/xb', false],
    ['a**b', 'ab', true],
    ['a**b', 'ax/b', true],
    ['a**b', 'axb', false],
    ['**/a/**/b', 'x/a/y/b', true],
    ['**/a/**', 'x/a/y', true],
    ['**/.git', '.git', true],
    ['.git', '.github', false],
    ['.', 'a', false],
    ['/', 'a', false],
    ['./', 'a', false],
    ['a.b', 'axb', false],
    ['a+(b)$', 'a+(b)$', true],
    ['a{b}*', 'a{b}c', true],
    [' # no comment', '# no comment', true],
    ['../x', 'x', false],
    ['x/../y', 'y', true],
    ['name with space', 'name with space', true],
    ['üml*', 'ümlaut', true],
  ])('%s on %s: %s', (pattern, path, expected) => {
    expect(excluded(pattern, path)).toEqual([expected]);
  });
});

describe('a file', () => {
  it('lets the last pattern that matches win', () => {
    expect(excluded('*.md\n!README.md', 'a.md', 'README.md')).toEqual([true, false]);
    expect(excluded('!README.md\n*.md', 'README.md')).toEqual([true]);
    expect(excluded('*.md\n!README*.md\nREADME-secret.md', 'README.md', 'README-secret.md', 'x.md')).toEqual([
      false,
      true,
      true,
    ]);
  });

  it('brings back a file, a folder or what lies deep in an excluded folder', () => {
    expect(excluded('d\n!d/keep', 'd', 'd/x', 'd/keep', 'd/keep/below')).toEqual([true, true, false, false]);
    expect(excluded('*\n!src/**\nsrc/**/*.test.ts', 'a', 'src/a.ts', 'src/b/c.test.ts')).toEqual([
      true,
      false,
      true,
    ]);
    expect(excluded('d\n!d\nd/x', 'd/y', 'd/x')).toEqual([false, true]);
    expect(excluded('* \n! keep ', 'keep', 'other')).toEqual([false, true]);
    expect(excluded('*\n!/keep/', 'keep/x')).toEqual([false]);
  });

  it('passes over comments, blank lines, a byte order mark and carriage returns', () => {
    expect(excluded('\uFEFF#c\r\n\r\n  \r\nfoo\r\n#foo/bar', 'foo', 'c', '#c')).toEqual([true, false, false]);
    expect(excluded('\uFEFFfoo', 'foo')).toEqual([true]);
  });

  it.each(['a\n!', '!  ', 'x\n[', '[a', '[]a]', '[-a]', 'a\\', '[a-'])(
    'refuses %j and names the line',
    (text) => {
      expect(() => IgnoreFile.parse(text)).toThrow(ContextError);
      expect(() => IgnoreFile.parse(text)).toThrow(expect.objectContaining({ code: 'bad-ignore-file' }));
      expect(() => IgnoreFile.parse(text, 'x.dockerignore')).toThrow(
        `Line ${text.split('\n').length} of x.dockerignore`,
      );
    },
  );

  it("prefers the Dockerfile's own ignore file", () => {
    expect(ignoreFileNames('docker/App.Dockerfile')).toEqual([
      'docker/App.Dockerfile.dockerignore',
      '.dockerignore',
    ]);
  });

  it('takes no time for patterns that make a backtracking matcher take forever', () => {
    const started = performance.now();
    expect(excluded(`${'a*'.repeat(40)}b`, 'a'.repeat(200))).toEqual([false]);
    expect(excluded(`${'**/a/'.repeat(30)}b`, 'a/'.repeat(200).slice(0, -1))).toEqual([false]);
    expect(performance.now() - started).toBeLessThan(2000);
  });
});

/** moby's own way: each pattern becomes a regular expression, and each parent folder is tried. */
function referenceExcludes(text: string, path: string): boolean {
  let matched = false;
  for (const line of text.split('\n')) {
    if (line === '' || line === '!') continue;
    const negative = line.startsWith('!');
    const pattern = negative ? line.slice(1) : line;
    let expression = '';
    let plain = true;
    const chars = [...pattern];
    for (let i = 0; i < chars.length; i++) {
      if (chars[i] === '*' && chars[i + 1] === '*') {
        const first = i === 0;
        i++;
        const slash = chars[i + 1] === '/';
        if (slash) i++;
        if (i + 1 >= chars.length) expression += '[^]*';
        else expression += first && !slash && !/[*?]/.test(pattern.slice(2)) ? '[^]*' : '([^\\n]*/)?';
        plain = false;
      } else if (chars[i] === '*') {
        expression += '[^/]*';
        plain = false;
      } else if (chars[i] === '?') {
        expression += '[^/]';
        plain = false;
      } else expression += (chars[i] ?? '').replace(/[.+()|{}$^]/, '\\$&');
    }
    const test = (each: string) => (plain ? each === pattern : new RegExp(`^${expression}$`, 'u').test(each));
    const names = path.split('/');
    if (names.some((_, i) => test(names.slice(0, i + 1).join('/')))) matched = !negative;
  }
  return matched;
}

const name = fc.stringMatching(/^[ab.]{1,3}$/).filter((text) => !/^\.+$/.test(text));
const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join('/'));
const patternName = fc.oneof(
  name,
  fc.stringMatching(/^[ab*?.]{1,4}$/).filter((text) => !/^\.+$/.test(text)),
  fc.constant('**'),
);
const pattern = fc
  .tuple(fc.boolean(), fc.array(patternName, { minLength: 1, maxLength: 3 }))
  .map(([negative, names]) => `${negative ? '!' : ''}${names.join('/')}`);

describe('any file', () => {
  it('agrees with a matcher made of regular expressions', () => {
    fc.assert(
      fc.property(fc.array(pattern, { maxLength: 5 }), path, (lines, each) => {
        const text = lines.join('\n');
        expect([text, each, IgnoreFile.parse(text).excludes(each)]).toEqual([
          text,
          each,
          referenceExcludes(text, each),
        ]);
      }),
      { numRuns: 3000 },
    );
  });

  it('never prunes a folder that holds something kept', () => {
    fc.assert(
      fc.property(fc.array(pattern, { maxLength: 5 }), path, (lines, each) => {
        const file = IgnoreFile.parse(lines.join('\n'));
        if (file.excludes(each)) return;
        let scope = file.root();
        for (const part of each.split('/')) {
          expect(scope.mayKeepBelow).toBe(true);
          scope = scope.enter(part);
        }
        expect(scope.excluded).toBe(false);
      }),
      { numRuns: 3000 },
    );
  });

  it('is read or refused with a ContextError', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.stringMatching(/^[\n!*?[\]\\^a/.-]{0,12}$/)),
        fc.string({ minLength: 1 }),
        (text, each) => {
          try {
            IgnoreFile.parse(text).excludes(each);
          } catch (error) {
            expect(error).toBeInstanceOf(ContextError);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});
