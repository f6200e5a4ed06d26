import fc from 'fast-check';
import { expect, it, test } from 'vitest';
import { type Phase, phases } from '../model/phase.ts';
import { failureStreak } from './failure-streak.ts';

test.each<[string, Phase[], number, number]>([
  ['nothing', [], 0, 0],
  ['failures', ['error', 'error'], 2, 0],
  ['a success ends both', ['error', 'complete', 'error'], 1, 0],
  ['cancelled ones say nothing', ['error', 'cancelled', 'error'], 2, 0],
  ['internal errors', ['internalerror', 'expired', 'cancelled', 'internalerror'], 0, 3],
  ['a failure ends the row of internal errors', ['internalerror', 'error', 'internalerror'], 1, 1],
  ['internal errors are passed over in the row of failures', ['error', 'internalerror', 'error'], 2, 0],
])('%s', (_name, ends, failures, internalErrors) => {
  expect(failureStreak(ends)).toEqual({ failures, internalErrors });
});

it('counts nothing behind a success, and never more than there are', () => {
  const ends = fc.array(fc.constantFrom(...phases));
  fc.assert(
    fc.property(ends, ends, (newer, older) => {
      const streak = failureStreak([...newer, 'complete', ...older]);
      expect(streak).toEqual(failureStreak([...newer, 'complete']));
      expect(streak.failures + streak.internalErrors).toBeLessThanOrEqual(newer.length);
    }),
  );
});
