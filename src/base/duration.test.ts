import { describe, expect, it } from 'vitest';
import { parseDuration } from './duration.ts';

describe('a duration', () => {
  it.each([
    ['0s', 0],
    ['90s', 90_000],
    ['30m', 1_800_000],
    ['720h', 2_592_000_000],
    ['30d', 2_592_000_000],
    ['4w', 2_419_200_000],
    ['1h30m', 5_400_000],
    ['1w2d3h4m5s', 788_645_000],
  ])('%s', (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds);
  });

  it.each(['', '720', 'h', '1.5h', '-1h', '1h ', '30m1h', '1y', '99999999999h', '1H', '1h30'])(
    'is not %j',
    (text) => {
      expect(parseDuration(text)).toBeUndefined();
    },
  );
});
