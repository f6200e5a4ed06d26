import { createHmac, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ManualClock, systemClock } from '../../src/base/clock.ts';
import { GithubApi } from '../fakes/github-api.ts';
import { type ApiHarness, startApiServer } from '../harness/api-server.ts';

/**
 * What strangers, hosts that were broken into and people with a webhook URL may send. The server is the real REST
 * interface over a real database; GitHub is the fake that signs as the real one does.
 */
let server: ApiHarness;
let github: GithubApi;
let kim: string;
let hosted: { readonly id: string; readonly secret: string };
let custom: { readonly id: string; readonly token: string };

const base = '/api/v1/repository/kim/web/trigger';
const never = new AbortController().signal;
const gitUrl = 'ssh://git@git.example.com/team/web.git';

beforeAll(async () => {
  github = await new GithubApi().start();
  github.state.addUser('kim', 'good-token');
  const repository = github.state.addRepository('kim/app', { kim: 'admin' });
  repository.commit('main', { files: { Dockerfile: 'FROM scratch\n' } });
  server = await startApiServer({
    hosts: { github: { site: github.url, api: `${github.url}/api/v3`, clock: systemClock } },
  });
  kim = await server.addUser('kim');
  await server.addRepository('kim/web');
  const made = await server.call('POST', `${base}/`, {
    token: kim,
    body: { service: 'github', token: 'good-token' },
  });
  const id = String(made.json.id);
  const active = await server.call('POST', `${base}/${id}/activate`, {
    token: kim,
    body: { config: { build_source: 'kim/app' } },
  });
  expect(active.status, active.text).toBe(200);
  const [hook] = [...repository.hooks.values()];
  hosted = { id, secret: hook?.secret ?? '' };
  custom = await newCustom();
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await github?.[Symbol.asyncDispose]();
});

async function newCustom(config: Record<string, unknown> = {}): Promise<{ id: string; token: string }> {
  const made = await server.call('POST', `${base}/`, { token: kim, body: { service: 'custom-git' } });
  const id = String(made.json.id);
  const active = await server.call('POST', `${base}/${id}/activate`, {
    token: kim,
    body: { config: { build_source: gitUrl, ...config } },
  });
  expect(active.status, active.text).toBe(200);
  const { credentials } = active.json.config as { credentials: { name: string; value: string }[] };
  const url = credentials.find(({ name }) => name === 'Webhook Endpoint URL')?.value ?? '';
  return { id, token: new URL(url).password };
}

interface Sent {
  readonly headers?: Record<string, string>;
  readonly token?: string;
}

async function send(id: string, body: string | Buffer, { headers = {}, token }: Sent = {}) {
  const response = await fetch(`${server.url}/webhooks/push/trigger/${id}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(token === undefined
        ? {}
        : { authorization: `Basic ${Buffer.from(`$token:${token}`).toString('base64')}` }),
      ...headers,
    },
    body,
  });
  return { status: response.status, text: await response.text(), headers: response.headers };
}

const payload = (ref = 'refs/heads/main', commit = randomUUID().replaceAll('-', '').padEnd(40, '0')) =>
  JSON.stringify({ commit, ref, default_branch: 'main' });

function githubPush(commit: string): string {
  return JSON.stringify({
    ref: 'refs/heads/main',
    repository: { full_name: 'kim/app', ssh_url: 'git@github.example:kim/app.git', default_branch: 'main' },
    head_commit: {
      id: commit,
      url: 'https://github.example/kim/app/commit/1',
      message: 'one',
      timestamp: '2026-01-01T00:00:00Z',
      author: { username: 'kim' },
      committer: { username: 'kim' },
    },
    commits: [],
  });
}
const sign = (body: string, secret: string, algorithm = 'sha256') =>
  `${algorithm}=${createHmac(algorithm, secret).update(body).digest('hex')}`;

async function deliveries(id: string) {
  const answer = await server.call('GET', `${base}/${id}/deliveries?limit=100`, { token: kim });
  return answer.json.deliveries as { outcome: string; reason: string; repeats: number; build_id: string }[];
}

/** Everything that waits is worked on. */
async function settle(): Promise<void> {
  while (await server.triggers.background.worker.round(never));
}

describe('who may deliver', () => {
  test('to a trigger whose host signs: only what is signed with SHA-256', async () => {
    const body = githubPush('1'.repeat(40));
    const before = await deliveries(hosted.id);
    const event = { 'x-github-event': 'push', 'x-github-delivery': randomUUID() };
    for (const headers of [
      {},
      { 'x-hub-signature': sign(body, hosted.secret, 'sha1') },
      { 'x-hub-signature-256': sign(body, 'another secret') },
      { 'x-hub-signature-256': sign(`${body} `, hosted.secret) },
      { 'x-hub-signature-256': 'sha256=' },
      { 'x-hub-signature-256': `${sign(body, hosted.secret)}, ${sign(body, hosted.secret)}` },
      { 'x-slipway-signature-256': sign(body, hosted.secret) },
    ])
      expect([headers, (await send(hosted.id, body, { headers: { ...event, ...headers } })).status]).toEqual([
        headers,
        403,
      ]);
    // Its secret is no write token, and the write token of another trigger is none here.
    for (const token of [hosted.secret, custom.token])
      expect((await send(hosted.id, body, { token, headers: event })).status).toBe(403);
    expect(await deliveries(hosted.id)).toEqual(before);
    const good = await send(hosted.id, body, {
      headers: { ...event, 'x-hub-signature-256': sign(body, hosted.secret) },
    });
    expect([good.status, good.text]).toEqual([200, 'Okay']);
  });

  test('to a custom one: whoever has its token, by Basic or Bearer, or signs with it', async () => {
    const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
    expect((await send(custom.id, payload(), { token: custom.token })).status).toBe(200);
    expect((await send(custom.id, payload(), { headers: bearer(custom.token) })).status).toBe(200);
    const body = payload();
    const signed = { 'x-slipway-signature-256': sign(body, custom.token) };
    expect((await send(custom.id, body, { headers: signed })).status).toBe(200);
    const person = `Basic ${Buffer.from(`kim:${custom.token}`).toString('base64')}`;
    for (const headers of [
      {},
      bearer('wrong'),
      bearer(kim),
      { authorization: person },
      { authorization: 'Basic %%%' },
    ])
      expect((await send(custom.id, payload(), { headers })).status).toBe(403);
  });

  test('nobody to one that is not there, or no longer, and a revoked token is worth nothing', async () => {
    for (const id of [randomUUID(), 'no-id', '..%2f..%2fapi', "'; drop table triggers --"])
      expect((await send(id, payload(), { token: custom.token })).status).toBe(404);
    const gone = await newCustom();
    expect((await send(gone.id, payload(), { token: gone.token })).status).toBe(200);
    await server.call('DELETE', `${base}/${gone.id}`, { token: kim });
    expect((await send(gone.id, payload(), { token: gone.token })).status).toBe(404);
    const next = await newCustom();
    expect((await send(next.id, payload(), { token: gone.token })).status).toBe(403);
  });

  test('who tries proofs is not listened to any more, right or wrong, and fills no audit log', async () => {
    const one = await newCustom();
    const statuses: number[] = [];
    for (let n = 0; n < 40; n += 1)
      statuses.push((await send(one.id, payload(), { token: `wrong ${n}` })).status);
    expect(statuses.slice(0, 30)).toEqual(Array(30).fill(403));
    expect(statuses.slice(30)).toEqual(Array(10).fill(429));
    const right = await send(one.id, payload(), { token: one.token });
    expect(right.status).toBe(429);
    expect(Number(right.headers.get('retry-after'))).toBeGreaterThan(0);
    // Others are.
    expect((await send(custom.id, payload(), { token: custom.token })).status).toBe(200);
    const records = await server.audit.records({ limit: 1000, action: 'trigger.delivery', target: one.id });
    expect(records.length).toBeGreaterThan(0);
    expect(records.length).toBeLessThanOrEqual(30);
    expect(records.every(({ result }) => result === 'refused')).toBe(true);
  });
});

describe('the same delivery', () => {
  test('200 times at once is one build', async () => {
    const one = await newCustom();
    const body = payload();
    const answers = await Promise.all(
      Array.from({ length: 200 }, async () => await send(one.id, body, { token: one.token })),
    );
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`))).toEqual(new Set(['200 Okay']));
    await settle();
    const [only, ...more] = await deliveries(one.id);
    expect(more).toEqual([]);
    expect(only).toMatchObject({ outcome: 'queued', repeats: 199 });
  });

  test('replayed later, or under another name, is one build', async () => {
    const body = githubPush('2'.repeat(40));
    const signature = { 'x-github-event': 'push', 'x-hub-signature-256': sign(body, hosted.secret) };
    const before = (await deliveries(hosted.id)).length;
    const first = { ...signature, 'x-github-delivery': randomUUID() };
    for (const headers of [first, first, { ...signature, 'x-github-delivery': randomUUID() }]) {
      expect((await send(hosted.id, body, { headers })).status).toBe(200);
      await settle();
    }
    const after = await deliveries(hosted.id);
    expect(after.length).toBe(before + 1);
    expect(after[0]?.repeats).toBe(2);
  });
});

describe('bodies', () => {
  const refused = async (body: string | Buffer, headers: Record<string, string> = {}) =>
    await send(custom.id, body, { token: custom.token, headers });

  test('that are no push are refused with what is wrong', async () => {
    for (const [body, word] of [
      ['', 'JSON'],
      ['{', 'JSON'],
      ['[]', 'object'],
      ['null', 'object'],
      ['"text"', 'object'],
      ['{}', 'commit'],
      [JSON.stringify({ commit: 'xyz', ref: 'refs/heads/main', default_branch: 'main' }), 'commit'],
      [JSON.stringify({ commit: '1234567', ref: 'main', default_branch: 'main' }), 'ref'],
      [`${'['.repeat(100_000)}${']'.repeat(100_000)}`, 'object'],
      [`{"commit":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, 'commit'],
    ] as const) {
      const answer = await refused(body);
      expect([body.slice(0, 40), answer.status]).toEqual([body.slice(0, 40), 400]);
      expect(answer.text).toContain(word);
    }
    expect((await refused(Buffer.from([0x7b, 0xff, 0xfe]))).status).toBe(400);
    expect(
      (await deliveries(custom.id)).filter(({ outcome }) => outcome === 'refused').length,
    ).toBeGreaterThan(5);
  });

  test('of another type are refused, and say so', async () => {
    for (const type of [
      'application/x-www-form-urlencoded',
      'text/plain',
      'multipart/form-data; boundary=x',
      '',
    ])
      expect([type, (await refused(payload(), { 'content-type': type })).status]).toEqual([type, 415]);
    expect((await refused(payload(), { 'content-type': 'application/json; charset=utf-8' })).status).toBe(
      200,
    );
  });

  test('that would reach a prototype, or say things twice, reach nothing', async () => {
    const sha = 'a'.repeat(40);
    const proto = `{"__proto__":{"commit":"${sha}"},"constructor":{"prototype":{"x":1}},"ref":"refs/heads/main","default_branch":"main"}`;
    const answer = await refused(proto);
    expect([answer.status, answer.text.includes('commit')]).toEqual([400, true]);
    expect(({} as Record<string, unknown>).commit).toBeUndefined();
    const twice = `{"commit":"1234567","ref":"refs/heads/a","default_branch":"main","commit":"${sha}","ref":"refs/heads/twice"}`;
    expect((await refused(twice)).status).toBe(200);
    await settle();
    const answered = await server.call('GET', `${base}/${custom.id}/deliveries?limit=1`, { token: kim });
    expect(answered.json.deliveries).toMatchObject([{ ref: 'refs/heads/twice', commit: sha }]);
  });

  test('of 26 MB are refused, whether they say how large they are or not', async () => {
    const large = Buffer.alloc(26 * 1024 * 1024, 0x20);
    expect((await refused(large)).status).toBe(413);
    const sent = new ReadableStream({
      start(controller) {
        for (let n = 0; n < 26; n += 1) controller.enqueue(large.subarray(0, 1024 * 1024));
        controller.close();
      },
    });
    const response = await fetch(`${server.url}/webhooks/push/trigger/${custom.id}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${custom.token}` },
      body: sent,
      duplex: 'half',
    } as RequestInit);
    expect(response.status).toBe(413);
    // One that is as large as it may be is read, and refused for what it is.
    expect((await refused(Buffer.alloc(25 * 1024 * 1024, 0x20))).status).toBe(400);
  });
});

test('a body that never ends is not waited for, and few large ones are held at once', async () => {
  const clock = new ManualClock(Date.now());
  await using slow = await startApiServer({ clock });
  const { port } = new URL(slow.url);
  const open = async (length: number) => {
    const socket = connect(Number(port), '127.0.0.1');
    await once(socket, 'connect');
    socket.write(
      `POST /webhooks/push/trigger/${randomUUID()} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n{`,
    );
    const answer = once(socket, 'data').then(([bytes]) => String(bytes).split('\r\n')[0]);
    return { socket, answer };
  };
  const large = await Promise.all(Array.from({ length: 8 }, async () => await open(20_000_000)));
  await sleep(200);
  const ninth = await open(20_000_000);
  expect(await ninth.answer).toContain('503');
  const small = await open(100);
  await sleep(200);
  await clock.advance(21_000);
  for (const { answer } of [...large, small]) expect(await answer).toContain('408');
  for (const { socket } of [...large, ninth, small]) socket.destroy();
});

test('an expression that would take for ever is answered at once', async () => {
  const one = await newCustom({ branchtag_regex: '(a+)+$' });
  const begun = performance.now();
  expect((await send(one.id, payload(`refs/heads/${'a'.repeat(200)}!`), { token: one.token })).status).toBe(
    200,
  );
  await settle();
  expect(performance.now() - begun).toBeLessThan(5_000);
  expect(await deliveries(one.id)).toMatchObject([{ outcome: 'skipped' }]);
});

test('what a ref and a message say is text and nothing else', async () => {
  const one = await newCustom();
  const names = ['$(id)', 'a;b', 'ü-ß', 'x'.repeat(250), '<script>', "'--"];
  for (const name of names) {
    const body = JSON.stringify({
      commit: randomUUID().replaceAll('-', ''),
      ref: `refs/heads/${name}`,
      default_branch: 'main',
      commit_info: { url: 'javascript:alert(1)', message: '\u001b[2J', date: 'now' },
    });
    const { status } = await send(one.id, body, { token: one.token });
    expect([name, status]).toEqual([name, 200]);
  }
  await settle();
  const { json } = await server.call('GET', `${base}/${one.id}/builds?limit=100`, { token: kim });
  const built = json.builds as { tags: string[]; trigger_metadata: { commit_info: { url: string } } }[];
  expect(built).toHaveLength(names.length);
  for (const { tags, trigger_metadata: metadata } of built) {
    for (const tag of tags) expect(tag).toMatch(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/);
    expect(metadata.commit_info.url).not.toContain('javascript');
  }
});

describe('git URLs of a trigger', () => {
  const hostile = [
    '--upload-pack=touch /tmp/x',
    '-oProxyCommand=id',
    'ext::sh -c id',
    'file:///etc/passwd',
    '/etc/passwd',
    'git://git.example.com/a.git',
    'ssh://-oProxyCommand=id/a.git',
    'ssh://git@-oProxyCommand=id/a',
    'git@git.example.com:--upload-pack=id',
    'ssh://git@git.example.com/-oProxyCommand=id',
    'https://git.example.com/a.git\r\nHost: x',
    'https://git.example.com/a\nb.git',
    'https://kim:hunter2@git.example.com/a.git',
    'ssh://kim:hunter2@git.example.com/a.git',
    'http://git.example.com/a.git',
    'https://127.0.0.1/a.git',
    'https://169.254.169.254/latest/meta-data',
    'https://[::ffff:127.0.0.1]/a.git',
    'https://2130706433/a.git',
    'https://0x7f.1/a.git',
    'ssh://git@127.0.0.1/a.git',
    'ssh://git@[::1]/a.git',
    'ssh://git@2130706433/a.git',
    'git@127.0.0.1:a.git',
    'git@[::ffff:127.0.0.1]:a.git',
    '',
  ];
  test.each(hostile)('%j is refused, and its password is nowhere', async (url) => {
    const made = await server.call('POST', `${base}/`, { token: kim, body: { service: 'custom-git' } });
    const path = `${base}/${made.json.id}`;
    const answer = await server.call('POST', `${path}/activate`, {
      token: kim,
      body: { config: { build_source: url } },
    });
    expect(answer.status, answer.text).toBe(400);
    const after = await server.call('GET', path, { token: kim });
    expect(after.json).toMatchObject({ is_active: false, build_source: null });
    const records = await server.audit.records({ limit: 1000 });
    for (const text of [answer.text, after.text, server.logged.join('\n'), JSON.stringify(records)])
      expect(text).not.toContain('hunter2');
    await server.call('DELETE', path, { token: kim });
  });
});

test('no token, secret or key of a trigger is in an answer that does not give it out, in the log or the audit log', async () => {
  const made = await server.call('POST', `${base}/`, {
    token: kim,
    body: { service: 'github', token: 'good-token' },
  });
  const secret = Buffer.from('a build secret').toString('base64');
  expect(
    (await server.call('PUT', `${base}/${custom.id}/secrets/npm`, { token: kim, body: { value: secret } }))
      .status,
  ).toBe(204);
  const builds = await server.call('GET', '/api/v1/repository/kim/web/build/?limit=100', { token: kim });
  expect(builds.text).toContain(custom.id);
  const records = await server.audit.records({ limit: 1000 });
  const said = [made.text, builds.text, server.logged.join('\n'), JSON.stringify(records)].join('\n');
  for (const hidden of ['good-token', hosted.secret, custom.token, secret, 'a build secret', 'PRIVATE KEY'])
    expect(said).not.toContain(hidden);
});

test('a server that takes no builds says so', async () => {
  for (const options of [{ readOnly: true }, { buildSupport: false }]) {
    await using off = await startApiServer({ options });
    const response = await fetch(`${off.url}/webhooks/push/trigger/${randomUUID()}`, {
      method: 'POST',
      body: '{}',
    });
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).not.toBeNull();
  }
});

test('a namespace that has as many builds waiting as it may have is told to wait', async () => {
  await using full = await startApiServer({ options: { maxQueuedPerNamespace: 1 } });
  const token = await full.addUser('kim');
  await full.addRepository('kim/web');
  const made = await full.call('POST', `${base}/`, { token, body: { service: 'custom-git' } });
  const active = await full.call('POST', `${base}/${made.json.id}/activate`, {
    token,
    body: { config: { build_source: gitUrl } },
  });
  const { credentials } = active.json.config as { credentials: { value: string }[] };
  const authorization = `Bearer ${new URL(credentials.at(-1)?.value ?? '').password}`;
  const deliver = async () =>
    await fetch(`${full.url}/webhooks/push/trigger/${made.json.id}`, {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json' },
      body: payload(),
    });
  expect((await deliver()).status).toBe(200);
  while (await full.triggers.background.worker.round(never));
  const refused = await deliver();
  expect(refused.status).toBe(429);
  expect(refused.headers.get('retry-after')).toBe('30');
});
