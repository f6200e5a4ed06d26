import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ApiHarness, password, startApiServer } from '../../test/harness/api-server.ts';

let server: ApiHarness;
let kim: string;
let lee: string;
let root: string;
let robot: string;
const archive_url = 'https://sources.example/source.tar.gz';

beforeAll(async () => {
  server = await startApiServer();
  kim = await server.addUser('kim');
  lee = await server.addUser('lee');
  root = await server.addUser('root', { superuser: true });
  await server.addRepository('kim/web');
  robot = (await server.accounts.robots.create({ namespace: 'kim', short: 'ci' })).token;
});
afterAll(async () => await server[Symbol.asyncDispose]());

const basic = (username: string, secret: string) => ({
  authorization: `Basic ${Buffer.from(`${username}:${secret}`).toString('base64')}`,
});
const call = async (method: string, path: string, token: string, body?: unknown) =>
  await server.call(method, `/api/v1${path}`, { token, ...(body === undefined ? {} : { body }) });
const give = async (name: string, role: string | undefined) =>
  await call(
    role === undefined ? 'DELETE' : 'PUT',
    `/repository/kim/web/permissions/user/${encodeURIComponent(name)}`,
    kim,
    role === undefined ? undefined : { role },
  );

describe('a robot', () => {
  test('is shown with its token when it is made, and never again', async () => {
    const made = await call('PUT', '/user/robots/deploy', kim, { description: 'deploys' });
    expect(made.status).toBe(201);
    const { token, ...rest } = made.json;
    expect(token).toMatch(/^slr_/);
    expect(rest).toMatchObject({ name: 'kim+deploy', description: 'deploys', last_accessed: null });
    const shown = await call('GET', '/organization/kim/robots/deploy', kim);
    expect(shown.json).toEqual(rest);
    expect((await call('PUT', '/user/robots/deploy', kim)).status).toBe(409);
    expect((await call('PUT', '/user/robots/Bad', kim)).status).toBe(400);
    const past = { expires: '2001-01-01T00:00:00Z' };
    expect((await call('PUT', '/user/robots/late', kim, past)).status).toBe(400);
    const again = await call('POST', '/user/robots/deploy/regenerate', kim);
    expect(again.json.token).not.toBe(token);
    expect((await call('GET', '/builds', String(token))).status).toBe(401);
    expect((await call('GET', '/builds', String(again.json.token))).status).toBe(200);
  });

  test('is listed by page, with what it reaches on wish', async () => {
    await give('kim+ci', 'read');
    const first = await call('GET', '/organization/kim/robots?limit=1&permissions=true', kim);
    expect(first.json).toMatchObject({
      robots: [{ name: 'kim+ci', teams: [], repositories: ['kim/web'] }],
      next_page: 'kim+ci',
    });
    const second = await call('GET', '/organization/kim/robots?limit=1&next_page=kim%2Bci', kim);
    expect(second.json).toMatchObject({ robots: [{ name: 'kim+deploy' }] });
    expect(second.json).not.toHaveProperty('next_page');
    expect((await call('GET', '/user/robots/ci/permissions', kim)).json).toEqual({
      permissions: [{ repository: { namespace: 'kim', name: 'web', is_public: false }, role: 'read' }],
    });
  });

  test('signs in with its name and token, and builds what it may write', async () => {
    const build = '/repository/kim/web/build';
    await give('kim+ci', 'read');
    expect((await call('POST', build, robot, { archive_url })).status).toBe(403);
    const given = await give('kim+ci', 'write');
    expect(given.json).toEqual({ name: 'kim+ci', role: 'write', is_robot: true });
    const made = await call('POST', build, robot, { archive_url });
    expect([made.status, made.json.manual_user]).toEqual([201, 'kim+ci']);
    const own = await server.call('GET', '/api/v1/builds', { headers: basic('kim+ci', robot) });
    expect((own.json.builds as { id: string }[]).map(({ id }) => id)).toContain(made.json.id);
    // Its uploads are its own.
    const drop = await call('POST', '/filedrop', robot, { mimeType: 'text/plain' });
    await fetch(String(drop.json.url), { method: 'PUT', body: 'FROM scratch\n' });
    const body = { file_id: drop.json.file_id };
    expect((await call('POST', build, robot, body)).status).toBe(201);
    // Cancelling takes the role admin, and with it a robot may.
    expect((await call('DELETE', `${build}/${made.json.id}`, robot)).status).toBe(403);
    await give('kim+ci', 'admin');
    expect((await call('DELETE', `${build}/${made.json.id}`, robot)).status).toBe(201);
    const [record] = await server.audit.records({ limit: 1 });
    expect(record).toMatchObject({ actor: { kind: 'robot', name: 'kim+ci' }, action: 'build.cancel' });
    await give('kim+ci', undefined);
    expect((await call('GET', '/repository/kim/web', robot)).status).toBe(403);
  });

  test('that does not exist can be given nothing', async () => {
    const answer = await give('kim+none', 'read');
    expect([answer.status, answer.json.detail]).toEqual([400, 'There is no robot "kim+none".']);
  });
});

describe('whether there is somebody of a name', () => {
  const at = (name: string) => `/repository/kim/web/permissions/user/${encodeURIComponent(name)}`;
  const pairs = [
    ['lee', 'nobody-here'],
    ['lee+known', 'lee+unknown'],
  ] as const;

  test.each(pairs)('is not told by asking for a role, or taking it away: %s, %s', async (known, unknown) => {
    if (known === 'lee+known') await server.accounts.robots.create({ namespace: 'lee', short: 'known' });
    for (const method of ['GET', 'DELETE']) {
      const [there, not] = [await call(method, at(known), kim), await call(method, at(unknown), kim)];
      expect(there.status).toBe(404);
      expect([not.status, not.text]).toEqual([there.status, there.text]);
    }
    // Nor to who does not administer the repository, whatever they do.
    for (const method of ['GET', 'PUT', 'DELETE']) {
      const body = method === 'PUT' ? { role: 'read' } : undefined;
      const [there, not] = [
        await call(method, at(known), lee, body),
        await call(method, at(unknown), lee, body),
      ];
      expect(there.status).toBe(403);
      expect([not.status, not.text]).toEqual([there.status, there.text]);
    }
  });

  test('is told to who gives them a role, and the audit log says who asked for whom', async () => {
    for (const [, unknown] of pairs) {
      const answer = await give(unknown, 'read');
      expect([answer.status, answer.json.detail]).toEqual([400, expect.stringContaining(unknown)]);
      const [record] = await server.audit.records({ limit: 1 });
      expect(record).toMatchObject({
        actor: { kind: 'user', name: 'kim' },
        action: 'permission.set',
        result: 'failed',
        detail: { user: unknown },
      });
    }
  });
});

describe('pull_robot', () => {
  const ask = async (token: string, pull_robot: string) =>
    await call('POST', '/repository/kim/web/build', token, { archive_url, pull_robot });

  test('is a robot of the namespace, named by who administers it', async () => {
    const made = await ask(kim, 'kim+ci');
    expect(made.json.pull_robot).toEqual({ name: 'kim+ci', kind: 'user', is_robot: true });
    expect((await ask(root, 'kim+ci')).status).toBe(201);
    expect((await ask(kim, 'kim+none')).status).toBe(400);
    expect((await ask(kim, 'kim')).status).toBe(400);
    await server.accounts.robots.create({ namespace: 'lee', short: 'ci' });
    expect((await ask(kim, 'lee+ci')).status).toBe(400);
  });

  test('is not for who may only write, whether there is such a robot or not', async () => {
    await give('lee', 'admin');
    expect((await ask(lee, 'kim+ci')).status).toBe(403);
    expect((await ask(lee, 'kim+none')).status).toBe(403);
    await give('kim+ci', 'write');
    expect((await ask(robot, 'kim+ci')).status).toBe(403);
    const narrow = await server.accounts.createToken('kim', { name: 'x', scopes: ['repo:write'] });
    expect((await ask(narrow.token, 'kim+ci')).status).toBe(403);
    await give('lee', undefined);
    await give('kim+ci', undefined);
  });
});

describe('an organization', () => {
  test('lets creators make repositories, which they then administer', async () => {
    expect((await call('POST', '/organization', kim, { name: 'acme' })).status).toBe(201);
    expect((await call('POST', '/organization', kim, { name: 'lee' })).status).toBe(409);
    const team = '/organization/acme/team/makers';
    expect((await call('PUT', team, kim, { role: 'member' })).json).toMatchObject({ new_team: true });
    expect((await call('PUT', `${team}/members/lee`, kim)).json).toEqual({
      name: 'lee',
      kind: 'user',
      is_robot: false,
      invited: false,
    });
    const make = async () => await call('POST', '/repository', lee, { namespace: 'acme', repository: 'app' });
    expect((await make()).status).toBe(403);
    await call('PUT', team, kim, { role: 'creator' });
    expect((await make()).status).toBe(201);
    expect((await call('GET', '/repository/acme/app', lee)).json).toMatchObject({ can_admin: true });
    // A token that may not administer repositories makes none.
    const narrow = await server.accounts.createToken('lee', { name: 'x', scopes: ['repo:write'] });
    const refused = await call('POST', '/repository', narrow.token, { namespace: 'acme', repository: 'b' });
    expect(refused.status).toBe(403);
    const shown = await call('GET', '/organization/acme', lee);
    expect(shown.json).toMatchObject({
      is_admin: false,
      is_member: true,
      ordered_teams: ['makers', 'owners'],
    });
    expect((await call('DELETE', '/organization/acme', kim)).status).toBe(409);
    expect((await call('PUT', '/organization/acme/team/owners', kim, { role: 'member' })).status).toBe(409);
  });

  test('gives teams roles on its repositories', async () => {
    await server.addRepository('acme/site');
    const path = '/repository/acme/site/permissions/team/makers';
    expect((await call('PUT', path, kim, { role: 'write' })).json).toEqual({ name: 'makers', role: 'write' });
    expect((await call('GET', '/repository/acme/site', lee)).json).toMatchObject({ can_write: true });
    expect((await call('GET', '/organization/acme/team/makers/permissions', kim)).json).toMatchObject({
      permissions: [{ repository: { name: 'site' }, role: 'write' }],
    });
    expect((await call('GET', '/repository/acme/site/permissions/team', kim)).json).toEqual({
      permissions: { makers: { name: 'makers', role: 'write' } },
    });
    expect((await call('DELETE', path, kim)).status).toBe(204);
    expect((await call('GET', '/repository/acme/site', lee)).status).toBe(403);
  });

  test('is administered with a token that says so', async () => {
    for (const [scopes, status] of [
      [['org:admin'], 200],
      [['user:admin', 'repo:admin'], 403],
    ] as const) {
      const { token } = await server.accounts.createToken('kim', { name: 'x', scopes });
      expect((await call('GET', '/organization/acme/robots', token)).status).toBe(status);
    }
    // One's own namespace too: registries and the audit log are more than an account.
    for (const [scope, status] of [
      ['org:admin', 200],
      ['user:admin', 403],
    ] as const) {
      const { token } = await server.accounts.createToken('kim', { name: 'x', scopes: [scope] });
      for (const part of ['robots', 'registries', 'audit'])
        expect((await call('GET', `/organization/kim/${part}`, token)).status).toBe(status);
    }
  });

  test('gives no robot’s token to a token that has less than the robot may', async () => {
    await server.accounts.robots.create({ namespace: 'kim', short: 'strong' });
    for (const [scopes, status] of [
      [['user:admin', 'org:admin', 'repo:write'], 403],
      [['user:admin', 'org:admin', 'repo:admin'], 200],
    ] as const) {
      const { token } = await server.accounts.createToken('kim', { name: 'x', scopes });
      for (const base of ['/user', '/organization/kim']) {
        expect((await call('POST', `${base}/robots/strong/regenerate`, token)).status).toBe(status);
        const made = await call('PUT', `${base}/robots/made`, token);
        expect(made.status).toBe(status === 200 ? 201 : 403);
        if (made.status === 201) await server.accounts.robots.delete({ namespace: 'kim', short: 'made' });
      }
    }
    await server.accounts.robots.delete({ namespace: 'kim', short: 'strong' });
  });

  test('gives no robot’s token that lasts longer than the token it is made with', async () => {
    const ends = Date.now() + 60_000;
    const { token } = await server.accounts.createToken('kim', {
      name: 'short',
      scopes: ['user:admin', 'org:admin', 'repo:admin'],
      expiresAt: ends,
    });
    const later = new Date(ends + 1_000).toISOString();
    const sooner = new Date(ends - 30_000).toISOString();
    for (const base of ['/user', '/organization/kim', '/organization/acme']) {
      const robot = `${base}/robots/brief`;
      const again = `${robot}/regenerate`;
      expect((await call('PUT', robot, token, { expires: later })).status).toBe(403);
      expect((await call('PUT', robot, token)).json.expires).toBe(new Date(ends).toISOString());
      expect((await call('POST', again, token, { expires: later })).status).toBe(403);
      expect((await call('POST', again, token, { expires: sooner })).json.expires).toBe(sooner);
      expect((await call('POST', again, token)).json.expires).toBe(new Date(ends).toISOString());
      const [record] = await server.audit.records({ limit: 1 });
      expect(record).toMatchObject({
        action: 'robot.regenerate',
        detail: { expires: new Date(ends).toISOString() },
      });
      // A password has no end.
      const lasting = await server.call('POST', `/api/v1${again}`, { headers: basic('kim', password) });
      expect([lasting.status, lasting.json.expires, lasting.json.made_with]).toEqual([200, null, null]);
      expect((await call('DELETE', robot, kim)).status).toBe(204);
    }
  });

  test('says which robots and tokens a token that is revoked has made', async () => {
    const make = async (name: string, token: string) =>
      await call('POST', '/user/tokens', token, { name, scopes: ['repo:read'] });
    const scopes = ['user:admin', 'org:admin', 'repo:admin', 'repo:read'] as const;
    const leaked = await server.accounts.createToken('kim', { name: 'leaked', scopes });
    const revoke = async (id: unknown) => await call('DELETE', `/user/tokens/${String(id)}`, kim);
    for (const path of ['/user/robots/one', '/organization/acme/robots/two', '/user/robots/gone'])
      expect((await call('PUT', path, leaked.token)).json.made_with).toBe(leaked.view.id);
    await call('DELETE', '/user/robots/gone', kim);
    const child = await make('child', leaked.token);
    expect(child.json.made_with).toBe(leaked.view.id);
    const answer = await revoke(leaked.view.id);
    const robots = ['acme+two', 'kim+one'];
    expect([answer.status, answer.json]).toEqual([
      200,
      { still_valid: { robots, tokens: [{ id: child.json.id, name: 'child' }] } },
    ]);
    const [record] = await server.audit.records({ limit: 1 });
    expect(record).toMatchObject({ action: 'token.revoke', detail: { robots, tokens: [child.json.id] } });
    expect((await revoke(child.json.id)).status).toBe(204);
    await call('DELETE', '/user/robots/one', kim);
    await call('DELETE', '/organization/acme/robots/two', kim);
  });

  test('comes to be with its first repository, when a superuser makes that', async () => {
    const body = { namespace: 'nowhere', repository: 'app' };
    expect((await call('POST', '/repository', kim, body)).status).toBe(403);
    const made = await call('POST', '/repository', root, body);
    expect([made.status, made.json.namespace_created]).toEqual([201, true]);
    expect(await server.accounts.organizations.roleIn('root', 'nowhere')).toBe('admin');
    const next = await call('POST', '/repository', root, { ...body, repository: 'next' });
    expect([next.status, next.json.namespace_created]).toEqual([201, false]);
  });
});

describe('a repository', () => {
  test('is described by who may write, and opened by who administers it', async () => {
    const path = '/repository/kim/web';
    expect((await call('PUT', path, kim, { description: 'the site' })).json).toEqual({ success: true });
    const open = await call('POST', `${path}/changevisibility`, kim, { visibility: 'public' });
    expect(open.json).toEqual({ success: true });
    expect((await call('GET', path, lee)).json).toMatchObject({ is_public: true, description: 'the site' });
    await call('POST', `${path}/changevisibility`, kim, { visibility: 'private' });
    expect((await call('GET', path, lee)).status).toBe(403);
    await server.addRepository('kim/deep/name');
    const deep = await call('POST', '/repository/kim/deep/name/changevisibility', kim, {
      visibility: 'public',
    });
    expect(deep.status).toBe(200);
  });
});

describe('a user', () => {
  test('who is disabled is refused at once, with every token and robot, and comes back', async () => {
    const token = await server.addUser('mel');
    const { token: robotToken } = await server.accounts.robots.create({ namespace: 'mel', short: 'ci' });
    const set = async (enabled: boolean) => await call('PUT', '/superuser/users/mel', root, { enabled });
    const statuses = async () => [
      (await call('GET', '/user', token)).status,
      (await call('GET', '/builds', robotToken)).status,
      (await server.call('GET', '/api/v1/user', { headers: basic('mel', password) })).status,
    ];
    expect(await statuses()).toEqual([200, 200, 200]);
    expect((await set(false)).json).toMatchObject({ username: 'mel', enabled: false });
    expect(await statuses()).toEqual([401, 401, 401]);
    const listed = await call('GET', '/superuser/users?disabled=false', root);
    expect((listed.json.users as { name: string }[]).map(({ name }) => name)).not.toContain('mel');
    await set(true);
    expect(await statuses()).toEqual([200, 200, 200]);
  });

  test('changes the password with the old one, and ends tokens on wish', async () => {
    const token = await server.addUser('ned');
    const change = async (current_password: string, fields = {}) =>
      await call('PUT', '/user', token, { current_password, password: 'battery staple', ...fields });
    expect((await change('not it')).status).toBe(403);
    // A token is no password, though it signs in where one is asked for.
    expect((await change(token)).status).toBe(403);
    expect((await change(password)).json).toEqual({ username: 'ned' });
    expect((await change(password)).status).toBe(403);
    expect((await change('battery staple', { revoke_tokens: true })).status).toBe(200);
    expect((await call('GET', '/user', token)).status).toBe(401);
  });

  test('who guesses the old password is locked out as everywhere', async () => {
    const token = await server.addUser('pat');
    const guess = async () =>
      (await call('PUT', '/user', token, { current_password: 'no', password: 'battery staple' })).status;
    for (let count = 0; count < 5; count += 1) expect(await guess()).toBe(403);
    expect(await guess()).toBe(429);
  });

  test('is deleted when nothing of theirs is left, and nobody deletes or disables themselves', async () => {
    const remove = async (name: string) => await call('DELETE', `/superuser/users/${name}`, root);
    expect((await remove('kim')).status).toBe(409);
    expect((await remove('root')).status).toBe(409);
    expect((await call('PUT', '/superuser/users/root', root, { enabled: false })).status).toBe(409);
    expect((await remove('mel')).status).toBe(204);
    expect((await call('GET', '/superuser/users/mel', root)).status).toBe(404);
  });

  test('makes no more than so many tokens within an hour', async () => {
    const token = await server.addUser('una');
    const body = { name: 'x', scopes: ['repo:read'] };
    for (let count = 1; count < 100; count += 1)
      await server.accounts.createToken('una', { ...body, scopes: ['repo:read'] });
    expect((await call('POST', '/user/tokens', token, body)).status).toBe(429);
  });
});
