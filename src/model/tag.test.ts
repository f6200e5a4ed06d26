import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { escapeTag, parseTag } from './tag.ts';

describe('parseTag', () => {
  test.each(['latest', '_x', 'V1.2-rc_3', '0', 'a'.repeat(128)])('accepts %j', (text) => {
    expect(parseTag(text)).toBe(text);
  });

  test.each(['', '.x', '-x', 'a/b', 'a:b', 'a b', 'é', 'a'.repeat(129), 'x\n'])('refuses %j', (text) => {
    expect(parseTag(text)).toBeUndefined();
  });
});

describe('escapeTag', () => {
  test.each([
    ['', 'latest'],
    ['feature/login', 'feature_login'],
    ['-dash', '_dash'],
    ['.dot', '_dot'],
    ['ünï', '_n_'],
    ['🚀go', '_go'],
    ['v1.0', 'v1.0'],
    ['a'.repeat(300), 'a'.repeat(127)],
  ])('%j becomes %j', (text, tag) => {
    expect(escapeTag(text)).toBe(tag);
  });

  test('makes a tag of any text, and leaves a short tag as it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        const tag = escapeTag(text);
        expect(parseTag(tag)).toBe(tag);
        expect(escapeTag(tag)).toBe(tag);
      }),
    );
  });
});
