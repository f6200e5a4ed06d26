import { request as httpRequest } from 'node:http';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { FakeRepository } from '../../test/fakes/git-host-state.ts';
import { GithubApi } from '../../test/fakes/github-api.ts';
import { type ApiHarness, startApiServer } from '../../test/harness/api-server.ts';
import { systemClock } from '../base/clock.ts';
import { request } from '../queue/build-queue.suite.ts';

const base = '/repository/kim/web/trigger';

let server: ApiHarness;
let github: GithubApi;
let source: FakeRepository;
let kim: string;
/** What happens while images are removed. */
let meanwhile: () => Promise<void>;

beforeEach(async () => {
  meanwhile = async () => {};
  github = await new GithubApi().start();
  github.state.addUser('kim', 'good-token');
  source = github.state.addRepository('kim/app', { kim: 'admin' });
  source.commit('main', { files: { Dockerfile: 'FROM debian:12\n' } });
  server = await startApiServer({
    hosts: { github: { site: github.url, api: `${github.url}/api/v3`, clock: systemClock } },
    images: () => ({
      areKnown: async () => true,
      step: async () => {
        await meanwhile();
        return false;
      },
    }),
  });
  kim = await server.addUser('kim');
  await server.addRepository('kim/web');
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await github[Symbol.asyncDispose]();
});

const call = async (method: string, path: string, body?: unknown) =>
  await server.call(method, `/api/v1${path}`, { token: kim, ...(body === undefined ? {} : { body }) });

async function active(): Promise<string> {
  const { json } = await call('POST', base, { service: 'github', token: 'good-token' });
  const activated = await call('POST', `${base}/${json.id}/activate`, {
    config: { build_source: 'kim/app' },
  });
  expect(activated.status, activated.text).toBe(200);
  return String(json.id);
}

const triggers = async () =>
  ((await call('GET', base)).json.triggers as { readonly id: string }[]).map(({ id }) => id);
const atHost = () => [source.hooks.size, source.keys.size];

/** A build that has ended a moment ago: its log is not closed yet. */
async function heldBuild(): Promise<void> {
  const { sql } = server.database;
  const { id } = await server.queue.enqueue(request('kim/web'));
  await sql
    .updateTable('builds')
    .set({ finished_at: Date.now(), phase: 'complete', admitted: 0 })
    .where('id', '=', id)
    .execute();
  await sql.insertInto('log_heads').values({ build_id: id, closed_at: null }).execute();
}

const records = async (action: string) =>
  (await server.audit.records({ action, limit: 10 })).map(({ target, result, detail }) => ({
    target: target?.name,
    result,
    detail,
  }));

test('a repository whose deletion is refused keeps its triggers, and the host what is theirs', async () => {
  const id = await active();
  await heldBuild();
  expect((await call('DELETE', '/repository/kim/web')).status).toBe(409);
  expect(await triggers()).toEqual([id]);
  expect(atHost()).toEqual([1, 1]);
});

test('triggers go when nothing else is left of their repository', async () => {
  const id = await active();
  let there: readonly string[] = [];
  meanwhile = async () => {
    if (there.length === 0) there = await triggers();
  };
  expect((await call('DELETE', '/repository/kim/web')).status).toBe(204);
  expect(there).toEqual([id]);
  expect(atHost()).toEqual([0, 0]);
});

test('what a host keeps is said by the request that removed the trigger, also when it ends in an error', async () => {
  const id = await active();
  github.fail({ at: /^DELETE .*(hooks|keys)/, status: 403, times: 1_000 });
  // A push is built between the end of the trigger and the end of the repository.
  let asked = 0;
  meanwhile = async () => {
    asked += 1;
    if (asked === 1) await heldBuild();
  };
  const left = ['The webhook of kim/app is still there', 'The deploy key of kim/app is still there'];
  const first = await call('DELETE', '/repository/kim/web');
  expect(first.status).toBe(409);
  for (const what of left) expect(first.json.error_message).toContain(what);
  expect(await triggers()).toEqual([]);
  expect(await records('trigger.delete')).toEqual([
    {
      target: id,
      result: 'done',
      detail: { repository: 'kim/web', left_at_host: left.map((what) => expect.stringContaining(what)) },
    },
  ]);
  await server.database.sql.deleteFrom('builds').execute();
  expect((await call('DELETE', '/repository/kim/web')).status).toBe(204);
});

test.each([
  ['a trigger', (id: string) => `${base}/${id}`],
  ['its repository', () => '/repository/kim/web'],
])('what a host is to forget of %s it forgets although whoever asked is gone', async (_what, path) => {
  const id = await active();
  let goOn = () => {};
  const until = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  github.fail({ at: /^DELETE .*hooks/, status: 200, until });
  github.fail({ at: /^DELETE .*keys/, status: 403, times: 10 });
  const url = new URL(`/api/v1${path(id)}`, server.url);
  let noticed = false;
  server.api.server.on('request', (incoming, response) => {
    if (incoming.method === 'DELETE')
      response.on('close', () => {
        noticed = true;
      });
  });
  const asking = httpRequest(url, { method: 'DELETE', headers: { authorization: `Bearer ${kim}` } }).end();
  asking.on('error', () => {});
  await expect.poll(() => github.requests.some((line) => /^DELETE .*hooks/.test(line))).toBe(true);
  asking.destroy();
  await expect.poll(() => noticed).toBe(true);
  goOn();
  // Nobody hears the answer; the record says what the host did not take.
  await expect.poll(async () => (await records('trigger.delete')).length).toBe(1);
  const [record] = await records('trigger.delete');
  expect(record).toMatchObject({
    target: id,
    detail: { left_at_host: [expect.stringContaining('The deploy key of kim/app is still there')] },
  });
  expect(atHost()).toEqual([0, 1]);
});
