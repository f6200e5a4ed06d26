import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { editDistance, nearest } from './nearest.ts';

const word = fc.stringMatching(/^[A-C_]{0,8}$/);

describe('editDistance', () => {
  it.each([
    ['HOST', 'HOST', 0],
    ['HOTS', 'HOST', 1],
    ['HOS', 'HOST', 1],
    ['HOSST', 'HOST', 1],
    ['HOZT', 'HOST', 1],
    ['', 'HOST', 4],
    ['kitten', 'sitting', 3],
  ])('%s → %s is %i', (from, to, steps) => {
    expect(editDistance(from, to)).toBe(steps);
  });

  it('is 0 for the same only, the same both ways, and no more than the longer text has letters', () => {
    fc.assert(
      fc.property(word, word, (a, b) => {
        const distance = editDistance(a, b);
        expect(distance === 0).toBe(a === b);
        expect(distance).toBe(editDistance(b, a));
        expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length));
      }),
    );
  });
});

describe('nearest', () => {
  const keys = ['SERVER_HOSTNAME', 'BUILDMAN_HOSTNAME', 'DB_URI', 'PORT'];

  it.each([
    ['SERVER_HOSTNAM', 'SERVER_HOSTNAME'],
    ['server_hostname', 'SERVER_HOSTNAME'],
    ['DB_URL', 'DB_URI'],
    ['PROT', 'PORT'],
  ])('%s means %s', (written, meant) => {
    expect(nearest(written, keys)).toBe(meant);
  });

  it.each(['COLOUR', 'X', '', 'A'.repeat(10_000)])('means nothing that is known', (written) => {
    expect(nearest(written, keys)).toBeUndefined();
  });
});
