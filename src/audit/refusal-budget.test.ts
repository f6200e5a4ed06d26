import { expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { RefusalBudget } from './refusal-budget.ts';

test('an address gets so many records a minute, and the next one says how many were left out', async () => {
  const clock = new ManualClock();
  const budget = new RefusalBudget({ clock, perAddress: 2, inAll: 10 });
  expect([budget.take('a'), budget.take('a'), budget.take('a'), budget.take('a')]).toEqual([
    0,
    0,
    undefined,
    undefined,
  ]);
  // Another address is not to suffer for it, and tells what was left out.
  expect(budget.take('b')).toBe(2);
  expect(budget.take('b')).toBe(0);
  await clock.advance(60_000);
  expect(budget.take('a')).toBe(0);
});

test('many addresses together get no more than the whole', () => {
  const budget = new RefusalBudget({ clock: new ManualClock(), perAddress: 2, inAll: 3 });
  expect(['a', 'b', 'c', 'd', 'e'].map((address) => budget.take(address))).toEqual([
    0,
    0,
    0,
    undefined,
    undefined,
  ]);
});
