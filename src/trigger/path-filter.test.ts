import fc from 'fast-check';
import { RE2JS } from 're2js';
import { describe, expect, it } from 'vitest';
import { Turns } from '../base/turns.ts';
import { Glob } from './glob.ts';
import { faultsOfPathFilters, PathFilter } from './path-filter.ts';

const turns = new Turns();
const passes = async (filters: readonly string[], paths: readonly string[]) =>
  await new PathFilter(filters).passes(paths, turns);

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
    [['{src/,lib/}'], 'lib/a/b.ts', true],
    [['{src/,{lib/,bin/}}'], 'bin/a', true],
    [['{src/,lib/}*.ts'], 'lib/a/b.ts', false],
    [['{src/,lib/}*.ts'], 'lib/b.ts', true],
    [['a**/b'], 'ab', false],
    [['a**/b'], 'ax/y/b', true],
    [['a,**/b'], 'a,b', false],
    [['{a,**/b}/c'], 'b/c', true],
    [['a[/]b'], 'a/b', false],
    [['a[.-0]b'], 'a/b', false],
    [['a[.-0]b'], 'a.b', true],
    [['a\\[b'], 'a[b', true],
    [['a+b(c).txt'], 'a+b(c).txt', true],
    [['**', '!docs/**'], 'docs/a.md', false],
    [['**', '!docs/**'], 'src/a.md', true],
    [['!docs/**'], 'docs/a.md', false],
    [['!docs/**'], 'src/a.ts', true],
    [['*'], 'new\nline', true],
  ])('%j and %j', async (filters, path, expected) => {
    expect(await passes(filters, [path])).toBe(expected);
  });

  it('passes when one path of many does', async () => {
    expect(await passes(['src/**'], ['a', 'b', 'src/c'])).toBe(true);
    expect(await passes(['src/**'], [])).toBe(false);
  });

  it('tells filters that are none', () => {
    expect(
      faultsOfPathFilters(['src/**', '', '!', '//', '{a,b', 'a}', '[z-a]', '[!]', 'src/[a']),
    ).toHaveLength(8);
    expect(faultsOfPathFilters(Array.from({ length: 200 }, () => 'a'))).toHaveLength(1);
  });

  it('takes any text, and without wildcards matches that path alone', async () => {
    const texts = fc.array(fc.string({ unit: 'binary' }));
    await fc.assert(
      fc.asyncProperty(texts, texts, async (filters, paths) => {
        expect(typeof (await passes(filters, paths))).toBe('boolean');
        faultsOfPathFilters(filters);
      }),
    );
    await fc.assert(
      fc.asyncProperty(fc.stringMatching(/^[a-z.+()^$|]{1,20}\/[a-z.+()^$|]{1,20}$/), async (path) => {
        expect(await passes([path], [path])).toBe(true);
        expect(await passes([path], [`${path}x`])).toBe(false);
      }),
    );
  });

  it('agrees with a regular expression that says the same', () => {
    const piece = fc.constantFrom(
      ...[
        'a',
        'b',
        '/',
        '.',
        '*',
        '**',
        '**/',
        '?',
        '{',
        '}',
        ',',
        '[a-b]',
        '[!a]',
        '[^/]',
        '[]b]',
        '[',
        '\\*',
        '💩',
      ],
    );
    const path = fc.string({ unit: fc.constantFrom('a', 'b', '/', '.', ',', '*', ']', '💩'), maxLength: 8 });
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 7 }), fc.array(path), (pieces, paths) => {
        const text = pieces.join('');
        // What ends with a slash within braces has its examples above.
        fc.pre(!/\/[,}]/.test(text));
        let expression: RE2JS | undefined;
        try {
          expression = RE2JS.compile(patternOf(text));
        } catch {}
        let glob: Glob | undefined;
        try {
          glob = new Glob(text);
        } catch {}
        expect(glob === undefined).toBe(expression === undefined);
        for (const each of paths) expect(glob?.matches(each)).toBe(expression?.matches(each));
      }),
      { numRuns: 5_000 },
    );
  });
});

describe('path filters that are meant to keep the server busy', () => {
  const worst = (length: number) => `*a${'?'.repeat(length)}z`;
  const paths = Array.from({ length: 128 }, (_, at) =>
    Array.from({ length: 2_048 }, (_each, place) => ((at * place * 7 + place) % 3 === 0 ? 'b' : 'a')).join(
      '',
    ),
  );

  it('are refused when they are too much together, and everything passes if they were stored before', async () => {
    const filters = Array.from({ length: 100 }, (_, at) => worst(490 - at));
    expect(faultsOfPathFilters(filters)).toEqual([expect.stringMatching(/too long together/)]);
    expect(await passes(filters, ['x'])).toBe(true);
  });

  it('look at a path for its length times their size at most', () => {
    for (const text of [
      worst(490),
      `${'{a,'.repeat(160)}${'}'.repeat(160)}*z`,
      `${'**/'.repeat(160)}z`,
      '*a'.repeat(250),
    ]) {
      const glob = new Glob(text);
      let steps = 0;
      for (const path of paths.slice(0, 3)) {
        glob.matches(path, (spent) => (steps += spent));
        expect(steps).toBeLessThanOrEqual(glob.size * (path.length + 1));
        steps = 0;
      }
      expect(glob.size).toBeLessThanOrEqual(1_500);
    }
  });

  it('have a turn of their own from the first path on, however many begin at once', async () => {
    const filters = Array.from({ length: 16 }, () => new PathFilter([worst(470)]));
    let between = 0;
    let over = false;
    const beat = () => {
      between += 1;
      if (!over) setImmediate(beat);
    };
    setImmediate(beat);
    await Promise.all(filters.map(async (filter) => await filter.passes(paths.slice(0, 1), turns)));
    over = true;
    expect(between).toBeGreaterThanOrEqual(16);
  });

  it('let everybody else have their turn, and come to an end', async () => {
    // As large as filters may be, and all that is kept of the paths of a push.
    const filters = Array.from({ length: 20 }, (_, at) => worst(470 - at));
    expect(faultsOfPathFilters(filters)).toEqual([]);
    let between = 0;
    let over = false;
    const beat = () => {
      between += 1;
      if (!over) setImmediate(beat);
    };
    setImmediate(beat);
    // The last of many that are compared at once.
    const all = Array.from({ length: 2 }, () => passes(filters, paths));
    expect(await Promise.all(all)).toEqual([true, true]);
    over = true;
    // 20,000,000 instructions each, of which a turn has 200,000 and one path, less than 1,000,000, at most.
    expect(between).toBeGreaterThan(2 * 16);
  });
});

/** A glob as a regular expression of RE2. */
function patternOf(glob: string): string {
  const anchored = glob.replace(/\/+$/, '').includes('/');
  const path = glob.replace(/^\/+/, '');
  const body = path.endsWith('/') ? `${path}**` : path;
  const tokens = body.match(/\*\*\/|\*\*|\*|\?|\[[!^]?\]?[^\]]*\]|\{|\}|,|\\.|./gsu) ?? [];
  let depth = 0;
  const beforeOf = (at: number) => (tokens[at - 1] === ',' && depth === 0 ? 'x' : (tokens[at - 1] ?? ''));
  let pattern = anchored ? '' : '(?:.*/)?';
  for (const [at, token] of tokens.entries()) {
    if (token === '**/') pattern += /[/{]$|^$|,$/.test(beforeOf(at)) ? '(?:.*/)?' : '.*/';
    else if (token === '**') pattern += '.*';
    else if (token === '*') pattern += '[^/]*';
    else if (token === '?') pattern += '[^/]';
    else if (token === '{') {
      depth += 1;
      pattern += '(?:';
    } else if (token === '}') {
      depth -= 1;
      pattern += ')';
    } else if (token === ',' && depth > 0) pattern += '|';
    else if (token === '[') throw new SyntaxError('a bracket has no end');
    else if (token.startsWith('[')) pattern += setOf(token);
    else pattern += RE2JS.quote(token.startsWith('\\') && token.length > 1 ? token.slice(1) : token);
  }
  if (depth !== 0) throw new SyntaxError('a brace has no end');
  return `(?s)${pattern}`;
}

function setOf(token: string): string {
  const inner = token.slice(1, -1);
  const negated = /^[!^]/.test(inner);
  const members = (negated ? inner.slice(1) : inner).replace(/[\\[\]^&~]/g, '\\$&');
  if (members === '') throw new SyntaxError('a bracket has nothing in it');
  if (negated) return `[^/${members}]`;
  const withoutSlash = members.replaceAll('/', '');
  return withoutSlash === '' ? String.raw`[^\x{0}-\x{10ffff}]` : `[${withoutSlash}]`;
}
