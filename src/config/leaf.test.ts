import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseBytes, parseDuration } from './leaf.ts';

describe('a time', () => {
  it.each([
    ['30', 30_000],
    ['30s', 30_000],
    ['5m', 300_000],
    ['2h', 7_200_000],
    ['1d', 86_400_000],
    ['2w', 1_209_600_000],
  ])('is read: %s', (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds);
  });

  it.each(['', '-1', '1.5h', '5 m', '5M', '1h30m', 'm', '٣', '1e3'])('is refused: %j', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });
});

describe('a size', () => {
  it.each([
    ['1', 1],
    ['20G', 20e9],
    ['20GB', 20e9],
    ['100Mi', 104_857_600],
    ['1k', 1000],
    ['1KiB', 1024],
    ['2T', 2e12],
  ])('is read: %s', (text, bytes) => {
    expect(parseBytes(text)).toBe(bytes);
  });

  it.each(['', '-1', '1.5G', '1 G', 'G', '1P', 'i', '1i'])('is refused: %j', (text) => {
    expect(parseBytes(text)).toBeUndefined();
  });
});

describe('any text', () => {
  it('is a whole number of at least 0, or refused', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^\d{0,20}[a-zA-Z]{0,3}$/)), (text) => {
        for (const value of [parseDuration(text), parseBytes(text)])
          expect(value === undefined || (Number.isInteger(value) && value >= 0)).toBe(true);
      }),
    );
  });
});
