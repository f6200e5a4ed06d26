import fc from 'fast-check';
import { expect, it, test } from 'vitest';
import { cutText, isStorable, storableText } from './cut-text.ts';

test.each([
  ['a💩b', 9, 'a💩b'],
  ['a💩b', 3, 'a💩'],
  ['a💩b', 2, 'a'],
  ['a💩b', 1, 'a'],
  ['a\ud800b', 2, 'a\ufffd'],
  ['a\0b', 3, 'a\ufffdb'],
])('%j cut after %i characters is %j', (text, longest, cut) => {
  expect(cutText(text, longest)).toBe(cut);
});

it('makes of any text one that can be stored, and leaves alone what can be', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string(), fc.nat(20), (binary, proper, longest) => {
      for (const text of [binary, `${binary}\0`, proper]) {
        const cut = cutText(text, longest);
        expect(cut.length).toBeLessThanOrEqual(longest);
        expect(isStorable(cut)).toBe(true);
        expect(isStorable(storableText(text))).toBe(true);
        if (isStorable(text)) expect(text.startsWith(cut) && storableText(text) === text).toBe(true);
      }
    }),
  );
});
