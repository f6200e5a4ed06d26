import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { OpenScratch, ScratchDatabase } from '../../test/harness/scratch-database.ts';
import { ManualClock } from '../base/clock.ts';
import { AccountError } from './account-error.ts';
import { PasswordHasher } from './password-hash.ts';
import { sessionHash } from './session-secret.ts';
import { mostSessions } from './sessions.ts';
import { SqlAccounts } from './sql-accounts.ts';
import { SqlSessions } from './sql-sessions.ts';

const minute = 60_000;
const times = { idle: 60 * minute, lifetime: 300 * minute };

/** What sessions must do, on every database. */
export function sessionsSuite(name: string, openScratch: OpenScratch): void {
  describe(name, () => {
    let scratch: ScratchDatabase;
    let clock: ManualClock;
    let sessions: SqlSessions;

    beforeEach(async () => {
      scratch = await openScratch();
      clock = new ManualClock();
      const { database } = scratch;
      const accounts = new SqlAccounts({ database, passwords: new PasswordHasher(), clock });
      await accounts.createUser({ username: 'kim', password: 'correct horse' });
      await accounts.createUser({ username: 'lee', password: 'correct horse' });
      sessions = new SqlSessions({ database, clock, times });
    });
    afterEach(async () => await scratch[Symbol.asyncDispose]());

    const begin = async (username = 'kim') => await sessions.open({ username, way: 'password' });
    const update = async (set: { password_hash?: string; disabled?: number; email?: string }) =>
      await scratch.database.sql.updateTable('users').set(set).where('username', '=', 'kim').execute();

    test('a session is its user, and its secret is stored nowhere', async () => {
      const { secret, session } = await sessions.open({
        username: 'kim',
        way: 'password',
        address: '192.0.2.1',
        userAgent: `a\0b${'x'.repeat(600)}`,
      });
      expect(await sessions.use(secret)).toEqual({
        kind: 'user',
        username: 'kim',
        superuser: false,
        scopes: 'all',
        sessionId: session.id,
      });
      const stored = await scratch.database.sql.selectFrom('sessions').selectAll().execute();
      expect(JSON.stringify(stored)).not.toContain(secret);
      expect(stored).toMatchObject([{ hash: sessionHash(secret) }]);
      expect(session.userAgent).toHaveLength(500);
      const [listed] = await sessions.list('kim');
      expect(listed).toEqual(session);
    });

    test.each(['', 'x', 'A'.repeat(43), 'ü'.repeat(43), `${'A'.repeat(42)}\0`])(
      'no session for %j',
      async (secret) => {
        await begin();
        expect(await sessions.use(secret)).toBeUndefined();
      },
    );

    test('two sessions have nothing in common', async () => {
      const [one, other] = [await begin(), await begin()];
      expect(one.secret).not.toBe(other.secret);
      expect(await sessions.end('kim', one.session.id)).toBe(true);
      expect(await sessions.use(one.secret)).toBeUndefined();
      expect(await sessions.use(other.secret)).toBeDefined();
    });

    test('one that is not used ends, one that is used goes on until its life is over', async () => {
      const { secret } = await begin();
      const idle = await begin();
      for (let passed = 50; passed < 300; passed += 50) {
        await clock.advance(50 * minute);
        expect([passed, await sessions.use(secret)]).toMatchObject([passed, { username: 'kim' }]);
      }
      expect(await sessions.use(idle.secret)).toBeUndefined();
      await clock.advance(49 * minute);
      expect(await sessions.use(secret)).toBeDefined();
      await clock.advance(minute);
      expect(await sessions.use(secret)).toBeUndefined();
      expect(await sessions.list('kim')).toEqual([]);
    });

    test('its row is written once in five minutes at most', async () => {
      const { secret, session } = await begin();
      const lastUse = async () => (await sessions.list('kim'))[0]?.lastUsedAt;
      await clock.advance(5 * minute - 1);
      await sessions.use(secret);
      expect(await lastUse()).toBe(session.createdAt);
      await clock.advance(1);
      await sessions.use(secret);
      expect(await lastUse()).toBe(session.createdAt + 5 * minute);
    });

    test('another password ends all sessions of the user and of nobody else', async () => {
      const mine = [await begin(), await begin()];
      const other = await begin('lee');
      await update({ email: 'kim@example.com' });
      expect(await sessions.use(mine[0]?.secret ?? '')).toBeDefined();
      await update({ password_hash: 'another' });
      for (const { secret } of mine) expect(await sessions.use(secret)).toBeUndefined();
      expect(await sessions.use(other.secret)).toBeDefined();
    });

    test('who is switched off has no session, gets none, and has none when switched on again', async () => {
      const { secret } = await begin();
      await update({ disabled: 1 });
      expect(await sessions.use(secret)).toBeUndefined();
      await expect(begin()).rejects.toMatchObject({ code: 'unknown' });
      await expect(begin('nobody')).rejects.toBeInstanceOf(AccountError);
      await update({ disabled: 0 });
      expect(await sessions.use(secret)).toBeUndefined();
      expect(await sessions.use((await begin()).secret)).toBeDefined();
    });

    test('a removed user has no session', async () => {
      const { secret } = await begin();
      await scratch.database.sql.deleteFrom('users').where('username', '=', 'kim').execute();
      expect(await sessions.use(secret)).toBeUndefined();
    });

    test('nobody ends the session of somebody else', async () => {
      const { secret, session } = await begin();
      expect(await sessions.end('lee', session.id)).toBe(false);
      expect(await sessions.end('kim', 'no\0such')).toBe(false);
      expect(await sessions.endAll('lee')).toBe(0);
      expect(await sessions.use(secret)).toBeDefined();
    });

    test('all but one are ended', async () => {
      const [kept, gone] = [await begin(), await begin()];
      expect(await sessions.endAll('kim', kept.session.id)).toBe(1);
      expect(await sessions.use(kept.secret)).toBeDefined();
      expect(await sessions.use(gone.secret)).toBeUndefined();
      expect(await sessions.endAll('kim')).toBe(1);
      expect(await sessions.use(kept.secret)).toBeUndefined();
    });

    test('one too many ends the oldest, and what has ended leaves no rows', async () => {
      const oldest = await begin();
      await clock.advance(1);
      const second = await begin();
      await clock.advance(1);
      for (let count = 2; count < mostSessions; count += 1) await begin();
      expect(await sessions.use(oldest.secret)).toBeDefined();
      await clock.advance(1);
      await begin();
      expect(await sessions.use(oldest.secret)).toBeUndefined();
      expect(await sessions.use(second.secret)).toBeDefined();
      await clock.advance(times.lifetime);
      await begin('lee');
      const rows = await scratch.database.sql.selectFrom('sessions').select('username').execute();
      expect(rows).toEqual([{ username: 'lee' }]);
    });
  });
}
