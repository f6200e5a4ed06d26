import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { OpenScratch, ScratchDatabase } from '../../test/harness/scratch-database.ts';
import { ManualClock } from '../base/clock.ts';
import { defaultLoginLimits, LoginLimiter } from './login-limiter.ts';
import { nameMark } from './name-mark.ts';

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
      for (let count = 0; count < times; count += 1) await limiter.begin(user, address);
    };
    /** Fails as often as it may, and waits where it may not. */
    const failWaiting = async ({ limiter, clock }: ReturnType<typeof make>, times: number) => {
      for (let count = 0; count < times; count += 1) {
        await clock.advance(await lockedFor(limiter, 'alice', '192.0.2.1'));
        await fail(limiter, 1);
      }
    };
    const lockedFor = async (limiter: LoginLimiter, user: string, address: string) => {
      const attempt = await limiter.begin(user, address);
      if (typeof attempt === 'number') return attempt;
      await attempt.withdraw();
      return 0;
    };
    const succeed = async (limiter: LoginLimiter, user: string, address: string) => {
      const attempt = await limiter.begin(user, address);
      if (typeof attempt === 'number') throw new TypeError(`${user} is locked at ${address}`);
      await attempt.succeeded();
    };
    const rows = async () =>
      await scratch.database.sql.selectFrom('login_failures').selectAll().orderBy('key').execute();
    const addUser = async (username: string) =>
      await scratch.database.sql
        .insertInto('users')
        .values({ username, password_hash: 'none', created_at: 0 })
        .execute();

    test('an office in which people mistype now and then is never locked out', async () => {
      const { limiter, clock } = make();
      for (let person = 0; person < 40; person += 1) {
        await fail(limiter, 1, `person-${person}`);
        await clock.advance(50 * 60_000);
        expect(await lockedFor(limiter, `person-${person}`, '192.0.2.1')).toBe(0);
      }
    });

    test('programs whose tokens were revoked keep nobody beside them from signing in', async () => {
      const { limiter, clock } = make();
      for (let round = 0; round < 5; round += 1) {
        for (let robot = 0; robot < 20; robot += 1) await fail(limiter, 1, `acme+ci-${robot}`);
        await fail(limiter, 3, '$oauthtoken');
        await clock.advance(60_000);
      }
      expect(await lockedFor(limiter, 'alice', '192.0.2.1')).toBe(0);
      // They themselves are slowed down.
      await fail(limiter, 20, 'acme+ci-0');
      expect(await lockedFor(limiter, 'acme+ci-0', '192.0.2.1')).toBeGreaterThan(0);
    });

    test('an address is forgiven one failure in ten minutes, and no more by signing in often', async () => {
      const { limiter, clock } = make();
      for (let name = 0; name < 29; name += 1) await fail(limiter, 1, `name-${name}`);
      await clock.advance(10 * 60_000);
      for (let count = 0; count < 20; count += 1) await succeed(limiter, 'bob', '192.0.2.1');
      // 28 are left: one more may fail without a lock, and the next one locks.
      await fail(limiter, 1, 'last-1');
      expect(await lockedFor(limiter, 'carol', '192.0.2.1')).toBe(0);
      await fail(limiter, 1, 'last-2');
      expect(await lockedFor(limiter, 'carol', '192.0.2.1')).toBeGreaterThan(0);
    });

    test('a few failures are forgiven, the next one locks, each further one twice as long', async () => {
      const { clock, limiter } = make();
      await fail(limiter, 4);
      expect(await lockedFor(limiter, 'alice', '192.0.2.1')).toBe(0);
      const locks: number[] = [];
      for (let count = 0; count < 4; count += 1) {
        await fail(limiter, 1);
        locks.push(await lockedFor(limiter, 'alice', '192.0.2.1'));
        await clock.advance(locks.at(-1) ?? 0);
        expect(await lockedFor(limiter, 'alice', '192.0.2.1')).toBe(0);
      }
      expect(locks).toEqual([2_000, 4_000, 8_000, 16_000]);
    });

    test('a lock never lasts longer than its limit', async () => {
      const made = make();
      const { limiter } = made;
      await failWaiting(made, 40);
      expect(await lockedFor(limiter, 'alice', '192.0.2.1')).toBe(defaultLoginLimits.longestLock);
    });

    test('nobody is locked out by failures from elsewhere, until they are far too many', async () => {
      const { limiter } = make();
      for (let host = 1; host < 50; host += 1) await fail(limiter, 1, 'alice', `192.0.2.${host}`);
      expect(await lockedFor(limiter, 'alice', '198.51.100.1')).toBe(0);
      await fail(limiter, 1, 'alice', '192.0.2.50');
      expect(await lockedFor(limiter, 'alice', '198.51.100.1')).toBeGreaterThan(0);
    });

    test('keeps nothing of what was typed', async () => {
      await addUser('alice');
      const { limiter } = make();
      const typed = ['alice', 'slp_0123456789abcdefghij', 'correct horse battery'];
      for (const name of typed) await fail(limiter, 1, name);
      const kept = JSON.stringify(await rows());
      expect(kept).toContain('192.0.2.1');
      for (const name of typed) expect(kept).not.toContain(name);
    });

    test('one address never locks a name, however long it goes on', async () => {
      const made = make();
      await failWaiting(made, 120);
      expect(await lockedFor(made.limiter, 'alice', '198.51.100.1')).toBe(0);
      const ofName = (await rows()).find(({ key }) => key === `user ${nameMark('alice')}`);
      expect(ofName?.count ?? 0).toBeLessThanOrEqual(defaultLoginLimits.perUser);
    });

    test('the lock of a name leaves out where its user has signed in from', async () => {
      await addUser('alice');
      const { clock, limiter } = make();
      await succeed(limiter, 'alice', '198.51.100.1');
      for (let host = 1; host <= 60; host += 1) await fail(limiter, 1, 'alice', `192.0.2.${host}`);
      expect(await lockedFor(limiter, 'alice', '198.51.100.2')).toBeGreaterThan(0);
      expect(await lockedFor(limiter, 'alice', '198.51.100.1')).toBe(0);
      // It guesses no more than any other there.
      await fail(limiter, 5, 'alice', '198.51.100.1');
      expect(await lockedFor(limiter, 'alice', '198.51.100.1')).toBeGreaterThan(0);
      // And not for ever.
      await clock.advance(91 * 24 * 3_600_000);
      for (let host = 1; host <= 60; host += 1) await fail(limiter, 1, 'alice', `192.0.2.${host}`);
      expect(await lockedFor(limiter, 'alice', '198.51.100.1')).toBeGreaterThan(0);
    });

    test('of one user no more than the latest networks are known', async () => {
      await addUser('alice');
      const { clock, limiter } = make();
      for (let host = 1; host <= 30; host += 1) {
        await succeed(limiter, 'alice', `198.51.100.${host}`);
        await clock.advance(1);
      }
      await succeed(limiter, 'nobody', '198.51.100.1');
      const known = await scratch.database.sql.selectFrom('known_networks').select('network').execute();
      expect(known.length).toBe(20);
      expect(known).toContainEqual({ network: '198.51.100.30' });
      expect(known).not.toContainEqual({ network: '198.51.100.1' });
    });

    test('an address that tries many names is locked, whatever it tries next', async () => {
      const { limiter } = make();
      for (let count = 0; count < 30; count += 1) await fail(limiter, 1, `user${count}`);
      expect(await lockedFor(limiter, 'somebody', '192.0.2.1')).toBeGreaterThan(0);
      expect(await lockedFor(limiter, 'somebody', '192.0.2.2')).toBe(0);
    });

    test('an IPv6 client cannot get around it within its own network, and IPv4 is the same in IPv6 clothes', async () => {
      const { limiter } = make();
      for (let count = 0; count < 5; count += 1)
        await fail(limiter, 1, 'alice', `2001:db8:1:2::${count + 1}`);
      expect(await lockedFor(limiter, 'alice', '2001:db8:1:2:ffff::9')).toBeGreaterThan(0);
      expect(await lockedFor(limiter, 'alice', '2001:db8:1:3::1')).toBe(0);
      await fail(limiter, 5, 'bob', '::ffff:192.0.2.9');
      expect(await lockedFor(limiter, 'bob', '192.0.2.9')).toBeGreaterThan(0);
    });

    test('the right password clears the way', async () => {
      const { limiter } = make();
      await fail(limiter, 4);
      await succeed(limiter, 'alice', '192.0.2.1');
      await fail(limiter, 4);
      expect(await lockedFor(limiter, 'alice', '192.0.2.1')).toBe(0);
    });

    test('old failures are forgotten', async () => {
      const { clock, limiter } = make();
      await fail(limiter, 4);
      await clock.advance(defaultLoginLimits.forgetAfter + 1);
      await fail(limiter, 1);
      expect(await lockedFor(limiter, 'alice', '192.0.2.1')).toBe(0);
    });

    test('what is remembered is bounded, and the lock of who fails now is kept', async () => {
      const { limiter } = make({ remembered: 100 });
      for (let count = 0; count < 300; count += 1) await fail(limiter, 1, `user${count}`, `address ${count}`);
      await fail(limiter, 5);
      // Between two sweeps of 50 failures there may be 3 rows for each.
      expect((await rows()).length).toBeLessThanOrEqual(100 + 3 * 50);
      expect(await lockedFor(limiter, 'alice', '192.0.2.1')).toBeGreaterThan(0);
    });

    test('nobody locks a robot out, or those who come with tokens, from elsewhere', async () => {
      const { limiter } = make();
      for (const name of ['team+ci', '$oauthtoken']) {
        for (let host = 1; host < 60; host += 1) await fail(limiter, 1, name, `192.0.2.${host}`);
        expect(await lockedFor(limiter, name, '198.51.100.1')).toBe(0);
        await fail(limiter, 5, name, '203.0.113.9');
        expect(await lockedFor(limiter, name, '203.0.113.9')).toBeGreaterThan(0);
      }
    });

    test('managers of one database count together', async () => {
      const { clock, limiter } = make();
      const other = new LoginLimiter(scratch.database, clock);
      await fail(limiter, 3);
      await fail(other, 2);
      expect(await lockedFor(limiter, 'alice', '192.0.2.1')).toBe(2_000);
      expect(await lockedFor(other, 'alice', '192.0.2.1')).toBe(2_000);
    });

    test('attempts at the same moment get no more tries than one after the other', async () => {
      const { clock, limiter } = make();
      const managers = [limiter, new LoginLimiter(scratch.database, clock)];
      const begun = await Promise.all(
        Array.from({ length: 20 }, (_each, index) => managers[index % 2]?.begin('alice', '192.0.2.1')),
      );
      expect(begun.filter((each) => typeof each === 'object').length).toBe(5);
      expect((await rows()).map(({ count }) => count)).toEqual([5, 5, 5]);
    });

    test('a success takes its own failure back, and leaves those of others where they were', async () => {
      const { clock, limiter } = make();
      await fail(limiter, 3);
      await fail(limiter, 2, 'bob');
      const before = (await rows()).filter(({ key }) => key === 'address 192.0.2.1');
      await clock.advance(1_000);
      await succeed(limiter, 'alice', '192.0.2.1');
      expect((await rows()).filter(({ key }) => key === 'address 192.0.2.1')).toEqual(before);
      expect((await rows()).map(({ key }) => key)).not.toContain(`pair 192.0.2.1 ${nameMark('alice')}`);
      // Withdrawn ones change nothing.
      const now = await rows();
      expect(await lockedFor(limiter, 'bob', '192.0.2.1')).toBe(0);
      expect(await rows()).toEqual(now);
    });

    test('who signs in and never failed leaves nothing, whatever the name holds', async () => {
      const { limiter } = make();
      expect(await lockedFor(limiter, 'al\0ice', '192.0.2.1')).toBe(0);
      await succeed(limiter, 'al\0ice', '192.0.2.1');
      expect(await rows()).toEqual([]);
      await limiter.begin('al\0ice', '192.0.2.1');
    });
  });
}
