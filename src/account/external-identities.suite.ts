import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { OpenScratch, ScratchDatabase } from '../../test/harness/scratch-database.ts';
import { ManualClock } from '../base/clock.ts';
import { type ExternalPerson, mostIdentities } from './external-identities.ts';
import { PasswordHasher } from './password-hash.ts';
import { SqlAccounts } from './sql-accounts.ts';
import { SqlExternalIdentities } from './sql-external-identities.ts';

const issuer = 'https://id.example';
const person = (subject: string, name = 'Kim'): ExternalPerson => ({ issuer, subject, name });

/** What external identities must do, on every database. */
export function externalIdentitiesSuite(name: string, openScratch: OpenScratch): void {
  describe(name, () => {
    let scratch: ScratchDatabase;
    let clock: ManualClock;
    let accounts: SqlAccounts;
    let identities: SqlExternalIdentities;

    beforeEach(async () => {
      scratch = await openScratch();
      clock = new ManualClock();
      const passwords = new PasswordHasher();
      const { database } = scratch;
      accounts = new SqlAccounts({ database, passwords, clock });
      identities = new SqlExternalIdentities({
        database,
        passwords,
        clock,
        isReserved: (username) => username === 'root',
      });
    });
    afterEach(async () => await scratch[Symbol.asyncDispose]());

    const add = async (username: string) =>
      await accounts.createUser({ username, password: 'correct horse' });

    test('a new person becomes a user with a namespace, and is that user from then on', async () => {
      expect(await identities.userOf(person('1'))).toBeUndefined();
      expect(await identities.createUser('okta', person('1', 'Kim.Ö@example.com'))).toBe('kim.o');
      expect(await identities.userOf(person('1', 'other name'))).toBe('kim.o');
      expect(await identities.userOf(person('2', 'Kim.Ö@example.com'))).toBeUndefined();
      expect(await identities.userOf({ ...person('1'), issuer: 'https://other.example' })).toBeUndefined();
      expect(await accounts.isEnabled('kim.o')).toBe(true);
      const role = await accounts.roleOn(
        { kind: 'user', username: 'kim.o', superuser: false, scopes: 'all' },
        { namespace: 'kim.o', name: 'web' },
      );
      expect(role).toBe('admin');
    });

    test('a name that is taken, by a user or a namespace, is nobody else’s', async () => {
      await add('kim');
      await scratch.database.sql.insertInto('namespaces').values({ name: 'kim-2', created_at: 0 }).execute();
      expect(await identities.createUser('okta', person('1'))).toBe('kim-3');
      expect(await identities.createUser('okta', person('2'))).toBe('kim-4');
      expect(await identities.userOf(person('1'))).toBe('kim-3');
    });

    test('nobody gets a reserved name by being called so elsewhere', async () => {
      expect(await identities.createUser('okta', person('1', 'root'))).toBe('root-2');
    });

    test('many who are called the same all get a name', async () => {
      const names = new Set<string>();
      for (let count = 0; count < 12; count += 1)
        names.add(await identities.createUser('okta', person(`s${count}`)));
      expect(names.size).toBe(12);
    });

    test('who comes twice at the same moment is one user', async () => {
      const made = await Promise.allSettled([
        identities.createUser('okta', person('1')),
        identities.createUser('okta', person('1')),
      ]);
      const done = made.filter(({ status }) => status === 'fulfilled');
      expect(done).toHaveLength(1);
      expect(made.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'exists' } });
      const users = await scratch.database.sql.selectFrom('users').select('username').execute();
      expect(users).toHaveLength(1);
    });

    test('a link is to one user, may be repeated and taken back', async () => {
      await add('kim');
      await add('lee');
      await identities.link('kim', 'okta', person('1'));
      await identities.link('kim', 'okta', person('1'));
      await expect(identities.link('lee', 'okta', person('1'))).rejects.toMatchObject({ code: 'exists' });
      await expect(identities.link('nobody', 'okta', person('2'))).rejects.toMatchObject({
        code: 'unknown',
      });
      const [linked, ...more] = await identities.list('kim');
      expect(more).toEqual([]);
      expect(linked).toMatchObject({ issuer, subject: '1', provider: 'okta', label: 'Kim' });
      expect(await identities.unlink('lee', linked?.id ?? '')).toBe(false);
      expect(await identities.unlink('kim', linked?.id ?? '')).toBe(true);
      expect(await identities.userOf(person('1'))).toBeUndefined();
    });

    test('a user has a bounded number of them', async () => {
      await add('kim');
      for (let count = 0; count < mostIdentities; count += 1)
        await identities.link('kim', 'okta', person(`s${count}`));
      await expect(identities.link('kim', 'okta', person('more'))).rejects.toMatchObject({
        code: 'too-many',
      });
    });

    test('a login is used once, and forgotten when it is too old anyway', async () => {
      const forgetAt = clock.now() + 1_000;
      const uses = await Promise.all([1, 2, 3].map(() => identities.useLogin('h', forgetAt)));
      expect(uses.filter((first) => first)).toHaveLength(1);
      expect(await identities.useLogin('h', forgetAt)).toBe(false);
      expect(await identities.useLogin('other', forgetAt)).toBe(true);
      await clock.advance(1_000);
      await identities.useLogin('later', clock.now() + 1);
      const rows = await scratch.database.sql.selectFrom('used_logins').select('hash').execute();
      expect(rows).toEqual([{ hash: 'later' }]);
    });

    test('odd texts from a provider are stored', async () => {
      const odd = { issuer, subject: 'a\0b', name: `\0${'😀'.repeat(300)}` };
      expect(await identities.createUser('okta', odd)).toBe('user');
      expect(await identities.userOf(odd)).toBe('user');
    });
  });
}
