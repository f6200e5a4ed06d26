import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ApiHarness, startApiServer } from '../../test/harness/api-server.ts';

const namespace = '/api/v1/superuser/namespaces/kim/limits';
const repository = '/api/v1/repository/kim/web/limits';
const source = { archive_url: 'https://sources.example/source.tar.gz' };

let server: ApiHarness;
let root: string;
let kim: string;

beforeEach(async () => {
  server = await startApiServer();
  root = await server.addUser('root', { superuser: true });
  kim = await server.addUser('kim');
  await server.addRepository('kim/web');
  await server.addRepository('kim/api');
});
afterEach(async () => await server[Symbol.asyncDispose]());

const ask = async (name: string) =>
  await server.call('POST', `/api/v1/repository/kim/${name}/build`, { token: kim, body: source });
const claim = async () =>
  await server.queue.claim({ manager: 'm1', limit: 10, capacity: 100, lease: 60_000 });

test('builds that wait for the namespace start at once when its limit is raised', async () => {
  expect((await server.call('GET', namespace, { token: root })).json).toEqual({
    weight: 1,
    max_running: null,
  });
  await server.call('PUT', namespace, { token: root, body: { weight: 2, max_running: 1 } });
  await ask('web');
  await ask('api');
  expect(await claim()).toHaveLength(1);
  const raised = await server.call('PUT', namespace, { token: root, body: { max_running: 2 } });
  expect(raised.json).toEqual({ weight: 2, max_running: 2 });
  expect(await claim()).toHaveLength(1);
  const lifted = await server.call('PUT', namespace, { token: root, body: { max_running: null } });
  expect(lifted.json).toEqual({ weight: 2, max_running: null });
});

test('builds that wait for the repository start at once when it may run more', async () => {
  expect((await server.call('GET', repository, { token: kim })).json).toEqual({ concurrency: 1 });
  for (let n = 0; n < 3; n += 1) await ask('web');
  expect(await claim()).toHaveLength(1);
  const raised = await server.call('PUT', repository, { token: kim, body: { concurrency: 2 } });
  expect(raised.json).toEqual({ concurrency: 2 });
  expect(await claim()).toHaveLength(1);
  expect((await server.call('GET', repository, { token: kim })).json).toEqual({ concurrency: 2 });
});

test('a repository whose name has parts of its own has limits as well', async () => {
  await server.addRepository('kim/deep/app');
  const path = '/api/v1/repository/kim/deep/app/limits';
  const { status } = await server.call('PUT', path, { token: kim, body: { concurrency: 3 } });
  expect(status).toBe(200);
  expect((await server.call('GET', path, { token: kim })).json).toEqual({ concurrency: 3 });
});

test('what does not exist is not found', async () => {
  const nobody = '/api/v1/superuser/namespaces/nobody/limits';
  expect((await server.call('GET', nobody, { token: root })).status).toBe(404);
  expect((await server.call('PUT', nobody, { token: root, body: { weight: 2 } })).status).toBe(404);
  // It was not made by that, so the name is free.
  await server.addUser('nobody');
  const none = '/api/v1/repository/kim/none/limits';
  expect((await server.call('GET', none, { token: kim })).status).toBe(404);
  expect((await server.call('PUT', none, { token: kim, body: { concurrency: 2 } })).status).toBe(404);
  const odd = '/api/v1/superuser/namespaces/a%00b/limits';
  expect((await server.call('GET', odd, { token: root })).status).toBe(400);
});

test.each([
  [{}],
  [{ weight: 0 }],
  [{ weight: -1 }],
  [{ weight: 0.0001 }],
  [{ weight: 1e9 }],
  [{ weight: null }],
  [{ weight: '2' }],
  [{ max_running: 0 }],
  [{ max_running: 1.5 }],
  [{ max_running: -1 }],
  [{ maxRunning: 2 }],
])('refuses %j for a namespace', async (body) => {
  const { status, json } = await server.call('PUT', namespace, { token: root, body });
  expect([status, json.error_type]).toEqual([400, 'invalid_request']);
});

test.each([
  [{}],
  [{ concurrency: 0 }],
  [{ concurrency: 1.5 }],
  [{ concurrency: null }],
  [{ concurrency: 1e6 }],
])('refuses %j for a repository', async (body) => {
  const { status, json } = await server.call('PUT', repository, { token: kim, body });
  expect([status, json.error_type]).toEqual([400, 'invalid_request']);
});
