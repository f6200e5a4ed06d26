import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isRepositoryPath } from './image-reference.ts';
import { formatRepositoryName, isNamespace, parseRepositoryName } from './repository-name.ts';

test.each([
  ['team/app', 'team', 'app'],
  ['a1/b/c', 'a1', 'b/c'],
  ['a--b/c__d', 'a--b', 'c__d'],
])('%s', (text, namespace, name) => {
  expect(parseRepositoryName(text)).toEqual({ namespace, name });
});

test.each([
  '',
  'app',
  '/app',
  'team/',
  'a/b',
  'Team/app',
  'team/App',
  'team//x',
  '../x/y',
  'te am/x',
  'team/x\n',
])('refuses %j', (text) => {
  expect(parseRepositoryName(text)).toBeUndefined();
});

test('a namespace is 2 to 255 characters', () => {
  expect([1, 2, 255, 256].map((length) => isNamespace('n'.repeat(length)))).toEqual([
    false,
    true,
    true,
    false,
  ]);
});

test('whatever parses formats back to its text and is a path a registry takes', () => {
  const text = fc
    .array(fc.constantFrom('ab', 'c', '/', '.', '_', '-', 'Z', '0'), { maxLength: 8 })
    .map((pieces) => pieces.join(''));
  fc.assert(
    fc.property(text, (input) => {
      const parsed = parseRepositoryName(input);
      if (parsed === undefined) return;
      expect(formatRepositoryName(parsed)).toBe(input);
      expect(isRepositoryPath(input)).toBe(true);
    }),
    { numRuns: 2000 },
  );
});
