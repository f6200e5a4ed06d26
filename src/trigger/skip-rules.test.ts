import { expect, it, test } from 'vitest';
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
    const pattern = new RefPattern(text);
    expect(pattern.matches('heads/anything')).toBe(true);
    expect(pattern.fault).toMatch(/everything matches/);
  },
);

it('takes no time for an expression that would keep others busy for ever', () => {
  const before = performance.now();
  for (const evil of ['(a+)+$', '(a|a)*b', '([a-z]+)*X', '(.*)*(.*)*(.*)*z'])
    expect(new RefPattern(evil).matches(`heads/${'a'.repeat(5_000)}!`)).toBe(false);
  expect(performance.now() - before).toBeLessThan(2_000);
});
