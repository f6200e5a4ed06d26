import fc from 'fast-check';
import { expect, test } from 'vitest';
import { freeRange, hasRange, parseIdMap, parseSubordinateRanges, rangeSize } from './subordinate-ids.ts';

const everything = [{ first: 0, count: 4_294_967_295 }];

test('reads the lines of /etc/subuid and skips what is none', () => {
  expect(parseSubordinateRanges('ann:100000:65536\n\n# note\n1000:165536:1000\n:1:2\nbad:x:1\n')).toEqual([
    { owner: 'ann', first: 100_000, count: 65_536 },
    { owner: '1000', first: 165_536, count: 1000 },
  ]);
});

test('a range counts when it is the account’s, by name or number, and large enough', () => {
  const ranges = parseSubordinateRanges('ann:100000:65536\n1001:165536:65536\nbob:300000:1000\n');
  expect(hasRange(ranges, 'ann', 1000)).toBe(true);
  expect(hasRange(ranges, 'eve', 1001)).toBe(true);
  expect(hasRange(ranges, 'bob', 1002)).toBe(false);
});

test('the first free range is 100000, as Debian gives them', () => {
  expect(freeRange([], everything)).toEqual({ first: 100_000, count: rangeSize });
});

test('a range stays within the ids that exist in this container', () => {
  const few = parseIdMap('         0     100000      65536\n');
  expect(few).toEqual([{ first: 0, count: 65_536 }]);
  expect(freeRange([], few)).toBeUndefined();
  expect(freeRange([], parseIdMap('0 1000 1\n1 200000 200000\n'))).toEqual({
    first: 100_000,
    count: rangeSize,
  });
});

test('a free range never touches one that is taken', () => {
  const range = fc.record({
    first: fc.integer({ min: 0, max: 900_000 }),
    count: fc.integer({ min: 1, max: 200_000 }),
  });
  fc.assert(
    fc.property(fc.array(range, { maxLength: 12 }), (taken) => {
      const free = freeRange(taken, everything);
      if (free === undefined) return false;
      return taken.every(
        ({ first, count }) => first + count <= free.first || free.first + free.count <= first,
      );
    }),
  );
});
