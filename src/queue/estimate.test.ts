import fc from 'fast-check';
import { expect, it } from 'vitest';
import { estimateStart } from './estimate.ts';

const now = 1_000_000;
const line = { now, ahead: 0, places: 1, underWay: [now - 40], durations: [90, 110] };

it('starts now what finds a free place', () => {
  expect(estimateStart({ ...line, underWay: [] })).toBe(now);
  expect(estimateStart({ ...line, places: 3, ahead: 1 })).toBe(now);
  expect(estimateStart({ ...line, underWay: [], durations: [] })).toBe(now);
});

it('waits for the end of what is under way, and for all that is ahead', () => {
  expect(estimateStart(line)).toBe(now + 60);
  expect(estimateStart({ ...line, ahead: 2 })).toBe(now + 260);
  expect(estimateStart({ ...line, places: 2, underWay: [now - 40, now - 90] })).toBe(now + 10);
  expect(estimateStart({ ...line, places: 2, underWay: [now - 40, now - 90], ahead: 1 })).toBe(now + 60);
  expect(estimateStart({ ...line, places: 2, underWay: [now - 40, now - 90], ahead: 2 })).toBe(now + 110);
});

it('takes a build that is over its time to end at any moment', () => {
  expect(estimateStart({ ...line, underWay: [now - 10_000] })).toBe(now);
});

it('says nothing when nothing is known', () => {
  expect(estimateStart({ ...line, durations: [] })).toBeUndefined();
});

it('is never in the past, and never earlier for who stands further back', () => {
  const times = fc.array(fc.integer({ min: 0, max: 5_000 }), { maxLength: 8 });
  fc.assert(
    fc.property(
      times,
      times,
      fc.nat(40),
      fc.integer({ min: 1, max: 8 }),
      (ages, durations, ahead, places) => {
        const underWay = ages.slice(0, places).map((age) => now - age);
        const at = (before: number) => estimateStart({ now, ahead: before, places, underWay, durations });
        const [own, next] = [at(ahead), at(ahead + 1)];
        if (own === undefined) return next === undefined;
        return own >= now && (next === undefined || next >= own);
      },
    ),
  );
});
