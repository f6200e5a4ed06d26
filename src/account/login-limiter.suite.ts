import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { OpenScratch, ScratchDatabase } from '../../test/harness/scratch-database.ts';
import { ManualClock } from '../base/clock.ts';
import { defaultLoginLimits, LoginLimiter } from './login-limiter.ts';

/** What the limiter must do, on every database. */
export function loginLimiterSuite(name: string, openScratch: OpenScratch): void {
  describe(name, () => {
    let scratch: ScratchDatabase;
    beforeEach(async () => {
      scratch = await openScratch();
    });
    afterEach(async () => await scratch[Symbol.asyncDispose]());

    function make(limits: Partial<typeof defaultLoginLimits> = {}) {
      const clock = new ManualClock();
      return {
        clock,
        limiter: new LoginLimiter(scratch.database, clock, { ...defaultLoginLimits, ...limits }),
      };
    }

    const fail = async (limiter: LoginLimiter, times: number, user = 'alice', address = '192.0.2.1') => {
      for (let count = 0; count < times; count += 1) await limiter.failed(user, address);
    };

    test('a few failures are forgiven, the next one locks, each further one twice as long', async () => {
      const { clock, limiter } = make();
      await fail(limiter, 4);
      expect(await limiter.lockedFor('alice', '192.0.2.1')).toBe(0);
      const locks: number[] = [];
      for (let count = 0; count < 4; count += 1) {
        await fail(limiter, 1);
        locks.push(await limiter.lockedFor('alice', '192.0.2.1'));
        await clock.advance(locks.at(-1) ?? 0);
        expect(await limiter.lockedFor('alice', '192.0.2.1')).toBe(0);
      }
      expect(locks).toEqual([2_000, 4_000, 8_000, 16_000]);
    });

    test('a lock never lasts longer than its limit', async () => {
      const { limiter } = make();
      await fail(limiter, 40);
      expect(await limiter.lockedFor('alice', '192.0.2.1')).toBe(defaultLoginLimits.longestLock);
    });

    test('nobody is locked out by failures from elsewhere, until they are far too many', async () => {
      const { limiter } = make();
      for (let host = 1; host < 50; host += 1) await fail(limiter, 1, 'alice', `192.0.2.${host}`);
      expect(await limiter.lockedFor('alice', '198.51.100.1')).toBe(0);
      await fail(limiter, 1, 'alice', '192.0.2.50');
      expect(await limiter.lockedFor('alice', '198.51.100.1')).toBeGreaterThan(0);
    });

    test('an address that tries many names is locked, whatever it tries next', async () => {
      const { limiter } = make();
      for (let count = 0; count < 30; count += 1) await fail(limiter, 1, `user${count}`);
      expect(await limiter.lockedFor('somebody', '192.0.2.1')).toBeGreaterThan(0);
      expect(await limiter.lockedFor('somebody', '192.0.2.2')).toBe(0);
    });

    test('an IPv6 client cannot get around it within its own network, and IPv4 is the same in IPv6 clothes', async () => {
      const { limiter } = make();
      for (let count = 0; count < 5; count += 1)
        await fail(limiter, 1, 'alice', `2001:db8:1:2::${count + 1}`);
      expect(await limiter.lockedFor('alice', '2001:db8:1:2:ffff::9')).toBeGreaterThan(0);
      expect(await limiter.lockedFor('alice', '2001:db8:1:3::1')).toBe(0);
      await fail(limiter, 5, 'bob', '::ffff:192.0.2.9');
      expect(await limiter.lockedFor('bob', '192.0.2.9')).toBeGreaterThan(0);
    });

    test('the right password clears the way', async () => {
      const { limiter } = make();
      await fail(limiter, 4);
      await limiter.succeeded('alice', '192.0.2.1');
      await fail(limiter, 4);
      expect(await limiter.lockedFor('alice', '192.0.2.1')).toBe(0);
    });

    test('old failures are forgotten', async () => {
      const { clock, limiter } = make();
      await fail(limiter, 4);
      await clock.advance(defaultLoginLimits.forgetAfter + 1);
      await fail(limiter, 1);
      expect(await limiter.lockedFor('alice', '192.0.2.1')).toBe(0);
    });

    test('what is remembered is bounded, and the lock of who fails now is kept', async () => {
      const { limiter } = make({ remembered: 100 });
      for (let count = 0; count < 300; count += 1) await fail(limiter, 1, `user${count}`, `address ${count}`);
      await fail(limiter, 5);
      const rows = await scratch.database.sql.selectFrom('login_failures').select('key').execute();
      // Between two sweeps of 50 failures there may be 3 rows for each.
      expect(rows.length).toBeLessThanOrEqual(100 + 3 * 50);
      expect(await limiter.lockedFor('alice', '192.0.2.1')).toBeGreaterThan(0);
    });

    test('nobody locks a robot out, or those who come with tokens, from elsewhere', async () => {
      const { limiter } = make();
      for (const name of ['team+ci', '$oauthtoken']) {
        for (let host = 1; host < 60; host += 1) await fail(limiter, 1, name, `192.0.2.${host}`);
        expect(await limiter.lockedFor(name, '198.51.100.1')).toBe(0);
        await fail(limiter, 5, name, '203.0.113.9');
        expect(await limiter.lockedFor(name, '203.0.113.9')).toBeGreaterThan(0);
      }
    });

    test('managers of one database count together', async () => {
      const { clock, limiter } = make();
      const other = new LoginLimiter(scratch.database, clock);
      await fail(limiter, 3);
      await fail(other, 2);
      expect(await limiter.lockedFor('alice', '192.0.2.1')).toBe(2_000);
      expect(await other.lockedFor('alice', '192.0.2.1')).toBe(2_000);
    });

    test('failures at the same moment are all counted', async () => {
      const { limiter } = make();
      await Promise.all(Array.from({ length: 20 }, () => limiter.failed('alice', '192.0.2.1')));
      const rows = await scratch.database.sql.selectFrom('login_failures').selectAll().execute();
      expect(rows.map(({ count }) => count)).toEqual([20, 20, 20]);
    });

    test('who signs in and never failed writes nothing, whatever the name holds', async () => {
      const { limiter } = make();
      expect(await limiter.lockedFor('al\0ice', '192.0.2.1')).toBe(0);
      await limiter.succeeded('al\0ice', '192.0.2.1');
      expect(await scratch.database.sql.selectFrom('login_failures').selectAll().execute()).toEqual([]);
      await limiter.failed('al\0ice', '192.0.2.1');
    });
  });
}
