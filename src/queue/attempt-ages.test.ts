import fc from 'fast-check';
import { expect, it } from 'vitest';
import { AttemptAges } from './attempt-ages.ts';

function machine(offset: number) {
  let [monotonic, wrong] = [0, offset];
  const now = () => 1_700_000_000_000 + monotonic + wrong;
  return {
    now,
    ages: new AttemptAges(now, () => monotonic),
    pass: (milliseconds: number) => {
      monotonic += milliseconds;
    },
    setWrong: (by: number) => {
      wrong = by;
    },
  };
}

it('knows how old an attempt is that came between two looks, but for the time between them', () => {
  const offset = fc.integer({ min: -10_000_000, max: 10_000_000 });
  fc.assert(
    fc.property(offset, offset, fc.nat(5_000), fc.array(fc.nat(5_000)), (theirs, later, before, steps) => {
      const { ages, pass, now, setWrong } = machine(0);
      ages.look([]);
      pass(before);
      const attempt = { id: 'a', scheduledAt: now() + theirs };
      pass(5_000 - before);
      let passed = 5_000 - before;
      for (const step of steps) {
        ages.look([attempt]);
        setWrong(later);
        pass(step);
        passed += step;
        expect(ages.of(attempt)).toBeGreaterThanOrEqual(passed - 5_000);
        expect(ages.of(attempt)).toBeLessThanOrEqual(passed + 5_000);
      }
    }),
  );
});

it('believes the times of day of what was there before it, and that nothing begins later than now', () => {
  const { ages, pass, now } = machine(0);
  const attempts = [-60_000, 60_000].map((ago) => ({ id: `${ago}`, scheduledAt: now() + ago }));
  ages.look(attempts);
  pass(1_000);
  expect(attempts.map((attempt) => ages.of(attempt))).toEqual([61_000, 1_000]);
});

it('takes a claim after a release for another one', () => {
  const { ages, pass, now } = machine(0);
  const first = { id: 'a', scheduledAt: now() };
  ages.look([first]);
  pass(30_000);
  ages.look([first]);
  pass(2_000);
  expect(ages.of({ ...first, scheduledAt: now() - 10_800_000 })).toBe(2_000);
});
