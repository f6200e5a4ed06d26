import fc from 'fast-check';
import { RE2JS } from 're2js';
import { expect, it, test } from 'vitest';
import { checkConfig } from './check-config.ts';
import { largestProgram, programBound } from './program-bound.ts';
import { RefPattern } from './ref-pattern.ts';
import { skipReason } from './skip-rules.ts';

const git_url = 'git@example.com:a/b.git';
const pushed = (ref: string, message = 'A change') => ({
  commit: 'c0ffee0',
  ref,
  git_url,
  commit_info: { url: '', message, date: '' },
});

test.each([
  ['[skip build]', true],
  ['Fix\n\nlong text [build skip] in the middle', true],
  ['x[skip build]y', true],
  ['[Skip Build]', false],
  ['[skip  build]', false],
  ['skip build', false],
])('a message %j', (message, skipped) => {
  expect(skipReason(pushed('refs/heads/main', message), {}) !== undefined).toBe(skipped);
});

test.each([
  ['heads/main', 'refs/heads/main', true],
  ['heads/main', 'refs/heads/main2', false],
  ['main', 'refs/heads/main', false],
  ['heads/(main|dev)', 'refs/heads/dev', true],
  ['tags/v[0-9.]+', 'refs/tags/v1.2', true],
  ['tags/v[0-9.]+', 'refs/heads/v1.2', false],
  ['.*', 'refs/heads/a\nb', false],
  ['', 'refs/heads/x', true],
])('the expression %j against %j', (regex, ref, built) => {
  expect(skipReason(pushed(ref), { branchtag_regex: regex }) === undefined).toBe(built);
});

test.each(['(', '(?=x)', '(a)\\1', '[', 'x'.repeat(2_000)])(
  '%j cannot be used: everything matches, and it is told',
  (text) => {
    const pattern = RefPattern.of(text);
    expect(pattern.matches('heads/anything')).toBe(true);
    expect(pattern.fault).toMatch(/everything matches/);
  },
);

/** The longest of its kind that is allowed. */
function largest(kind: (count: number) => string): string {
  let count = 1;
  while (programBound(kind(count + 1)) <= largestProgram) count += 1;
  return kind(count);
}

// RE2 is in as many places at once as a program has instructions.
it.each<[string, (count: number) => string]>([
  ['one long wait', (count) => `.*a.{${count}}z`],
  ['many waits', (count) => `(?:.*a.{9}){${count}}z`],
  ['what may be left out', (count) => `(?:.?){${count}}(?:.*)*z`],
  ['alternatives', (count) => `(?:a|b|ab|ba){${count}}z`],
  ['classes', (count) => `(?:[^x]?[a-z]*){${count}}1`],
])('takes a bounded time for the largest expression that is allowed: %s', (_name, kind) => {
  const regex = largest(kind);
  const begun = process.cpuUsage();
  checkConfig('custom-git', { build_source: git_url, branchtag_regex: regex }, 0);
  const pattern = RefPattern.of(regex);
  expect(pattern.fault).toBeUndefined();
  // The longest name of a ref, and no two alike: nothing is known from the one before.
  for (let index = 1; index <= 5; index += 1) {
    const letters = Array.from({ length: 1_018 }, (_each, at) => ((at * at * index) % 7 < 3 ? 'a' : 'b'));
    pattern.matches(`heads/${letters.join('')}`);
  }
  // 5 × 60 ms of the processor where the bound was measured; what has none takes minutes.
  expect(process.cpuUsage(begun).user / 1000).toBeLessThan(3_000);
});

it.each(['.{0,999}'.repeat(110), '((.{0,99}){0,99}){0,99}', '(?:[^x]{30}y){500}'])(
  'refuses %s, which is short and compiles to a program that would stop the server',
  (regex) => {
    const before = performance.now();
    const given = { build_source: git_url, branchtag_regex: regex };
    expect(() => checkConfig('custom-git', given, 0)).toThrow(/repeats too much/);
    // One that was stored before counts as one that cannot be used.
    expect(RefPattern.of(regex).matches(`heads/${'a'.repeat(1_000)}`)).toBe(true);
    expect(performance.now() - before).toBeLessThan(500);
  },
);

it('does not refuse what people write', () => {
  for (const regex of [
    'tags/v[0-9]{1,3}(\\.[0-9]{1,3}){2}',
    'heads/[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}',
  ])
    expect(RefPattern.of(regex).fault).toBeUndefined();
});

it('never takes a program for smaller than it is', () => {
  const piece = fc.constantFrom(
    ...['a', '.', '[^x]', '\\d', '[[:alpha:]]', '[]a]', '\\Qa(b\\E', '(', '(?:', ')', '|', '*', '+?', '?'],
    ...['{2}', '{0,7}', '{3,}', '\\pL', '\\(', '(?i)', '^', '\\b', '{', '}', ']', '[a', '\\x{41}', '語'],
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const text = pieces.join('');
      const bound = programBound(text);
      if (bound > 20_000) return;
      let size: number;
      try {
        size = RE2JS.compile(text).programSize();
      } catch {
        return;
      }
      expect(bound).toBeGreaterThanOrEqual(size);
    }),
    { numRuns: 3_000, examples: [[['(', ')', '{0,7}']], [['a', '(?i)', '{2}']]] },
  );
});
