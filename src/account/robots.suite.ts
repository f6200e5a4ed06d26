import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { OpenScratch, ScratchDatabase } from '../../test/harness/scratch-database.ts';
import { ManualClock } from '../base/clock.ts';
import { AccountError } from './account-error.ts';
import type { Principal } from './accounts.ts';
import { AccountAuthorizer, AccountSubject } from './authorizer.ts';
import { LoginLimiter } from './login-limiter.ts';
import { PasswordHasher } from './password-hash.ts';
import { SignIn } from './sign-in.ts';
import { SqlAccounts } from './sql-accounts.ts';

const password = 'correct horse';
const ci = { namespace: 'alice', short: 'ci' };
const web = { namespace: 'alice', name: 'web' };
const robot: Principal = { kind: 'robot', name: 'alice+ci', namespace: 'alice' };

/** What robots must do, on every database. */
export function robotsSuite(name: string, openScratch: OpenScratch): void {
  describe(name, () => {
    let scratch: ScratchDatabase;
    let clock: ManualClock;
    let accounts: SqlAccounts;

    beforeEach(async () => {
      scratch = await openScratch();
      clock = new ManualClock();
      accounts = new SqlAccounts({ database: scratch.database, passwords: new PasswordHasher(), clock });
      await accounts.createUser({ username: 'alice', password });
      await accounts.createUser({ username: 'bob', password });
      await accounts.createRepository(web, { visibility: 'private' });
    });
    afterEach(async () => await scratch[Symbol.asyncDispose]());

    const codeOf = async (work: Promise<unknown>) => {
      const thrown: unknown = await work.then(
        () => undefined,
        (error: unknown) => error,
      );
      return thrown instanceof AccountError ? thrown.code : thrown;
    };

    test('a robot is made once; its token is shown once and stored as a hash', async () => {
      const made = await accounts.robots.create(ci, { description: 'builds' });
      expect(made.token).toMatch(/^slr_[\w-]{43}$/);
      expect(made.robot).toEqual({ name: 'alice+ci', description: 'builds', createdAt: clock.now() });
      const rows = await scratch.database.sql.selectFrom('robots').selectAll().execute();
      expect(JSON.stringify(rows)).not.toContain(made.token);
      expect(await codeOf(accounts.robots.create(ci))).toBe('exists');
      expect(await codeOf(accounts.robots.create({ namespace: 'nobody', short: 'ci' }))).toBe('unknown');
      await clock.advance(1_000);
      expect(await accounts.verifyToken(made.token)).toEqual(robot);
      expect((await accounts.robots.robot(ci))?.lastUsedAt).toBe(clock.now());
    });

    test.each(['', 'a', 'Ci', 'a+b', 'a b', '-a', 'a'.repeat(256)])(
      'refuses %j for a short name',
      async (short) => {
        expect(await codeOf(accounts.robots.create({ namespace: 'alice', short }))).toBe('bad-name');
      },
    );

    test('a new token ends the one before, and a token ends with its time or its robot', async () => {
      const first = await accounts.robots.create(ci);
      const second = await accounts.robots.regenerate(ci, { expiresAt: clock.now() + 60_000 });
      expect(await accounts.verifyToken(first.token)).toBeUndefined();
      expect(await accounts.verifyToken(second?.token ?? '')).toEqual(robot);
      await clock.advance(60_000);
      expect(await accounts.verifyToken(second?.token ?? '')).toBeUndefined();
      const third = await accounts.robots.regenerate(ci);
      expect(await accounts.verifyToken(third?.token ?? '')).toEqual(robot);
      expect(await accounts.robots.delete(ci)).toBe(true);
      expect(await accounts.robots.delete(ci)).toBe(false);
      expect(await accounts.verifyToken(third?.token ?? '')).toBeUndefined();
      expect(await accounts.robots.regenerate(ci)).toBeUndefined();
      expect(await codeOf(accounts.robots.create(ci, { expiresAt: clock.now() }))).toBe('bad-token');
    });

    test('is found by the token that its own was made with, while that is good', async () => {
      await accounts.robots.create(ci, { madeWith: 'one' });
      const deploy = { namespace: 'alice', short: 'deploy' };
      await accounts.robots.create(deploy, { madeWith: 'one', expiresAt: clock.now() + 60_000 });
      await accounts.robots.create({ namespace: 'alice', short: 'other' }, { madeWith: 'two' });
      await accounts.robots.create({ namespace: 'alice', short: 'by-hand' });
      const found = async (token: string) =>
        (await accounts.robots.madeWith(token)).map((each) => [each.name, each.madeWith]);
      expect(await found('one')).toEqual([
        ['alice+ci', 'one'],
        ['alice+deploy', 'one'],
      ]);
      await clock.advance(60_000);
      await accounts.robots.regenerate(ci, { madeWith: 'two' });
      expect(await found('one')).toEqual([]);
      await accounts.robots.regenerate(ci);
      expect(await found('two')).toEqual([['alice+other', 'two']]);
    });

    test('signs in by its own name and token only, and to nothing of its owner', async () => {
      const { token } = await accounts.robots.create(ci);
      const signIn = new SignIn(accounts, new LoginLimiter(scratch.database, clock));
      const check = async (username: string, secret: string) => {
        const verdict = await signIn.check({ username, password: secret }, '192.0.2.1');
        return verdict.kind === 'accepted' ? verdict.principal : verdict.kind;
      };
      expect(await check('alice+ci', token)).toEqual(robot);
      expect(await check('$oauthtoken', token)).toEqual(robot);
      expect(await check('alice+other', token)).toBe('refused');
      expect(await check('alice', token)).toBe('refused');
      expect(await check('alice+ci', password)).toBe('refused');
      const personal = await accounts.createToken('alice', { name: 'x', scopes: ['repo:read'] });
      expect(await check('alice+ci', personal.token)).toBe('refused');
    });

    test('may do what repositories give it, in any namespace, and nothing else', async () => {
      await accounts.robots.create(ci);
      expect(await accounts.roleOn(robot, web)).toBeUndefined();
      for (const role of ['read', 'write', 'admin'] as const) {
        expect(await accounts.setPermission(web, 'alice+ci', role)).toBe(true);
        expect(await accounts.roleOn(robot, web)).toBe(role);
        expect(await accounts.roleOn(robot, { ...web, name: 'other' })).toBeUndefined();
      }
      expect(await accounts.permissions(web)).toEqual([
        { username: 'alice+ci', isRobot: true, role: 'admin' },
      ]);
      const theirs = { namespace: 'bob', name: 'app' };
      await accounts.createRepository(theirs, { visibility: 'private' });
      await accounts.setPermission(theirs, 'alice+ci', 'read');
      const seen = await accounts.repositories(robot, { limit: 10 });
      expect(seen.map(({ name: { namespace, name: text } }) => `${namespace}/${text}`)).toEqual([
        'alice/web',
        'bob/app',
      ]);
      expect(await accounts.robots.grants(ci, { limit: 1 })).toEqual([
        { repository: web, visibility: 'private', role: 'admin' },
      ]);
      expect(await accounts.robots.grants(ci, { limit: 9, after: 'alice/web' })).toMatchObject([
        { repository: theirs, role: 'read' },
      ]);
      expect(await accounts.robots.reach(['alice+ci'])).toEqual(
        new Map([['alice+ci', { teams: [], repositories: [web, theirs] }]]),
      );
      expect(await accounts.setPermission(web, 'alice+none', 'read')).toBe(false);
      expect(await accounts.setPermission(web, 'alice+ci', undefined)).toBe(true);
      expect(await accounts.setPermission(web, 'alice+ci', undefined)).toBe(false);
      // What is deleted and made anew has nothing of the one before.
      await accounts.robots.delete(ci);
      await accounts.robots.create(ci);
      expect(await accounts.roleOn(robot, theirs)).toBeUndefined();
    });

    test('is refused while its owner is disabled', async () => {
      const { token } = await accounts.robots.create(ci);
      await accounts.setPermission(web, 'alice+ci', 'read');
      const limiter = new LoginLimiter(scratch.database, clock);
      const authorizer = new AccountAuthorizer(accounts, new SignIn(accounts, limiter));
      expect(await authorizer.readerNamed('alice+ci')).toBeDefined();
      await accounts.users.change('alice', { enabled: false });
      expect(await accounts.verifyToken(token)).toBeUndefined();
      expect(await accounts.isEnabled('alice+ci')).toBe(false);
      expect(await authorizer.readerNamed('alice+ci')).toBeUndefined();
      await accounts.users.change('alice', { enabled: true });
      expect(await accounts.verifyToken(token)).toEqual(robot);
      expect(await accounts.isEnabled('alice+none')).toBe(false);
      // One whose time is over is as little.
      await accounts.robots.regenerate(ci, { expiresAt: clock.now() + 1_000 });
      expect(await accounts.isEnabled('alice+ci')).toBe(true);
      await clock.advance(1_000);
      expect(await accounts.isEnabled('alice+ci')).toBe(false);
      expect(await authorizer.readerNamed('alice+ci')).toBeUndefined();
    });

    test('the registry gives a robot what its role allows', async () => {
      const { token } = await accounts.robots.create(ci);
      const limiter = new LoginLimiter(scratch.database, clock);
      const authorizer = new AccountAuthorizer(accounts, new SignIn(accounts, limiter));
      const subject = await authorizer.authenticate({ username: 'alice+ci', password: token });
      if (!(subject instanceof AccountSubject)) throw new TypeError('it was not let in');
      expect(subject.name).toBe('alice+ci');
      const ask = async () => await authorizer.authorize(subject, 'alice/web', ['pull', 'push', 'delete']);
      expect(await ask()).toEqual([]);
      await accounts.setPermission(web, 'alice+ci', 'read');
      expect(await ask()).toEqual(['pull']);
      await accounts.setPermission(web, 'alice+ci', 'write');
      expect(await ask()).toEqual(['pull', 'push']);
    });

    test('lists robots by name, page by page', async () => {
      for (const short of ['zz', 'aa', 'mm']) await accounts.robots.create({ namespace: 'alice', short });
      await accounts.robots.create({ namespace: 'bob', short: 'aa' });
      const list = async (after?: string) =>
        (await accounts.robots.robots('alice', { limit: 2, ...(after === undefined ? {} : { after }) })).map(
          (each) => each.name,
        );
      expect(await list()).toEqual(['alice+aa', 'alice+mm']);
      expect(await list('alice+mm')).toEqual(['alice+zz']);
    });

    test('tokens are not made without end', async () => {
      await accounts.robots.create(ci);
      for (let count = 1; count < 100; count += 1) await accounts.robots.regenerate(ci);
      expect(await codeOf(accounts.robots.regenerate(ci))).toBe('too-often');
      await clock.advance(3_600_000);
      expect(await accounts.robots.regenerate(ci)).toBeDefined();
    });
  });
}
