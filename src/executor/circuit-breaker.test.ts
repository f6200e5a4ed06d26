import { expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { CircuitBreaker } from './circuit-breaker.ts';

function open() {
  const clock = new ManualClock();
  const breaker = new CircuitBreaker({
    clock,
    monotonic: () => clock.now(),
    threshold: 3,
    first: 1_000,
    cap: 3_000,
    random: () => 1,
  });
  const fail = (times: number) => {
    for (let n = 0; n < times; n += 1) breaker.failed();
  };
  return { clock, breaker, fail };
}

test('opens after so many failures in a row, and no sooner', () => {
  const { breaker, fail } = open();
  fail(2);
  breaker.succeeded();
  fail(2);
  expect(breaker.admit()).toBe(true);
  fail(1);
  expect(breaker.state.kind).toBe('open');
  expect(breaker.admit()).toBe(false);
});

test('lets one through when its time is over, and closes when that one succeeds', async () => {
  const { clock, breaker, fail } = open();
  fail(3);
  await clock.advance(999);
  expect(breaker.admit()).toBe(false);
  await clock.advance(1);
  expect(breaker.state.kind).toBe('half-open');
  expect([breaker.admit(), breaker.admit()]).toEqual([true, false]);
  breaker.succeeded();
  expect(breaker.state).toEqual({ kind: 'closed' });
  expect([breaker.admit(), breaker.admit()]).toEqual([true, true]);
});

test('stays open twice as long each time, up to its most, and begins anew after a success', async () => {
  const { clock, breaker, fail } = open();
  const waits: number[] = [];
  fail(3);
  for (let n = 0; n < 4; n += 1) {
    waits.push(breaker.wait);
    await clock.advance(breaker.wait);
    expect(breaker.admit()).toBe(true);
    fail(1);
  }
  expect(waits).toEqual([1_000, 2_000, 3_000, 3_000]);
  await clock.advance(breaker.wait);
  breaker.admit();
  breaker.succeeded();
  fail(3);
  expect(breaker.wait).toBe(1_000);
});

test('a try that says nothing makes room for another', async () => {
  const { clock, breaker, fail } = open();
  fail(3);
  await clock.advance(1_000);
  expect(breaker.admit()).toBe(true);
  breaker.undecided();
  expect(breaker.state.kind).toBe('half-open');
  expect(breaker.admit()).toBe(true);
});

test('failures of calls from before it opened do not keep it open longer', () => {
  const { breaker, fail } = open();
  fail(10);
  expect(breaker.wait).toBe(1_000);
});

test('says since when it fails, also while it is tried again and again', async () => {
  const { clock, breaker, fail } = open();
  fail(3);
  const since = clock.now();
  await clock.advance(1_000);
  breaker.admit();
  fail(1);
  expect(breaker.state).toEqual({ kind: 'open', since, until: since + 3_000 });
});
