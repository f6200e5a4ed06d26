import { expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { defaultLoginLimits, LoginLimiter } from './login-limiter.ts';

function make(limits: Partial<typeof defaultLoginLimits> = {}) {
  const clock = new ManualClock();
  return { clock, limiter: new LoginLimiter(clock, { ...defaultLoginLimits, ...limits }) };
}

const fail = (limiter: LoginLimiter, times: number, user = 'alice', address = '192.0.2.1') => {
  for (let count = 0; count < times; count += 1) limiter.failed(user, address);
};

test('a few failures are forgiven, the next one locks, each further one twice as long', async () => {
  const { clock, limiter } = make();
  fail(limiter, 4);
  expect(limiter.lockedFor('alice', '192.0.2.1')).toBe(0);
  const locks: number[] = [];
  for (let count = 0; count < 4; count += 1) {
    fail(limiter, 1);
    locks.push(limiter.lockedFor('alice', '192.0.2.1'));
    await clock.advance(locks.at(-1) ?? 0);
    expect(limiter.lockedFor('alice', '192.0.2.1')).toBe(0);
  }
  expect(locks).toEqual([2_000, 4_000, 8_000, 16_000]);
});

test('a lock never lasts longer than its limit', () => {
  const { limiter } = make();
  fail(limiter, 40);
  expect(limiter.lockedFor('alice', '192.0.2.1')).toBe(defaultLoginLimits.longestLock);
});

test('nobody is locked out by failures from elsewhere, until they are far too many', () => {
  const { limiter } = make();
  for (let host = 1; host < 50; host += 1) fail(limiter, 1, 'alice', `192.0.2.${host}`);
  expect(limiter.lockedFor('alice', '198.51.100.1')).toBe(0);
  fail(limiter, 1, 'alice', '192.0.2.50');
  expect(limiter.lockedFor('alice', '198.51.100.1')).toBeGreaterThan(0);
});

test('an address that tries many names is locked, whatever it tries next', () => {
  const { limiter } = make();
  for (let count = 0; count < 30; count += 1) fail(limiter, 1, `user${count}`);
  expect(limiter.lockedFor('somebody', '192.0.2.1')).toBeGreaterThan(0);
  expect(limiter.lockedFor('somebody', '192.0.2.2')).toBe(0);
});

test('an IPv6 client cannot get around it within its own network, and IPv4 is the same in IPv6 clothes', () => {
  const { limiter } = make();
  for (let count = 0; count < 5; count += 1) fail(limiter, 1, 'alice', `2001:db8:1:2::${count + 1}`);
  expect(limiter.lockedFor('alice', '2001:db8:1:2:ffff::9')).toBeGreaterThan(0);
  expect(limiter.lockedFor('alice', '2001:db8:1:3::1')).toBe(0);
  fail(limiter, 5, 'bob', '::ffff:192.0.2.9');
  expect(limiter.lockedFor('bob', '192.0.2.9')).toBeGreaterThan(0);
});

test('the right password clears the way', () => {
  const { limiter } = make();
  fail(limiter, 4);
  limiter.succeeded('alice', '192.0.2.1');
  fail(limiter, 4);
  expect(limiter.lockedFor('alice', '192.0.2.1')).toBe(0);
});

test('old failures are forgotten', async () => {
  const { clock, limiter } = make();
  fail(limiter, 4);
  await clock.advance(defaultLoginLimits.forgetAfter + 1);
  fail(limiter, 1);
  expect(limiter.lockedFor('alice', '192.0.2.1')).toBe(0);
});

test('memory is bounded, and the lock of who fails now is kept', () => {
  const { limiter } = make({ remembered: 100 });
  for (let count = 0; count < 5_000; count += 1) fail(limiter, 1, `user${count}`, `address ${count}`);
  fail(limiter, 5);
  expect(limiter.remembered).toBeLessThanOrEqual(200);
  expect(limiter.lockedFor('alice', '192.0.2.1')).toBeGreaterThan(0);
});
