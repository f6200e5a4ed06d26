import { expect, test } from 'vitest';
import { ManualClock } from './clock.ts';
import { SteadyClock } from './steady-clock.ts';

test('a steady clock begins with the time of day and does not follow it when that is set', async () => {
  const wall = new ManualClock();
  let monotonic = 17.25;
  const begin = wall.now();
  const steady = new SteadyClock(wall, () => monotonic);
  expect(steady.now()).toBe(begin);
  await wall.advance(7_200_000);
  expect(steady.now()).toBe(begin);
  monotonic += 1_500;
  expect(steady.now()).toBe(begin + 1_500);
});
