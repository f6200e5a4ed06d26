import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { OpenScratch, ScratchDatabase } from '../../test/harness/scratch-database.ts';
import { PasswordHasher } from '../account/password-hash.ts';
import { SqlAccounts } from '../account/sql-accounts.ts';
import { ManualClock } from '../base/clock.ts';
import { sealedColumns } from '../db/sealed-columns.ts';
import { SecretBox } from '../db/secret-box.ts';
import { mostRegistries, type NewRegistry } from './external-registry.ts';
import { RegistriesError } from './registries-error.ts';
import { SqlRegistries } from './sql-registries.ts';

const web = { namespace: 'team', name: 'web' };
const quay: NewRegistry = {
  namespace: 'team',
  name: 'quay',
  host: 'quay.example:8443',
  insecure: false,
  prefix: 'acme/images',
  username: 'acme+robot',
  password: 'the password',
  push: true,
  pull: true,
};

/** What the store of registries must do, on every database. */
export function registriesSuite(name: string, openScratch: OpenScratch): void {
  describe(name, () => {
    let scratch: ScratchDatabase;
    let clock: ManualClock;
    let accounts: SqlAccounts;
    let registries: SqlRegistries;
    const secretBox = new SecretBox({ key: randomBytes(32) });

    beforeEach(async () => {
      scratch = await openScratch();
      clock = new ManualClock();
      const { database } = scratch;
      accounts = new SqlAccounts({ database, passwords: new PasswordHasher(), clock });
      for (const username of ['team', 'other'])
        await accounts.createUser({ username, password: 'long enough' });
      await accounts.createRepository(web, { visibility: 'private' });
      registries = new SqlRegistries({ database, secretBox, clock });
    });
    afterEach(async () => await scratch[Symbol.asyncDispose]());

    const failure = async (work: Promise<unknown>): Promise<RegistriesError> => {
      const thrown: unknown = await work.then(
        () => undefined,
        (error: unknown) => error,
      );
      if (thrown instanceof RegistriesError) return thrown;
      throw new Error(`no RegistriesError but ${String(thrown)}`);
    };

    const api = { namespace: 'team', name: 'api' };

    test.each([...['quay.example', 'QUAY.example', 'quay.example:443', 'Quay.example:443']])(
      'two repositories do not publish to one place by two registries: %s',
      async (host) => {
        await accounts.createRepository(api, { visibility: 'private' });
        await registries.create({ ...quay, name: 'one', host: 'quay.example' });
        await registries.create({ ...quay, name: 'two', host });
        await registries.setTarget(web, { registry: 'one', path: 'shared' });
        const { code } = await failure(registries.setTarget(api, { registry: 'two', path: 'shared' }));
        expect(code).toBe('in-use');
        expect(await registries.target(api)).toBeUndefined();
      },
    );

    test('nor when a registry gets the host of another one', async () => {
      await accounts.createRepository(api, { visibility: 'private' });
      await registries.create({ ...quay, name: 'one', host: 'one.example' });
      await registries.create({ ...quay, name: 'two', host: 'two.example' });
      await registries.setTarget(web, { registry: 'one', path: 'shared' });
      await registries.setTarget(api, { registry: 'two', path: 'shared' });
      const moved = { ...quay, name: 'two', host: 'one.example' };
      expect((await failure(registries.replace(moved))).code).toBe('in-use');
      expect((await registries.find(moved))?.host).toBe('two.example');
    });

    test('two changes at once do not come to one place either', async () => {
      await accounts.createRepository(api, { visibility: 'private' });
      await registries.create({ ...quay, name: 'one', host: 'one.example' });
      await registries.create({ ...quay, name: 'two', host: 'one.example' });
      const done = await Promise.allSettled([
        registries.setTarget(web, { registry: 'one', path: 'shared' }),
        registries.setTarget(api, { registry: 'two', path: 'shared' }),
      ]);
      expect(done.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    });

    test('a registry is kept with its password sealed for its own row, and changed', async () => {
      const { password, ...shown } = quay;
      const times = { createdAt: clock.now(), changedAt: clock.now() };
      expect(await registries.create(quay)).toEqual({ ...shown, ...times });
      expect(await registries.find(quay)).toEqual({ ...shown, ...times });
      expect(await registries.open(quay)).toEqual({ registry: { ...shown, ...times }, password });
      const row = await scratch.database.sql.selectFrom('registries').selectAll().executeTakeFirstOrThrow();
      expect(Buffer.from(row.password_sealed).includes(password)).toBe(false);
      expect(JSON.stringify({ ...row, password_sealed: null })).not.toContain(password);
      expect(() =>
        secretBox.open(
          row.password_sealed,
          sealedColumns.registryPasswords.purpose({ ...quay, name: 'copy' }),
        ),
      ).toThrow();

      await clock.advance(1_000);
      const changed = await registries.replace({ ...quay, password: 'another', pull: false, prefix: '' });
      expect(changed).toMatchObject({ pull: false, prefix: '', createdAt: times.createdAt });
      expect(changed.changedAt).toBe(times.changedAt + 1_000);
      expect((await registries.open(quay))?.password).toBe('another');
    });

    test('names are of one namespace, listed in their order, and none is taken twice', async () => {
      await registries.create({ ...quay, name: 'z' });
      await registries.create({ ...quay, name: 'a' });
      await registries.create({ ...quay, namespace: 'other', name: 'a' });
      expect((await registries.list('team')).map((each) => each.name)).toEqual(['a', 'z']);
      expect(await registries.list('nobody')).toEqual([]);
      expect(await failure(registries.create({ ...quay, name: 'a' }))).toMatchObject({ code: 'exists' });
      expect(await failure(registries.create({ ...quay, namespace: 'nobody' }))).toMatchObject({
        code: 'unknown',
      });
      expect(await failure(registries.replace(quay))).toMatchObject({ code: 'unknown' });
      expect(await registries.delete(quay)).toBe(false);
    });

    test('of those made at once no more are kept than a namespace may have', async () => {
      const all = await Promise.allSettled(
        Array.from({ length: mostRegistries + 5 }, (_, index) =>
          registries.create({ ...quay, name: `r${index}` }),
        ),
      );
      expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(mostRegistries);
      expect(await failure(registries.create(quay))).toMatchObject({ code: 'too-many' });
      expect(await registries.list('team')).toHaveLength(mostRegistries);
    });

    test('workers get the credentials that are for pulls', async () => {
      await registries.create(quay);
      await registries.create({ ...quay, name: 'pushes', pull: false });
      await registries.create({ ...quay, namespace: 'other', name: 'theirs' });
      const given = await registries.pullCredentials('team');
      expect(given.map(({ registry, password }) => [registry.name, password])).toEqual([
        ['quay', 'the password'],
      ]);
    });

    test('a repository has one target, and a registry that is one stays', async () => {
      await registries.create(quay);
      await registries.create({ ...quay, name: 'pulls', push: false });
      expect(await registries.target(web)).toBeUndefined();
      await registries.setTarget(web, { registry: 'quay', path: 'acme/images/web' });
      await registries.setTarget(web, { registry: 'quay', path: 'acme/images/site' });
      expect(await registries.target(web)).toMatchObject({
        registry: { name: 'quay' },
        path: 'acme/images/site',
      });
      expect([...(await registries.targets([web, { ...web, name: 'api' }])).keys()]).toEqual(['team/web']);

      for (const work of [registries.delete(quay), registries.replace({ ...quay, push: false })]) {
        const error = await failure(work);
        expect(error.code).toBe('in-use');
        expect(error.message).toContain('team/web publishes to it');
      }
      expect(await registries.find(quay)).toMatchObject({ push: true });

      const others = [
        registries.setTarget(web, { registry: 'pulls', path: 'a' }),
        registries.setTarget(web, { registry: 'none', path: 'a' }),
        registries.setTarget({ ...web, name: 'none' }, { registry: 'quay', path: 'a' }),
        registries.setTarget({ namespace: 'other', name: 'web' }, { registry: 'quay', path: 'a' }),
      ];
      expect(await Promise.all(others.map(async (work) => (await failure(work)).code))).toEqual([
        'bad-value',
        'unknown',
        'unknown',
        'unknown',
      ]);
      await registries.setTarget(web, undefined);
      expect(await registries.target(web)).toBeUndefined();
      expect(await registries.delete(quay)).toBe(true);
    });

    test('a repository that is deleted lets go of its registry', async () => {
      await registries.create(quay);
      await registries.setTarget(web, { registry: 'quay', path: 'acme/web' });
      await accounts.deleteRepository(web);
      expect(await registries.delete(quay)).toBe(true);
    });

    test('a path is one repository’s, by whatever registry at the host', async () => {
      await registries.create(quay);
      await registries.create({ ...quay, name: 'second' });
      await registries.create({ ...quay, name: 'elsewhere', host: 'other.example' });
      const api = { namespace: 'team', name: 'api' };
      await accounts.createRepository(api, { visibility: 'private' });
      await registries.setTarget(web, { registry: 'quay', path: 'acme/web' });
      for (const registry of ['quay', 'second']) {
        const refused = await failure(registries.setTarget(api, { registry, path: 'acme/web' }));
        expect([registry, refused.code]).toEqual([registry, 'in-use']);
      }
      expect(await registries.target(api)).toBeUndefined();
      // Its own may be said again.
      await registries.setTarget(web, { registry: 'quay', path: 'acme/web' });
      await registries.setTarget(api, { registry: 'elsewhere', path: 'acme/web' });
      // Of two that ask at once one gets it.
      const both = await Promise.allSettled(
        [web, api].map(
          async (one) => await registries.setTarget(one, { registry: 'quay', path: 'acme/new' }),
        ),
      );
      expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    });

    test('other paths in a registry are those of the same one', async () => {
      await registries.create(quay);
      await registries.create({ ...quay, name: 'second' });
      for (const [repository, registry] of [
        ['a', 'quay'],
        ['b', 'quay'],
        ['c', 'second'],
      ] as const) {
        await accounts.createRepository({ namespace: 'team', name: repository }, { visibility: 'private' });
        await registries.setTarget({ namespace: 'team', name: repository }, { registry, path: repository });
      }
      expect(await registries.siblings(quay, 'a')).toEqual(['b']);
    });
  });
}
