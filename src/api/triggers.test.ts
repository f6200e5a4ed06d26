import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { FakeRepository } from '../../test/fakes/git-host-state.ts';
import { GithubApi } from '../../test/fakes/github-api.ts';
import { type ApiHarness, startApiServer } from '../../test/harness/api-server.ts';
import { systemClock } from '../base/clock.ts';

const base = '/api/v1/repository/kim/web/trigger';
const never = new AbortController().signal;

let github: GithubApi;
let source: FakeRepository;
let server: ApiHarness;
let kim: string;
let lee: string;

beforeAll(async () => {
  github = await new GithubApi().start();
  github.state.addUser('kim', 'good-token');
  source = github.state.addRepository('kim/app', { kim: 'admin' });
  source.commit('main', { files: { Dockerfile: 'FROM scratch\n', 'app/web.Dockerfile': 'FROM scratch\n' } });
  server = await startApiServer({
    hosts: { github: { site: github.url, api: `${github.url}/api/v3`, clock: systemClock } },
  });
  kim = await server.addUser('kim');
  lee = await server.addUser('lee');
  const web = await server.addRepository('kim/web');
  await server.addRepository('kim/other');
  await server.accounts.setPermission(web, 'lee', 'admin');
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await github?.[Symbol.asyncDispose]();
});

async function call(method: string, path: string, body?: unknown, token = kim) {
  return await server.call(method, `${base}${path}`, { token, ...(body === undefined ? {} : { body }) });
}
const create = async (body: Record<string, unknown> = { service: 'custom-git' }) =>
  String((await call('POST', '/', body)).json.id);
const gitUrl = 'ssh://git@git.example.com/team/web.git';
const activate = async (id: string, config: Record<string, unknown> = {}) =>
  await call('POST', `/${id}/activate`, { config: { build_source: gitUrl, ...config } });

describe('a custom trigger', () => {
  let id: string;
  beforeEach(async () => {
    id = await create();
  });

  test('is made inactive, activated once, and shown as clients know it', async () => {
    const fresh = await call('GET', `/${id}`);
    expect(fresh.json).toEqual({
      id,
      service: 'custom-git',
      is_active: false,
      build_source: null,
      repository_url: null,
      config: {},
      can_invoke: true,
      enabled: true,
      disabled_reason: null,
      connected_user: 'kim',
      created: expect.any(String),
      disabled: null,
    });
    expect((await call('POST', `/${id}/start`, { commit_sha: '1234567' })).status).toBe(400);
    const active = await activate(id, {
      branchtag_regex: '(',
      tag_templates: ['$' + '{'],
      credentials: [],
      hook_id: '7',
    });
    expect(active.status, active.text).toBe(200);
    expect(active.json).toMatchObject({ is_active: true, build_source: gitUrl });
    expect(active.json.faults).toHaveLength(2);
    const config = active.json.config as Record<string, unknown>;
    expect(config).toMatchObject({ dockerfile_path: '/Dockerfile', context: '/', branchtag_regex: '(' });
    // What only activation writes is not for clients to say.
    expect(config.hook_id).toBeUndefined();
    expect(config.credentials).toEqual([
      { name: 'SSH Public Key', value: expect.stringMatching(/^ssh-ed25519 /) },
      {
        name: 'Webhook Endpoint URL',
        value: expect.stringContaining(`@${new URL(server.url).host}/webhooks/push/trigger/${id}`),
      },
    ]);
    expect((await activate(id)).status).toBe(400);
    const listed = (await call('GET', '/')).json.triggers as { id: string }[];
    expect(listed.map((each) => each.id)).toContain(id);
  });

  test('is switched off and on, changed and deleted', async () => {
    await activate(id, { newest_only: true, branchtag_regex: 'heads/.*' });
    const off = await call('PUT', `/${id}`, { enabled: false });
    expect(off.json).toMatchObject({ enabled: false, disabled_reason: 'user_toggled' });
    expect((await call('POST', `/${id}/start`, { branch_name: 'main' })).status).toBe(400);
    expect((await call('PUT', `/${id}`, { enabled: true })).json).toMatchObject({
      enabled: true,
      disabled_reason: null,
    });
    const changed = await call('PUT', `/${id}/config`, {
      config: {
        context: '/app',
        dockerfile_path: '/app/Dockerfile',
        branchtag_regex: null,
        build_source: 'https://evil.example/a',
      },
    });
    expect(changed.status, changed.text).toBe(200);
    expect(changed.json.config).toMatchObject({ context: '/app', newest_only: true, build_source: gitUrl });
    expect(changed.json.config).not.toHaveProperty('branchtag_regex');
    for (const config of [
      { context: '/../..' },
      { cron: [{ schedule: 'at noon' }] },
      { platforms: ['pdp-11'] },
      { context: 7 },
    ])
      expect([config, (await call('PUT', `/${id}/config`, { config })).status]).toEqual([config, 400]);
    expect((await call('DELETE', `/${id}`)).status).toBe(204);
    for (const path of [`/${id}`, `/${id}/deliveries`, `/${id}/builds`, `/${id}/secrets`])
      expect([path, (await call('GET', path)).status]).toEqual([path, 404]);
  });

  test('is of its repository and of no other', async () => {
    const elsewhere = `/api/v1/repository/kim/other/trigger/${id}`;
    for (const [method, path, body] of [
      ['GET', '', undefined],
      ['PUT', '', { enabled: false }],
      ['DELETE', '', undefined],
      ['POST', '/activate', { config: { build_source: gitUrl } }],
      ['POST', '/start', { commit_sha: '1234567' }],
      ['PUT', '/secrets/npm', { value: '' }],
      ['GET', '/deliveries', undefined],
    ] as const) {
      const answer = await server.call(method, `${elsewhere}${path}`, {
        token: kim,
        ...(body === undefined ? {} : { body }),
      });
      expect([path, answer.status]).toEqual([path, 404]);
    }
    expect((await call('GET', `/${id}`)).json).toMatchObject({ enabled: true, is_active: false });
  });

  test('builds by hand, and its builds show it', async () => {
    await activate(id);
    const started = await call('POST', `/${id}/start`, { refs: { kind: 'tag', name: 'v1.0' } });
    expect(started.status, started.text).toBe(201);
    expect(started.headers.get('location')).toBe(
      `/api/v1/repository/kim/web/build/${started.json.id}/status`,
    );
    expect(started.json).toMatchObject({
      manual_user: 'kim',
      tags: ['v1.0'],
      trigger: { id, service: 'custom-git', build_source: gitUrl, config: { context: '/' } },
      trigger_metadata: { ref: 'refs/tags/v1.0', git_url: gitUrl },
    });
    // What is installed by hand is shown with the trigger alone.
    expect(started.text).not.toContain('credentials');
    for (const path of [`${base}/${id}/builds`, '/api/v1/repository/kim/web/build/?limit=100']) {
      const { json } = await server.call('GET', path, { token: kim });
      const build = (json.builds as { id: string; trigger: unknown }[]).find(
        (each) => each.id === started.json.id,
      );
      expect(build?.trigger).toMatchObject({ id });
    }
    expect((await call('POST', `/${id}/start`, {})).status).toBe(400);
    expect(
      (await call('POST', `/${id}/start`, { refs: { kind: 'branch', name: '--upload-pack=id' } })).status,
    ).toBe(400);
    await call('DELETE', `/${id}`);
    const after = await server.call('GET', `/api/v1/repository/kim/web/build/${started.json.id}`, {
      token: kim,
    });
    expect(after.json).toMatchObject({ trigger: null, trigger_metadata: { git_url: gitUrl } });
  });

  test('lists deliveries page by page, and takes one again', async () => {
    const active = await activate(id);
    const { credentials } = active.json.config as { credentials: { value: string }[] };
    const authorization = `Bearer ${new URL(credentials[1]?.value ?? '').password}`;
    for (const digit of ['1', '2', '3'])
      await server.call('POST', `/webhooks/push/trigger/${id}`, {
        headers: { authorization },
        body: { commit: digit.repeat(40), ref: 'refs/heads/main', default_branch: 'main' },
      });
    while (await server.triggers.background.worker.round(never));
    const first = await call('GET', `/${id}/deliveries?limit=2`);
    expect(first.json.deliveries).toMatchObject([
      { commit: '3'.repeat(40), outcome: 'queued', by: 'hook', reason: null, repeats: 0 },
      { commit: '2'.repeat(40) },
    ]);
    const second = await call('GET', `/${id}/deliveries?limit=2&next_page=${first.json.next_page}`);
    expect(second.json.deliveries).toMatchObject([{ commit: '1'.repeat(40) }]);
    expect(second.json.next_page).toBeUndefined();
    const [delivery] = second.json.deliveries as { id: string }[];
    const again = await call('POST', `/${id}/deliveries/${delivery?.id}/redeliver`);
    expect(again.status, again.text).toBe(201);
    expect(again.json).toMatchObject({ by: 'person', redelivery_of: delivery?.id });
    const other = await create();
    await activate(other);
    expect((await call('POST', `/${other}/deliveries/${delivery?.id}/redeliver`)).status).toBe(404);
  });

  test('keeps secrets that nobody reads again', async () => {
    await activate(id);
    expect((await call('PUT', `/${id}/secrets/npm`, { value: 'c2VjcmV0' })).status).toBe(204);
    expect((await call('PUT', `/${id}/secrets/npm`, { value: 'not base64' })).status).toBe(400);
    expect((await call('PUT', `/${id}/secrets/no%20id`, { value: '' })).status).toBe(400);
    expect((await call('GET', `/${id}/secrets`)).json).toEqual({ secrets: ['npm'] });
    expect((await call('GET', `/${id}`)).text).not.toContain('c2VjcmV0');
    expect((await call('DELETE', `/${id}/secrets/npm`)).status).toBe(204);
    expect((await call('DELETE', `/${id}/secrets/npm`)).status).toBe(404);
  });
});

describe('a trigger at a host', () => {
  test('needs a token, and shows what its account sees to who connected it alone', async () => {
    expect((await call('POST', '/', { service: 'github' })).status).toBe(400);
    expect((await call('POST', '/', { service: 'custom-git', token: 'x' })).status).toBe(400);
    expect((await call('POST', '/', { service: 'gitlab', token: 'x' })).status).toBe(400);
    const id = await create({ service: 'github', token: 'good-token' });
    const config = { build_source: 'kim/app' };
    expect((await call('GET', `/${id}/namespaces`)).json.namespaces).toMatchObject([
      { id: 'kim', personal: true },
    ]);
    expect((await call('POST', `/${id}/sources`, { namespace: 'kim' })).json.sources).toMatchObject([
      { name: 'app', full_name: 'kim/app', has_admin_permissions: true },
    ]);
    expect((await call('POST', `/${id}/fields/refs`, config)).json.values).toEqual([
      { kind: 'branch', name: 'main' },
    ]);
    expect((await call('POST', `/${id}/fields/colour`, config)).status).toBe(404);
    expect((await call('POST', `/${id}/subdir`, config)).json).toEqual({
      status: 'success',
      dockerfile_paths: expect.arrayContaining(['/Dockerfile', '/app/web.Dockerfile']),
      contextMap: { '/Dockerfile': ['/'], '/app/web.Dockerfile': ['/', '/app'] },
    });
    expect((await call('POST', `/${id}/subdir`, { build_source: 'kim/none' })).json).toMatchObject({
      status: 'error',
    });
    const missing = await call('POST', `/${id}/analyze`, { config: { ...config, dockerfile_path: '/none' } });
    expect(missing.json).toMatchObject({ status: 'warning', robots: [], faults: [] });
    for (const [method, path, body] of [
      ['GET', '/namespaces', undefined],
      ['POST', '/sources', { namespace: 'kim' }],
      ['POST', '/fields/refs', config],
      ['POST', '/subdir', config],
      ['POST', '/analyze', { config }],
      ['POST', '/activate', { config }],
    ] as const)
      expect([path, (await call(method, `/${id}${path}`, body, lee)).status]).toEqual([path, 403]);
    const active = await call('POST', `/${id}/activate`, { config });
    expect(active.status, active.text).toBe(200);
    expect(active.json).toMatchObject({ repository_url: `${github.url}/kim/app` });
    // Of what it builds now every administrator may know the branches, and of nothing else.
    expect(
      (await call('POST', `/${id}/fields/branch_name`, { build_source: 'kim/none' }, lee)).json.values,
    ).toEqual(['main']);
    github.fail({ at: /^DELETE .*hooks/, status: 403, times: 1 });
    const gone = await call('DELETE', `/${id}`);
    expect(gone.status).toBe(200);
    expect(gone.json.left_at_host).toEqual([expect.stringContaining('webhook')]);
  });

  test('go with their repository, and so do webhook and key at the host', async () => {
    await server.addRepository('kim/short');
    const at = '/api/v1/repository/kim/short/trigger';
    const made = async () => {
      const { json } = await server.call('POST', `${at}/`, {
        token: kim,
        body: { service: 'github', token: 'good-token' },
      });
      const activated = await server.call('POST', `${at}/${json.id}/activate`, {
        token: kim,
        body: { config: { build_source: 'kim/app' } },
      });
      expect(activated.status, activated.text).toBe(200);
    };
    const source = github.state.repositories.get('kim/app');
    const before = [source?.hooks.size ?? 0, source?.keys.size ?? 0];
    for (let count = 0; count < 2; count += 1) await made();
    expect(source?.hooks.size).toBe((before[0] ?? 0) + 2);
    github.fail({ at: /^DELETE .*keys/, status: 403, times: 1 });
    const gone = await server.call('DELETE', '/api/v1/repository/kim/short', { token: kim });
    expect([gone.status, gone.json]).toEqual([
      200,
      { left_at_host: [expect.stringContaining('deploy key')] },
    ]);
    expect([source?.hooks.size, source?.keys.size]).toEqual([before[0], (before[1] ?? 0) + 1]);
  });

  test('whose host is out of reach says so', async () => {
    const id = await create({ service: 'github', token: 'a-token-that-is-wrong' });
    const answer = await call('GET', `/${id}/namespaces`);
    expect(answer.status).toBe(502);
    expect(answer.json.error_type).toBe('downstream_issue');
    expect(answer.text).not.toContain('a-token-that-is-wrong');
  });
});
