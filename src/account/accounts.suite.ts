import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { OpenScratch, ScratchDatabase } from '../../test/harness/scratch-database.ts';
import { ManualClock } from '../base/clock.ts';
import { AccountError } from './account-error.ts';
import type { Principal, TokenScope } from './accounts.ts';
import { AccountAuthorizer, AccountSubject } from './authorizer.ts';
import { LoginLimiter } from './login-limiter.ts';
import { PasswordHasher } from './password-hash.ts';
import { tokenHash } from './personal-token.ts';
import { SignIn } from './sign-in.ts';
import { SqlAccounts } from './sql-accounts.ts';

const password = 'correct horse';
const web = { namespace: 'alice', name: 'web' };
const anonymous: Principal = { kind: 'anonymous' };

/** What accounts must do, on every database. */
export function accountsSuite(name: string, openScratch: OpenScratch): void {
  describe(name, () => {
    let scratch: ScratchDatabase;
    let clock: ManualClock;
    let accounts: SqlAccounts;

    beforeEach(async () => {
      scratch = await openScratch();
      clock = new ManualClock();
      accounts = new SqlAccounts({ database: scratch.database, passwords: new PasswordHasher(), clock });
    });
    afterEach(async () => await scratch[Symbol.asyncDispose]());

    const user = (username: string, scopes: readonly TokenScope[] | 'all' = 'all'): Principal => ({
      kind: 'user',
      username,
      superuser: false,
      scopes,
    });
    const codeOf = async (work: Promise<unknown>) => {
      const thrown: unknown = await work.then(
        () => undefined,
        (error: unknown) => error,
      );
      return thrown instanceof AccountError ? thrown.code : thrown;
    };

    test('a user is made once and signs in with the password alone', async () => {
      expect(await accounts.anyUser()).toBe(false);
      await accounts.createUser({ username: 'alice', password, superuser: true });
      expect(await accounts.anyUser()).toBe(true);
      expect(await accounts.verifyPassword('alice', password)).toEqual({
        kind: 'user',
        username: 'alice',
        superuser: true,
        scopes: 'all',
      });
      expect(await accounts.verifyPassword('alice', 'wrong horse')).toBeUndefined();
      expect(await accounts.verifyPassword('bob', password)).toBeUndefined();
      expect(await accounts.verifyPassword('ali\0ce', password)).toBeUndefined();
      expect(await codeOf(accounts.createUser({ username: 'alice', password }))).toBe('exists');
    });

    test('a name that is a namespace already is no new user, and nothing of the user is left', async () => {
      await scratch.database.sql.insertInto('namespaces').values({ name: 'team', created_at: 0 }).execute();
      expect(await codeOf(accounts.createUser({ username: 'team', password }))).toBe('exists');
      expect(await accounts.anyUser()).toBe(false);
    });

    test.each(['', 'a', 'Alice', 'a b', '../x', '$token', 'a'.repeat(256)])(
      'refuses %j for a name',
      async (username) => {
        expect(await codeOf(accounts.createUser({ username, password }))).toBe('bad-name');
      },
    );

    test.each(['', 'short', 'x'.repeat(1025)])('refuses a password of a bad length', async (bad) => {
      expect(await codeOf(accounts.createUser({ username: 'alice', password: bad }))).toBe('bad-password');
    });

    test('a disabled user has neither password nor tokens', async () => {
      await accounts.createUser({ username: 'alice', password });
      const { token } = await accounts.createToken('alice', { name: 'x', scopes: ['repo:read'] });
      await scratch.database.sql.updateTable('users').set({ disabled: 1 }).execute();
      expect(await accounts.verifyPassword('alice', password)).toBeUndefined();
      expect(await accounts.verifyToken(token)).toBeUndefined();
    });

    test('a token is stored as a hash, gives its scopes, and ends with its time or when it is revoked', async () => {
      await accounts.createUser({ username: 'alice', password, superuser: true });
      const { token, view } = await accounts.createToken('alice', {
        name: 'ci',
        scopes: ['repo:write', 'repo:write'],
        expiresAt: clock.now() + 60_000,
      });
      expect(token).toMatch(/^slp_[\w-]{43}$/);
      const rows = await scratch.database.sql.selectFrom('tokens').selectAll().execute();
      expect(JSON.stringify(rows)).not.toContain(token);
      expect(rows[0]?.hash).toBe(tokenHash(token));
      expect(view.scopes).toEqual(['repo:write']);
      // The scope says what the token may: its owner's being a superuser does not come with it.
      expect(await accounts.verifyToken(token)).toEqual({
        kind: 'user',
        tokenExpiresAt: clock.now() + 60_000,
        username: 'alice',
        superuser: false,
        scopes: ['repo:write'],
        tokenId: view.id,
      });
      expect((await accounts.tokens('alice'))[0]?.lastUsedAt).toBe(clock.now());
      await clock.advance(60_000);
      expect(await accounts.verifyToken(token)).toBeUndefined();
      const lasting = await accounts.createToken('alice', { name: 'x', scopes: ['super:user'] });
      expect(await accounts.verifyToken(lasting.token)).toMatchObject({ superuser: true });
      expect(await accounts.revokeToken('bob', lasting.view.id)).toBe(false);
      expect(await accounts.revokeToken('alice', lasting.view.id)).toBe(true);
      expect(await accounts.verifyToken(lasting.token)).toBeUndefined();
      expect(await accounts.tokens('alice')).toEqual([]);
    });

    test('tokens are bounded, and need a user, scopes and a future', async () => {
      await accounts.createUser({ username: 'alice', password });
      const scopes = ['repo:read'] as const;
      expect(await codeOf(accounts.createToken('bob', { name: 'x', scopes }))).toBe('unknown');
      expect(await codeOf(accounts.createToken('alice', { name: 'x', scopes: [] }))).toBe('bad-token');
      expect(await codeOf(accounts.createToken('alice', { name: 'x', scopes, expiresAt: clock.now() }))).toBe(
        'bad-token',
      );
      for (let count = 0; count < 100; count += 1) await accounts.createToken('alice', { name: 'x', scopes });
      expect(await codeOf(accounts.createToken('alice', { name: 'x', scopes }))).toBe('too-often');
      await clock.advance(3_600_000);
      for (let count = 0; count < 100; count += 1) await accounts.createToken('alice', { name: 'x', scopes });
      await clock.advance(3_600_000);
      expect(await codeOf(accounts.createToken('alice', { name: 'x', scopes }))).toBe('too-many');
    });

    test('roles come from the namespace, a permission, or being public; the strongest counts', async () => {
      for (const username of ['alice', 'bob']) await accounts.createUser({ username, password });
      expect(await accounts.roleOn(user('alice'), web)).toBe('admin');
      expect(await accounts.roleOn(user('bob'), web)).toBeUndefined();
      await accounts.createRepository(web, { visibility: 'private' });
      expect(await accounts.roleOn(anonymous, web)).toBeUndefined();
      expect(await accounts.setPermission(web, 'bob', 'write')).toBe(true);
      expect(await accounts.roleOn(user('bob'), web)).toBe('write');
      expect(await accounts.setPermission(web, 'bob', 'read')).toBe(true);
      expect(await accounts.roleOn(user('bob'), web)).toBe('read');
      expect(await accounts.permissions(web)).toEqual([{ username: 'bob', isRobot: false, role: 'read' }]);
      expect(await accounts.setPermission(web, 'nobody', 'read')).toBe(false);
      expect(await accounts.setPermission(web, 'bob', undefined)).toBe(true);
      expect(await accounts.setPermission(web, 'bob', undefined)).toBe(false);
      const open = { namespace: 'alice', name: 'open' };
      await accounts.createRepository(open, { visibility: 'public' });
      expect(await accounts.roleOn(anonymous, open)).toBe('read');
      expect(await accounts.roleOn(user('bob'), open)).toBe('read');
      expect(await accounts.roleOn({ ...user('bob'), superuser: true } as Principal, web)).toBe('admin');
    });

    test('a token gives no stronger role than its scopes', async () => {
      await accounts.createUser({ username: 'alice', password });
      await accounts.createRepository(web, { visibility: 'private' });
      expect(await accounts.roleOn(user('alice', ['repo:read']), web)).toBe('read');
      expect(await accounts.roleOn(user('alice', ['repo:write', 'repo:read']), web)).toBe('write');
      expect(await accounts.roleOn(user('alice', ['repo:admin']), web)).toBe('admin');
      expect(await accounts.roleOn(user('alice', ['user:admin']), web)).toBeUndefined();
    });

    test('a repository is made once, and takes its permissions with it', async () => {
      for (const username of ['alice', 'bob']) await accounts.createUser({ username, password });
      const made = await accounts.createRepository(web, { visibility: 'private', description: 'the site' });
      expect(await accounts.repository(web)).toEqual(made);
      expect(await codeOf(accounts.createRepository(web, { visibility: 'public' }))).toBe('exists');
      await accounts.setPermission(web, 'bob', 'admin');
      expect(await accounts.isFreed(web)).toBe(false);
      expect(await accounts.deleteRepository(web)).toBe(true);
      expect(await accounts.deleteRepository(web)).toBe(false);
      expect(await accounts.isFreed(web)).toBe(true);
      expect(await accounts.isFreed({ namespace: 'alice', name: 'never' })).toBe(false);
      await accounts.createRepository(web, { visibility: 'private' });
      expect(await accounts.isFreed(web)).toBe(false);
      expect(await accounts.roleOn(user('bob'), web)).toBeUndefined();
    });

    test('lists what one may see, by name, page by page', async () => {
      for (const username of ['alice', 'bob']) await accounts.createUser({ username, password });
      const make = (namespace: string, name: string, visibility: 'public' | 'private') =>
        accounts.createRepository({ namespace, name }, { visibility });
      await make('bob', 'a', 'private');
      await make('bob', 'b', 'public');
      await make('alice', 'z', 'private');
      await make('alice', 'a-b', 'private');
      await make('alice', 'a/b', 'public');
      await accounts.setPermission({ namespace: 'bob', name: 'a' }, 'alice', 'read');
      const list = async (principal: Principal, query = {}) =>
        (await accounts.repositories(principal, { limit: 10, ...query })).map(
          ({ name }) => `${name.namespace}/${name.name}`,
        );
      expect(await list(anonymous)).toEqual(['alice/a/b', 'bob/b']);
      expect(await list(user('bob'))).toEqual(['alice/a/b', 'bob/a', 'bob/b']);
      expect(await list(user('alice'))).toEqual(['alice/a-b', 'alice/a/b', 'alice/z', 'bob/a', 'bob/b']);
      expect(await list(user('alice', ['user:admin']))).toEqual(['alice/a/b', 'bob/b']);
      expect(await list(user('alice'), { namespace: 'bob' })).toEqual(['bob/a', 'bob/b']);
      expect(await list(user('alice'), { limit: 2 })).toEqual(['alice/a-b', 'alice/a/b']);
      expect(await list(user('alice'), { limit: 2, after: 'alice/a/b' })).toEqual(['alice/z', 'bob/a']);
    });

    test('the registry gives people what their role and their token allow', async () => {
      for (const username of ['alice', 'bob']) await accounts.createUser({ username, password });
      await accounts.createRepository(web, { visibility: 'private' });
      const authorizer = new AccountAuthorizer(
        accounts,
        new SignIn(accounts, new LoginLimiter(scratch.database, clock)),
      );
      const { token } = await accounts.createToken('alice', { name: 'pull', scopes: ['repo:read'] });
      const ask = async (username: string, secret: string, repository = 'alice/web') => {
        const subject = await authorizer.authenticate({ username, password: secret });
        if (!(subject instanceof AccountSubject)) return 'refused';
        return await authorizer.authorize(subject, repository, ['pull', 'push', 'delete']);
      };
      expect(await ask('alice', password)).toEqual(['pull', 'push', 'delete']);
      expect(await ask('alice', token)).toEqual(['pull']);
      expect(await ask('$oauthtoken', token)).toEqual(['pull']);
      expect(await ask('bob', token)).toBe('refused');
      expect(await ask('bob', password)).toEqual([]);
      await accounts.setPermission(web, 'bob', 'write');
      expect(await ask('bob', password)).toEqual(['pull', 'push']);
      expect(await ask('alice', password, 'alice/not-there')).toEqual([]);
      expect(await ask('alice', password, 'no-repository')).toEqual([]);
      expect(await authorizer.authorize(undefined, 'alice/web', ['pull'])).toEqual([]);
    });

    test('who guesses is locked out, whatever comes next', async () => {
      await accounts.createUser({ username: 'alice', password });
      const signIn = new SignIn(accounts, new LoginLimiter(scratch.database, clock));
      const check = async (text: string, address = '192.0.2.1') =>
        (await signIn.check({ username: 'alice', password: text }, address)).kind;
      for (let count = 0; count < 5; count += 1) expect(await check('wrong horse')).toBe('refused');
      expect(await check(password)).toBe('locked');
      expect(await check(password, '192.0.2.2')).toBe('accepted');
      await clock.advance(2_000);
      expect(await check(password)).toBe('accepted');
    });

    test('a burst of wrong passwords from one address gets no more tries, and keeps nobody out elsewhere', async () => {
      await accounts.createUser({ username: 'gus', password });
      const managers = [1, 2].map(() => new SignIn(accounts, new LoginLimiter(scratch.database, clock)));
      const check = async (text: string, address: string, index = 0) =>
        (await managers[index % 2]?.check({ username: 'gus', password: text }, address))?.kind;
      const burst = await Promise.all(
        Array.from({ length: 66 }, (_each, index) => check(`wrong horse ${index}`, '192.0.2.1', index)),
      );
      expect(burst.filter((kind) => kind === 'refused').length).toBe(5);
      expect(burst.filter((kind) => kind === 'locked').length).toBe(61);
      expect(await check(password, '198.51.100.7')).toBe('accepted');
    });

    test('many who sign in at once from one address, with the right password, all get in', async () => {
      await accounts.createUser({ username: 'gus', password });
      const signIn = new SignIn(accounts, new LoginLimiter(scratch.database, clock));
      const kinds = await Promise.all(
        Array.from({ length: 12 }, () => signIn.check({ username: 'gus', password }, '192.0.2.1')),
      );
      expect(new Set(kinds.map(({ kind }) => kind))).toEqual(new Set(['accepted']));
    });

    test('a token that is right is taken whatever is locked, and clears nothing', async () => {
      await accounts.createUser({ username: 'gus', password });
      const { token } = await accounts.createToken('gus', { name: 'x', scopes: ['repo:read'] });
      const signIn = new SignIn(accounts, new LoginLimiter(scratch.database, clock));
      const check = async (username: string, text: string) =>
        (await signIn.check({ username, password: text }, '192.0.2.1')).kind;
      for (let count = 0; count < 5; count += 1) expect(await check('gus', 'wrong horse')).toBe('refused');
      expect(await check('gus', token)).toBe('accepted');
      expect(await check('$oauthtoken', token)).toBe('accepted');
      expect(await check('gus', password)).toBe('locked');
      await clock.advance(2_000);
      const typed = { username: 'gus', password: token };
      expect((await signIn.checkPassword(typed, '192.0.2.1')).kind).toBe('refused');
      expect(await check('gus', password)).toBe('locked');
    });
  });
}
