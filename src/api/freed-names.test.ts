import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ApiHarness, startApiServer } from '../../test/harness/api-server.ts';
import { type Clock, ManualClock } from '../base/clock.ts';
import { request } from '../queue/build-queue.suite.ts';
import { embeddedClient } from '../registry/embedded-client.ts';
import { ImageRemoval } from '../registry/image-removal.ts';
import { newSigningKey, readSigningKey } from '../registry/signing-key.ts';
import { TokenService } from '../registry/token-service.ts';

let server: ApiHarness;
let clock: ManualClock;
let kim: string;

beforeEach(async () => {
  clock = new ManualClock();
  server = await startApiServer({ clock });
  kim = await server.addUser('kim');
});
afterEach(async () => await server[Symbol.asyncDispose]());

const call = async (method: string, path: string, token: string, body?: unknown) =>
  await server.call(method, `/api/v1${path}`, { token, ...(body === undefined ? {} : { body }) });

test('who takes the name of an organization does not read the records of the one before', async () => {
  const lee = await server.addUser('lee');
  const records = async (token: string) =>
    ((await call('GET', '/organization/corp/audit', token)).json.records as { action: string }[]).map(
      ({ action }) => action,
    );
  await call('POST', '/organization', kim, { name: 'corp' });
  await call('PUT', '/organization/corp/team/makers', kim, { role: 'creator' });
  expect(await records(kim)).toEqual(['team.set', 'namespace.create']);
  clock.advance(1_000);
  expect((await call('DELETE', '/organization/corp', kim)).status).toBe(204);
  clock.advance(1_000);
  expect((await call('POST', '/organization', lee, { name: 'corp' })).status).toBe(201);
  expect(await records(lee)).toEqual(['namespace.create']);
  const since = await call('GET', '/organization/corp/audit?since=0', lee);
  expect(since.json.records).toHaveLength(1);
});

test('what a repository left that is gone is for superusers only, whoever has its namespace', async () => {
  const root = await server.addUser('root', { superuser: true });
  await server.addRepository('kim/web');
  const { id } = await server.queue.enqueue(request('kim/ghost'));
  for (const query of ['', `?id=${id}`]) {
    expect((await call('GET', `/builds${query}`, kim)).json).toEqual({ builds: [] });
    expect((await call('GET', `/builds${query}`, root)).json.builds).toHaveLength(1);
  }
  for (const path of ['/build/', `/build/${id}`, `/build/${id}/status`, `/build/${id}/logs`])
    expect([path, (await call('GET', `/repository/kim/ghost${path}`, kim)).status]).toEqual([path, 404]);
  // Nor is its name to be had before.
  const made = await call('POST', '/repository', kim, { repository: 'ghost' });
  expect([made.status, made.json.detail]).toEqual([409, expect.stringContaining('A build of kim/ghost')]);
  await server.queue.cancel(id, 'root');
  expect((await call('POST', '/repository', kim, { repository: 'ghost' })).status).toBe(201);
  expect(await server.queue.build(id)).toBeUndefined();
});

test('a repository comes to be while the registry is down, unless its name may have images there', async () => {
  const key = await readSigningKey(newSigningKey(clock));
  const tokens = new TokenService({ key, issuer: 'slipway', service: 'slipway-registry', clock });
  // Nobody listens there, and nobody waits for it.
  const hasty: Clock = { now: () => clock.now(), sleep: async () => {} };
  const where = { socketPath: '/nonexistent/registry', name: 'registry' };
  const client = embeddedClient({ ...where, tokens, clock: hasty });
  const down = await startApiServer({
    clock,
    images: (database) => new ImageRemoval({ client, database }),
  });
  try {
    const lee = await down.addUser('lee');
    const make = async (repository: string) =>
      (await down.call('POST', '/api/v1/repository', { token: lee, body: { repository } })).status;
    expect(await make('new')).toBe(201);
    const { id } = await down.queue.enqueue(request('lee/built'));
    await down.queue.cancel(id, 'lee');
    expect(await make('built')).toBe(503);
    await down.addRepository('lee/freed');
    expect(await down.accounts.deleteRepository({ namespace: 'lee', name: 'freed' })).toBe(true);
    expect(await make('freed')).toBe(503);
    const digest = `sha256:${'a'.repeat(64)}`;
    await down.database.sql
      .insertInto('registry_manifests')
      .values({ repository: 'lee/pushed', digest })
      .execute();
    expect(await make('pushed')).toBe(503);
    expect(
      (await down.call('POST', '/api/v1/repository', { token: lee, body: { repository: 'new' } })).status,
    ).toBe(409);
  } finally {
    await down[Symbol.asyncDispose]();
  }
});

test('a trigger does nothing in the name of a user who was deleted, and nobody inherits it by the name', async () => {
  const root = await server.addUser('root', { superuser: true });
  const mal = await server.addUser('mal');
  const repository = await server.addRepository('kim/web');
  await server.accounts.setPermission(repository, 'mal', 'admin');
  const made = await call('POST', '/repository/kim/web/trigger', mal, { service: 'custom-git' });
  expect(made.status).toBe(201);
  const path = `/repository/kim/web/trigger/${made.json.id}`;
  await server.database.sql
    .updateTable('triggers')
    .set({ auth_token_sealed: Buffer.from('sealed') })
    .execute();
  expect((await call('DELETE', '/superuser/users/mal', root)).status).toBe(204);
  await server.addUser('mal');
  const row = await server.database.sql.selectFrom('triggers').selectAll().executeTakeFirstOrThrow();
  expect(row).toMatchObject({ connected_user: null, auth_token_sealed: null, enabled: 0 });
  const shown = await call('GET', path, kim);
  expect(shown.json).toMatchObject({ enabled: false, disabled_reason: 'user_deleted' });
  expect(shown.json).not.toHaveProperty('connected_user');
  // Whoever switches it on takes it over.
  expect((await call('PUT', path, kim, { enabled: true })).json).toMatchObject({ connected_user: 'kim' });
  await server.database.sql
    .updateTable('triggers')
    .set({
      ...{ service: 'github', connected_user: null, enabled: 0 },
      ...{ disabled_reason: 'user_deleted', disabled_at: 1 },
    })
    .execute();
  expect((await call('PUT', path, kim, { enabled: true })).status).toBe(400);
});

test('a trigger forgets a robot that is deleted', async () => {
  await server.addRepository('kim/web');
  await server.accounts.robots.create({ namespace: 'kim', short: 'ci' });
  const made = await call('POST', '/repository/kim/web/trigger', kim, { service: 'custom-git' });
  const path = `/repository/kim/web/trigger/${made.json.id}`;
  const activated = await call('POST', `${path}/activate`, kim, {
    config: { build_source: 'git@git.example.com:team/app.git' },
    pull_robot: 'kim+ci',
  });
  expect(activated.json).toMatchObject({ pull_robot: { name: 'kim+ci' } });
  expect((await call('DELETE', '/user/robots/ci', kim)).status).toBe(204);
  await server.accounts.robots.create({ namespace: 'kim', short: 'ci' });
  expect((await call('GET', path, kim)).json).not.toHaveProperty('pull_robot');
});
