import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { OpenScratch, ScratchDatabase } from '../../test/harness/scratch-database.ts';
import { ManualClock } from '../base/clock.ts';
import { AccountError } from './account-error.ts';
import type { Principal } from './accounts.ts';
import { PasswordHasher } from './password-hash.ts';
import { SqlAccounts } from './sql-accounts.ts';
import { SqlSessions } from './sql-sessions.ts';

const password = 'correct horse';
const web = { namespace: 'acme', name: 'web' };

/** What organizations, teams and the life of users must do, on every database. */
export function organizationsSuite(name: string, openScratch: OpenScratch): void {
  describe(name, () => {
    let scratch: ScratchDatabase;
    let clock: ManualClock;
    let accounts: SqlAccounts;
    let sessions: SqlSessions;

    beforeEach(async () => {
      scratch = await openScratch();
      clock = new ManualClock();
      accounts = new SqlAccounts({
        database: scratch.database,
        passwords: new PasswordHasher(),
        clock,
      });
      for (const username of ['alice', 'bob', 'eve']) await accounts.createUser({ username, password });
      sessions = new SqlSessions({ database: scratch.database, clock });
      for (const username of ['alice', 'bob']) await sessions.open({ username, way: 'password' });
      await accounts.organizations.create({ name: 'acme', owner: 'alice' });
    });
    afterEach(async () => await scratch[Symbol.asyncDispose]());

    const user = (username: string): Principal => ({
      kind: 'user',
      username,
      superuser: false,
      scopes: 'all',
    });
    const codeOf = async (work: Promise<unknown>) => {
      const thrown: unknown = await work.then(
        () => undefined,
        (error: unknown) => error,
      );
      return thrown instanceof AccountError ? thrown.code : thrown;
    };

    test('names of users and organizations share one space', async () => {
      const make = (organization: string) =>
        accounts.organizations.create({ name: organization, owner: 'alice' });
      expect(await codeOf(make('acme'))).toBe('exists');
      expect(await codeOf(make('bob'))).toBe('exists');
      expect(await codeOf(accounts.createUser({ username: 'acme', password }))).toBe('exists');
      for (const bad of ['', 'A', 'a', 'a+b', '../x']) expect(await codeOf(make(bad))).toBe('bad-name');
      expect(await codeOf(accounts.organizations.create({ name: 'other', owner: 'nobody' }))).toBe('unknown');
      expect(await accounts.organizations.kindOf('acme')).toBe('organization');
      expect(await accounts.organizations.kindOf('alice')).toBe('user');
      expect(await accounts.organizations.kindOf('other')).toBeUndefined();
      expect(await accounts.organizations.organization('alice')).toBeUndefined();
    });

    test('lists organizations by name, all of them or those of a member', async () => {
      await accounts.organizations.create({ name: 'beta', email: 'b@example.com', owner: 'bob' });
      const list = async (query: { member?: string; after?: string; limit?: number } = {}) =>
        (await accounts.organizations.organizations({ limit: 10, ...query })).map((each) => each.name);
      expect(await list()).toEqual(['acme', 'beta']);
      expect(await list({ limit: 1 })).toEqual(['acme']);
      expect(await list({ after: 'acme' })).toEqual(['beta']);
      expect(await list({ member: 'bob' })).toEqual(['beta']);
      expect(await list({ member: 'eve' })).toEqual([]);
    });

    test('a role in the namespace is the strongest of the teams; one’s own needs none', async () => {
      const roleIn = async (who: string) => await accounts.organizations.roleIn(who, 'acme');
      expect(await roleIn('alice')).toBe('admin');
      expect(await roleIn('bob')).toBeUndefined();
      await accounts.teams.set('acme', 'devs', {});
      await accounts.teams.addMember('acme', 'devs', 'bob');
      expect(await roleIn('bob')).toBe('member');
      await accounts.teams.set('acme', 'makers', { role: 'creator' });
      await accounts.teams.addMember('acme', 'makers', 'bob');
      expect(await roleIn('bob')).toBe('creator');
      await accounts.teams.removeMember('acme', 'makers', 'bob');
      expect(await roleIn('bob')).toBe('member');
      expect(await accounts.organizations.roleIn('bob', 'bob')).toBe('admin');
      expect(await accounts.organizations.roleIn('bob', 'alice')).toBeUndefined();
    });

    test('a member of a team may do what the team may, an administrator everything', async () => {
      await accounts.createRepository(web, { visibility: 'private' });
      await accounts.teams.set('acme', 'devs', {});
      await accounts.teams.addMember('acme', 'devs', 'bob');
      expect(await accounts.roleOn(user('bob'), web)).toBeUndefined();
      expect(await accounts.repositories(user('bob'), { limit: 10 })).toEqual([]);
      expect(await accounts.teams.setPermission(web, 'devs', 'write')).toBe(true);
      expect(await accounts.roleOn(user('bob'), web)).toBe('write');
      expect((await accounts.repositories(user('bob'), { limit: 10 })).length).toBe(1);
      expect(await accounts.roleOn(user('alice'), web)).toBe('admin');
      expect((await accounts.repositories(user('alice'), { limit: 10 })).length).toBe(1);
      expect(await accounts.roleOn(user('eve'), web)).toBeUndefined();
      expect(await accounts.teams.permissions(web)).toEqual([{ team: 'devs', role: 'write' }]);
      expect(await accounts.teams.grants('acme', 'devs', { limit: 5 })).toEqual([
        { repository: web, visibility: 'private', role: 'write' },
      ]);
      // A repository of another namespace takes no team of this one.
      await accounts.createRepository({ namespace: 'bob', name: 'app' }, { visibility: 'private' });
      expect(await accounts.teams.setPermission({ namespace: 'bob', name: 'app' }, 'devs', 'read')).toBe(
        false,
      );
      await accounts.teams.removeMember('acme', 'devs', 'bob');
      expect(await accounts.roleOn(user('bob'), web)).toBeUndefined();
      expect(await accounts.teams.setPermission(web, 'devs', undefined)).toBe(true);
      expect(await accounts.teams.setPermission(web, 'devs', undefined)).toBe(false);
    });

    test('a robot in a team has the team’s repositories, and in an administrating one nothing more', async () => {
      await accounts.createRepository(web, { visibility: 'private' });
      await accounts.createRepository({ ...web, name: 'other' }, { visibility: 'private' });
      await accounts.robots.create({ namespace: 'acme', short: 'ci' });
      await accounts.robots.create({ namespace: 'bob', short: 'ci' });
      const robot: Principal = { kind: 'robot', name: 'acme+ci', namespace: 'acme' };
      await accounts.teams.addMember('acme', 'owners', 'acme+ci');
      expect(await accounts.roleOn(robot, web)).toBeUndefined();
      await accounts.teams.setPermission(web, 'owners', 'read');
      expect(await accounts.roleOn(robot, web)).toBe('read');
      expect(await accounts.roleOn(robot, { ...web, name: 'other' })).toBeUndefined();
      expect((await accounts.repositories(robot, { limit: 10 })).length).toBe(1);
      expect(await codeOf(accounts.teams.addMember('acme', 'owners', 'bob+ci'))).toBe('unknown');
      expect(await accounts.teams.members('acme', 'owners', { limit: 10 })).toEqual([
        { name: 'acme+ci', isRobot: true },
        { name: 'alice', isRobot: false },
      ]);
      expect((await accounts.robots.reach(['acme+ci'])).get('acme+ci')?.teams).toEqual(['owners']);
      // A robot administers nothing, so it does not count as somebody who is left.
      expect(await codeOf(accounts.teams.removeMember('acme', 'owners', 'alice'))).toBe('last-admin');
      expect(await accounts.teams.removeMember('acme', 'owners', 'acme+ci')).toBe(true);
    });

    test('teams are made, changed, counted and deleted', async () => {
      expect(await accounts.teams.set('acme', 'devs', { role: 'creator', description: 'x' })).toEqual({
        team: { name: 'devs', role: 'creator', description: 'x', members: 0, repositories: 0 },
        made: true,
      });
      await accounts.teams.addMember('acme', 'devs', 'bob');
      await accounts.teams.addMember('acme', 'devs', 'bob');
      expect((await accounts.teams.set('acme', 'devs', { role: 'member' })).team).toMatchObject({
        role: 'member',
        description: 'x',
        members: 1,
      });
      expect((await accounts.teams.teams('acme')).map((team) => team.name)).toEqual(['devs', 'owners']);
      expect(await codeOf(accounts.teams.set('bob', 'devs', {}))).toBe('unknown');
      expect(await codeOf(accounts.teams.set('acme', 'No', {}))).toBe('bad-name');
      expect(await codeOf(accounts.teams.addMember('acme', 'devs', 'nobody'))).toBe('unknown');
      expect(await codeOf(accounts.teams.addMember('acme', 'none', 'bob'))).toBe('unknown');
      expect(await accounts.teams.delete('acme', 'devs')).toBe(true);
      expect(await accounts.teams.delete('acme', 'devs')).toBe(false);
      expect(await accounts.organizations.roleIn('bob', 'acme')).toBeUndefined();
    });

    test('an organization always keeps somebody who administers it', async () => {
      expect(await codeOf(accounts.teams.set('acme', 'owners', { role: 'member' }))).toBe('last-admin');
      expect(await codeOf(accounts.teams.delete('acme', 'owners'))).toBe('last-admin');
      expect(await codeOf(accounts.organizations.removeMember('acme', 'alice'))).toBe('last-admin');
      expect(await codeOf(accounts.users.delete('alice'))).toBe('last-admin');
      expect(await accounts.users.user('alice')).toBeDefined();
      expect(await accounts.organizations.roleIn('alice', 'acme')).toBe('admin');
      await accounts.teams.addMember('acme', 'owners', 'bob');
      // Both go at once: one of them has to stay.
      const results = await Promise.allSettled([
        accounts.teams.removeMember('acme', 'owners', 'alice'),
        accounts.organizations.removeMember('acme', 'bob'),
      ]);
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      expect(await accounts.teams.members('acme', 'owners', { limit: 9 })).toHaveLength(1);
    });

    test('lists members with their teams, page by page', async () => {
      await accounts.teams.set('acme', 'devs', {});
      for (const member of ['alice', 'bob', 'eve']) await accounts.teams.addMember('acme', 'devs', member);
      expect(await accounts.organizations.members('acme', { limit: 2 })).toEqual([
        { username: 'alice', teams: ['devs', 'owners'] },
        { username: 'bob', teams: ['devs'] },
      ]);
      expect(await accounts.organizations.members('acme', { limit: 2, after: 'bob' })).toEqual([
        { username: 'eve', teams: ['devs'] },
      ]);
      expect(await accounts.organizations.removeMember('acme', 'eve')).toBe(true);
      expect(await accounts.organizations.removeMember('acme', 'eve')).toBe(false);
    });

    test('an organization goes with its teams and robots, and not while it has repositories', async () => {
      await accounts.robots.create({ namespace: 'acme', short: 'ci' });
      await accounts.createRepository(web, { visibility: 'private' });
      expect(await codeOf(accounts.organizations.delete('acme'))).toBe('not-empty');
      await accounts.deleteRepository(web);
      expect(await accounts.organizations.delete('bob')).toBe(false);
      expect(await accounts.organizations.delete('acme')).toBe(true);
      expect(await accounts.organizations.delete('acme')).toBe(false);
      for (const table of ['teams', 'team_members', 'robots'] as const)
        expect(await scratch.database.sql.selectFrom(table).selectAll().execute()).toEqual([]);
    });

    test('who makes a repository without administering the namespace administers the repository', async () => {
      await accounts.createRepository(web, { visibility: 'private', admin: 'bob' });
      expect(await accounts.roleOn(user('bob'), web)).toBe('admin');
      expect(await accounts.changeRepository(web, { visibility: 'public' })).toMatchObject({
        visibility: 'public',
        description: '',
      });
      expect(await accounts.changeRepository(web, { description: 'site' })).toMatchObject({
        visibility: 'public',
        description: 'site',
      });
      expect(await accounts.changeRepository({ ...web, name: 'none' }, { description: '' })).toBeUndefined();
    });

    test('no repository is left without its namespace, whichever of both is quicker', async () => {
      for (let round = 0; round < 5; round += 1) {
        await accounts.organizations.create({ name: 'racy', owner: 'alice' });
        const repository = { namespace: 'racy', name: 'app' };
        await Promise.allSettled([
          accounts.createRepository(repository, { visibility: 'private' }),
          accounts.organizations.delete('racy'),
        ]);
        expect(await accounts.repository(repository)).toBeDefined();
        expect(await accounts.organizations.kindOf('racy')).toBe('organization');
        await accounts.deleteRepository(repository);
        await accounts.organizations.delete('racy');
      }
    });

    test('users are listed, disabled and enabled; disabling ends their sessions', async () => {
      const names = async (query: { after?: string; enabledOnly?: boolean; limit?: number } = {}) =>
        (await accounts.users.users({ limit: 10, ...query })).map(({ username }) => username);
      expect(await names()).toEqual(['alice', 'bob', 'eve']);
      expect(await names({ limit: 1, after: 'alice' })).toEqual(['bob']);
      expect(await accounts.users.change('bob', { enabled: false, email: 'b@example.com' })).toEqual({
        username: 'bob',
        email: 'b@example.com',
        superuser: false,
        enabled: false,
        createdAt: clock.now(),
      });
      expect(await sessions.list('bob')).toEqual([]);
      expect(await sessions.list('alice')).toHaveLength(1);
      expect(await names({ enabledOnly: true })).toEqual(['alice', 'eve']);
      expect(await accounts.verifyPassword('bob', password)).toBeUndefined();
      await accounts.users.change('bob', { enabled: true });
      expect(await accounts.verifyPassword('bob', password)).toBeDefined();
      expect(await accounts.users.change('nobody', { enabled: true })).toBeUndefined();
    });

    test('a new password ends sessions, and tokens on wish', async () => {
      const { token } = await accounts.createToken('bob', { name: 'x', scopes: ['repo:read'] });
      expect(await accounts.users.setPassword('bob', 'battery staple', { revokeTokens: false })).toBe(true);
      expect(await sessions.list('bob')).toEqual([]);
      expect(await sessions.list('alice')).toHaveLength(1);
      expect(await accounts.verifyPassword('bob', password)).toBeUndefined();
      expect(await accounts.verifyPassword('bob', 'battery staple')).toBeDefined();
      expect(await accounts.verifyToken(token)).toBeDefined();
      await accounts.users.setPassword('bob', 'battery staple', { revokeTokens: true });
      expect(await accounts.verifyToken(token)).toBeUndefined();
      expect(await codeOf(accounts.users.setPassword('bob', 'short', { revokeTokens: true }))).toBe(
        'bad-password',
      );
      expect(await accounts.users.setPassword('nobody', 'battery staple', { revokeTokens: true })).toBe(
        false,
      );
    });

    test('a deleted user leaves nothing, and the name is free again', async () => {
      await accounts.createToken('bob', { name: 'x', scopes: ['repo:read'] });
      await accounts.robots.create({ namespace: 'bob', short: 'ci' });
      await accounts.createRepository({ namespace: 'bob', name: 'app' }, { visibility: 'private' });
      expect(await codeOf(accounts.users.delete('bob'))).toBe('not-empty');
      await accounts.deleteRepository({ namespace: 'bob', name: 'app' });
      expect(await accounts.users.delete('bob')).toBe(true);
      expect(await accounts.users.delete('bob')).toBe(false);
      for (const table of ['tokens', 'robots'] as const)
        expect(await scratch.database.sql.selectFrom(table).selectAll().execute()).toEqual([]);
      await accounts.organizations.create({ name: 'bob', owner: 'alice' });
    });
  });
}
