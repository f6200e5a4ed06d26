import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { harmless } from './harmless-text.ts';

const dangerous = fc.constantFrom(
  '\u001b',
  '\u001b[',
  '\u001b]0;',
  '\u001bP',
  '\u0007',
  '\u001b\\',
  '\u009b',
  '\u009d',
  '\u009c',
  '\r',
  '\n',
  '\t',
  '\b',
  '\u0000',
  '\u007f',
  '31m',
  '2J',
  '1;2',
  'm',
  ' ',
  '?',
  '[',
  'x',
  'é',
);
const hostile = fc.oneof(
  fc.array(dangerous, { maxLength: 30 }).map((parts) => parts.join('')),
  fc.string({ unit: 'binary' }),
);
const controls = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/;
const colour = /\u001b\[[0-9;:]*m/g;

describe('harmless', () => {
  it('lets no control character through but newline and tab, and no sequence but colours', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        expect(harmless(text, true).replace(colour, '')).not.toMatch(controls);
        expect(harmless(text, false)).not.toMatch(controls);
      }),
      { numRuns: 5000 },
    );
  });

  it('does not change plain text', () => {
    const plain = fc.string({ unit: 'binary' }).filter((text) => !controls.test(text));
    fc.assert(
      fc.property(plain, (text) => {
        expect(harmless(text, true)).toBe(text);
        expect(harmless(text, false)).toBe(text);
      }),
    );
  });

  it('leaves nothing to do for a second time', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        const once = harmless(text, false);
        expect(harmless(once, false)).toBe(once);
      }),
    );
  });

  it.each([
    ['colours pass, and end with the line', '\u001b[1;31mred', '\u001b[1;31mred\u001b[0m'],
    ['the screen is not cleared', 'a\u001b[2Jb\u001b[1;1Hc', 'abc'],
    ['a title goes with its end, and the text behind it stays', '\u001b]0;title\u0007text', 'text'],
    ['a link loses its target only', '\u001b]8;;http://x\u001b\\link\u001b]8;;\u001b\\', 'link'],
    ['a title without an end hides no text', '\u001b]0;rest', '0;rest'],
    ['8-bit sequences go too', 'a\u009b2Jb\u009d0;t\u009cc', 'abc'],
    ['an escape in two halves of a line is broken', '\u001b\u001b[2J[2J', '[2J'],
    ['backspaces go', 'ab\b\bcd', 'abcd'],
    ['what a carriage return would hide is seen', 'evil\rgood', 'evil\ngood'],
    ['a carriage return at the end of a line goes', 'line\r\nnext\r', 'line\nnext'],
  ])('%s', (_name, text, expected) => {
    expect(harmless(text, true)).toBe(expected);
  });

  it('drops colours where there are none', () => {
    expect(harmless('\u001b[31mred\u001b[0m', false)).toBe('red');
  });

  it.each(['\u001b', '\u001b[', '\u001b]', '\u009b', '\u009d', '\u001b[0', '\u001b ', '\r'])(
    'takes linear time on a megabyte of %j',
    (piece) => {
      for (const text of [piece.repeat(2 ** 20 / piece.length), `${piece}${'0;/'.repeat(2 ** 20 / 3)}`]) {
        const started = performance.now();
        harmless(text, true);
        // Quadratic time would be minutes.
        expect(performance.now() - started).toBeLessThan(10_000);
      }
    },
  );
});
