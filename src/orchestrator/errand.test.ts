import { expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { Errand } from './errand.ts';

function rig({ apart = 0, again }: { apart?: number; again?: () => number | undefined } = {}) {
  const clock = new ManualClock(0);
  const end = new AbortController();
  const runs: number[] = [];
  let failing = false;
  const errand = new Errand({
    run: async () => {
      runs.push(clock.now());
      if (failing) throw new Error('it failed');
      return again?.();
    },
    apart,
    clock,
    signal: end.signal,
  });
  return {
    clock,
    end,
    runs,
    errand,
    fail: (value: boolean) => {
      failing = value;
    },
  };
}

test('runs when it is woken, and only then', async () => {
  const { clock, runs, errand } = rig();
  await clock.advance(1_000);
  expect(runs).toEqual([]);
  errand.wake();
  await errand.idle();
  await clock.advance(1_000);
  expect(runs).toEqual([1_000]);
  errand.wake();
  await errand.idle();
  expect(runs).toEqual([1_000, 2_000]);
});

test('however often it is woken while it runs, it runs once more, with time between', async () => {
  const { clock, runs, errand } = rig({ apart: 100 });
  for (let wake = 0; wake < 50; wake += 1) errand.wake();
  await clock.advance(0);
  for (let wake = 0; wake < 50; wake += 1) errand.wake();
  await clock.advance(1_000);
  expect(runs).toEqual([0, 100]);
  await errand.idle();
  expect(clock.sleeping).toBe(0);
});

test('runs again when it said so, or sooner when it is woken', async () => {
  const { clock, runs, errand, end } = rig({ apart: 10, again: () => 500 });
  errand.wake();
  await clock.advance(0);
  await clock.advance(1_100);
  expect(runs).toEqual([0, 500, 1_000]);
  errand.wake();
  await clock.advance(0);
  expect(runs).toEqual([0, 500, 1_000, 1_100]);
  end.abort();
  await errand.idle();
});

test('no wake is lost, whenever it comes', async () => {
  const { clock, runs, errand } = rig();
  for (let turn = 1; turn <= 100; turn += 1) {
    errand.wake();
    // A few turns of the microtask queue further each time.
    for (let tick = 0; tick < turn % 7; tick += 1) await Promise.resolve();
    const before = runs.length;
    errand.wake();
    await errand.idle();
    await clock.advance(0);
    expect(runs.length).toBeGreaterThan(before);
  }
});

test('one that failed is run again when it is woken', async () => {
  const { clock, runs, errand, fail } = rig({ again: () => 10 });
  fail(true);
  errand.wake();
  await errand.idle();
  await clock.advance(1_000);
  expect(runs).toEqual([0]);
  fail(false);
  errand.wake();
  await clock.advance(0);
  await clock.advance(25);
  expect(runs).toEqual([0, 1_000, 1_010, 1_020]);
});

test('ends with its signal, in the middle of a wait, and cannot be woken then', async () => {
  const { clock, runs, errand, end } = rig({ apart: 100, again: () => 1_000_000 });
  errand.wake();
  await clock.advance(0);
  await clock.advance(500);
  end.abort();
  await errand.idle();
  expect(clock.sleeping).toBe(0);
  errand.wake();
  await errand.idle();
  expect(runs).toEqual([0]);
});
