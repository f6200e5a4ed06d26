import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ApiHarness, startApiServer } from '../../test/harness/api-server.ts';
import { ManualClock } from '../base/clock.ts';
import type { BuildId } from '../model/ids.ts';
import { splitSecrets } from '../model/source-credentials.ts';
import { request } from '../queue/build-queue.suite.ts';

let server: ApiHarness;
let token: string;
const archive_url = 'https://sources.example/source.tar.gz';
const path = '/api/v1/repository/owner/web/build/';

beforeAll(async () => {
  server = await startApiServer({ options: { maxQueuedPerNamespace: 3 } });
  token = await server.addUser('owner');
  await server.addRepository('owner/web');
});
afterAll(async () => await server[Symbol.asyncDispose]());

const post = async (body: unknown, headers: Record<string, string> = {}) =>
  await server.call('POST', path, { token, body, headers });

async function cancelAll(): Promise<void> {
  for (const { id } of await server.queue.builds({ limit: 100, unfinishedOnly: true }))
    await server.queue.cancel(id, 'owner');
}

test('a build has every field that older clients read, and its place in the queue', async () => {
  const made = await post({ archive_url, subdirectory: '/app' });
  expect(made.status).toBe(201);
  const id = String(made.json.id);
  expect(made.headers.get('location')).toBe(`/api/v1/repository/owner/web/build/${id}`);
  expect(made.json).toMatchObject({
    id,
    phase: 'waiting',
    display_name: 'source.tar.gz',
    subdirectory: '/app/Dockerfile',
    dockerfile_path: '/app/Dockerfile',
    context: '/app',
    tags: ['latest'],
    manual_user: 'owner',
    is_writer: true,
    trigger: null,
    trigger_metadata: null,
    resource_key: null,
    pull_robot: null,
    repository: { namespace: 'owner', name: 'web' },
    error: null,
    archive_url,
    queue_position: 0,
    queue: { position: 1, ahead: 0, running: 0 },
    superseded_by: null,
  });
  expect(made.json.status).toEqual({ state: 'queued', attempt: 1 });
  expect(made.json.started).toMatch(/^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} -0000$/);
  const second = await post({ archive_url });
  expect(second.json.queue_position).toBe(1);
  const shown = await server.call('GET', `${path}${id}/status`, { token });
  expect(shown.json).toEqual(made.json);
  await cancelAll();
});

test('of builds that ask for newest_only, the newest takes the place of those that wait for the same', async () => {
  const git = { url: 'https://sources.example/app.git', ref: 'main' };
  const asked = { git, newest_only: true, docker_tags: ['commit-1'] };
  const first = await post(asked);
  const branch = await post({ ...asked, git: { ...git, ref: 'branch' } });
  const newest = await post({ ...asked, docker_tags: ['commit-2'] });
  expect([first, branch, newest].map(({ status }) => status)).toEqual([201, 201, 201]);
  const shown = async ({ json }: typeof first) =>
    (await server.call('GET', `${path}${String(json.id)}`, { token })).json;
  expect(await shown(first)).toMatchObject({
    phase: 'cancelled',
    cancelled_by: 'superseded',
    superseded_by: newest.json.id,
    queue: null,
  });
  expect(await shown(branch)).toMatchObject({ phase: 'waiting', superseded_by: null });
  // Without a ref, the tags say what is the same; and who does not ask for it neither gives nor takes a place.
  await cancelAll();
  const upload = { archive_url, newest_only: true, docker_tags: ['b', 'a'] };
  const [old, other, plain] = [
    await post(upload),
    await post({ ...upload, docker_tags: ['a'] }),
    await post({ ...upload, newest_only: false }),
  ];
  await post({ ...upload, docker_tags: ['a', 'b'] });
  const phases = await Promise.all([old, other, plain].map(async (build) => (await shown(build)).phase));
  expect(phases).toEqual(['cancelled', 'waiting', 'waiting']);
  await cancelAll();
  // One that publishes nothing is not wanted in the place of one that publishes.
  const published = await post(upload);
  await post({ ...upload, push: false });
  expect((await shown(published)).phase).toBe('waiting');
  await cancelAll();
  // Builds of a matrix differ in their arguments alone, and are not the same.
  const matrix = [
    await post({ ...asked, build_args: { BASE: 'alpine' }, docker_tags: ['alpine'] }),
    await post({ ...asked, build_args: { BASE: 'debian' }, docker_tags: ['debian'] }),
  ];
  expect(await Promise.all(matrix.map(async (build) => (await shown(build)).phase))).toEqual([
    'waiting',
    'waiting',
  ]);
  await cancelAll();
});

test('the list is newest first, limited, and can begin at a time', async () => {
  for (const docker_tags of [['one'], ['two'], ['three']]) await post({ archive_url, docker_tags });
  const list = async (query: string) => {
    const { json } = await server.call('GET', `${path}?${query}`, { token });
    return (json.builds as { tags: string[] }[]).map(({ tags }) => tags[0]);
  };
  expect(await list('limit=2')).toEqual(['three', 'two']);
  expect(await list(`since=${Math.ceil(Date.now() / 1000) + 60}`)).toEqual([]);
  expect(await list('limit=3&since=0')).toEqual(['three', 'two', 'one']);
  await cancelAll();
});

test('a namespace whose queue is full is told so, with the words clients know', async () => {
  for (let count = 0; count < 3; count += 1) expect((await post({ archive_url })).status).toBe(201);
  const refused = await post({ archive_url });
  expect(refused.status).toBe(429);
  expect(refused.json.detail).toBe('Maximum queued build rate exceeded.');
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  await cancelAll();
});

test('the same Idempotency-Key makes one build', async () => {
  const headers = { 'idempotency-key': 'once' };
  const [first, again] = [await post({ archive_url }, headers), await post({ archive_url }, headers)];
  expect(again.status).toBe(201);
  expect(again.json.id).toBe(first.json.id);
  const other = await post({ archive_url }, { 'idempotency-key': 'twice' });
  expect(other.json.id).not.toBe(first.json.id);
  await cancelAll();
});

test('a repeated Idempotency-Key counts as one put', async () => {
  const puts = async () => {
    const { text } = await server.call('GET', '/metrics');
    return Number(/^quay_queue_item_puts_total\{[^}]*\} (\d+)$/m.exec(text)?.[1] ?? 0);
  };
  const before = await puts();
  const headers = { 'idempotency-key': 'counted' };
  for (let n = 0; n < 3; n += 1) expect((await post({ archive_url }, headers)).status).toBe(201);
  expect(await puts()).toBe(before + 1);
  await post({ archive_url });
  expect(await puts()).toBe(before + 2);
  await cancelAll();
});

test('a queued build is cancelled at once, and cannot be cancelled again', async () => {
  const { json } = await post({ archive_url });
  const cancelled = await server.call('DELETE', `${path}${json.id}`, { token });
  expect(cancelled.json).toMatchObject({ phase: 'cancelled', cancelled_by: 'owner' });
  const again = await server.call('DELETE', `${path}${json.id}`, { token });
  expect(again.status).toBe(400);
  expect(again.json.detail).toContain('cancelled');
});

test('everything that was asked for reaches the queue', async () => {
  const { json } = await post({
    git: { url: 'https://sources.example/team/app.git', ref: 'main' },
    dockerfile_path: '/docker/Dockerfile',
    context: '/',
    docker_tags: ['feature/x', 'v1'],
    build_args: { VERSION: '1' },
    labels: { 'org.example.team': 'web' },
    target: 'final',
    platforms: ['linux/amd64', 'linux/amd64'],
    secrets: { npm: Buffer.from('geheim').toString('base64') },
    no_cache: true,
    push: false,
  });
  const id = json.id as BuildId;
  expect(await server.queue.build(id)).toMatchObject({
    source: { kind: 'git', url: 'https://sources.example/team/app.git', ref: 'main' },
    dockerfilePath: '/docker/Dockerfile',
    context: '/',
    tags: ['feature_x', 'v1'],
    buildArgs: { VERSION: '1' },
    labels: { 'org.example.team': 'web' },
    target: 'final',
    platforms: ['linux/amd64'],
    noCache: true,
    push: false,
    manualUser: 'owner',
  });
  expect(
    (await server.queue.secrets(id)).map(({ id: name, value }) => [name, Buffer.from(value).toString()]),
  ).toEqual([['npm', 'geheim']]);
  const shown = await server.call('GET', `${path}${id}`, { token });
  expect(shown.text).not.toContain('geheim');
  expect(shown.text).not.toContain(Buffer.from('geheim').toString('base64'));
  await cancelAll();
});

/** Of the form only; ssh could not use it. */
const key = `-----BEGIN RSA PRIVATE KEY-----\n${Buffer.from('only a form').toString('base64')}\n-----END RSA PRIVATE KEY-----\n`;

test.each([
  [
    { url: 'ssh://git@sources.example/team/app.git', private_key: key },
    'ssh://git@sources.example:22/team/app.git',
  ],
  [{ url: 'git@sources.example:team/app.git', private_key: key }, 'git@sources.example:team/app.git'],
  [
    { url: 'https://sources.example/app.git', token: 'tok-123', lfs: true },
    'https://sources.example/app.git',
  ],
])('keeps what opens a git repository among the sealed secrets: %j', async (git, url) => {
  const answer = await post({ git, secrets: { npm: Buffer.from('x').toString('base64') } });
  expect(answer.status).toBe(201);
  const id = answer.json.id as Parameters<typeof server.queue.build>[0];
  const build = await server.queue.build(id);
  expect(build?.source).toMatchObject({ kind: 'git', url });
  for (const secret of [key, 'tok-123', 'private_key', '"token"']) {
    expect(JSON.stringify(build)).not.toContain(secret);
    expect(answer.text).not.toContain(secret);
  }
  const { credentials, archiveUrl, secrets } = splitSecrets(await server.queue.secrets(id));
  expect(archiveUrl).toBeUndefined();
  expect(credentials).toEqual('private_key' in git ? { privateKey: key } : { token: 'tok-123' });
  expect(secrets.map(({ id: name }) => name)).toEqual(['npm']);
  await cancelAll();
});

test('keeps the query of an archive URL, which may be what opens it, among the sealed secrets', async () => {
  const url = 'https://sources.example/a%20b.tar?X-Amz-Signature=5ec2e7&part=1';
  const answer = await post({ archive_url: url });
  expect(answer.status).toBe(201);
  const id = answer.json.id as Parameters<typeof server.queue.build>[0];
  const build = await server.queue.build(id);
  expect(build?.source).toEqual({
    kind: 'archive',
    url: 'https://sources.example/a%20b.tar?X-Amz-Signature=REDACTED&part=REDACTED',
  });
  expect(JSON.stringify(build) + answer.text).not.toContain('5ec2e7');
  expect(splitSecrets(await server.queue.secrets(id))).toMatchObject({ secrets: [], archiveUrl: url });
  await cancelAll();
  const plain = await post({ archive_url: 'https://sources.example/a.tar' });
  expect(await server.queue.secrets(plain.json.id as typeof id)).toEqual([]);
  await cancelAll();
});

test.each([
  ['nothing to build', {}],
  ['two sources', { archive_url, git: { url: 'https://sources.example/a.git' } }],
  ['a file that is none', { file_id: '../../etc/passwd' }],
  ['an archive of another scheme', { archive_url: 'file:///etc/passwd' }],
  ['an archive on a private address', { archive_url: 'http://127.0.0.1:22/x' }],
  ['an archive on the metadata address', { archive_url: 'http://169.254.169.254/latest' }],
  ['an archive with a password in its URL', { archive_url: 'https://user:secret@sources.example/x' }],
  ['git over a local path', { git: { url: '/etc' } }],
  ['git in a file', { git: { url: 'file:///etc' } }],
  ['git by ssh without a key', { git: { url: 'git@sources.example:a.git' } }],
  ['git by ssh with a token', { git: { url: 'git@sources.example:a.git', private_key: key, token: 'x' } }],
  ['git by ssh with a password', { git: { url: 'ssh://git:secret@sources.example/a', private_key: key } }],
  ['git by ssh to a program', { git: { url: 'ssh://-oProxyCommand=id/a', private_key: key } }],
  ['git by ssh to a private address', { git: { url: 'ssh://git@127.0.0.1/a', private_key: key } }],
  ['git by ssh to a number', { git: { url: 'git@2130706433:a', private_key: key } }],
  ['git by ssh with another line', { git: { url: 'git@sources.example:a\r\nb', private_key: key } }],
  ['git by https with another line', { git: { url: 'https://sources.example/a\r\nX: y' } }],
  ['git by https with a tab', { git: { url: 'https://sources.example/a\tb' } }],
  ['git by https with a space behind', { git: { url: 'https://sources.example/a ' } }],
  ['an archive with another line', { archive_url: 'https://sources.example/a\r\n.tar' }],
  ['git by https with a key', { git: { url: 'https://sources.example/a.git', private_key: key } }],
  ['git by https with a password', { git: { url: 'https://user:secret@sources.example/a.git' } }],
  ['a key that is none', { git: { url: 'git@sources.example:a.git', private_key: 'ssh-ed25519 AAAA' } }],
  ['a token of two lines', { git: { url: 'https://sources.example/a.git', token: 'a\nb' } }],
  ['a user name without a token', { git: { url: 'https://sources.example/a.git', username: 'kim' } }],
  ['git by an external transport', { git: { url: 'ext::sh -c id' } }],
  ['a ref that is an option', { git: { url: 'https://sources.example/a.git', ref: '--upload-pack=id' } }],
  ['a ref with dots', { git: { url: 'https://sources.example/a.git', ref: 'a..b' } }],
  ['a shortened commit', { git: { url: 'https://sources.example/a.git', sha: 'abc1234' } }],
  ['a Dockerfile outside', { archive_url, dockerfile_path: '../Dockerfile' }],
  ['a context outside', { archive_url, context: '/a/../../b' }],
  ['no tag at all', { archive_url, docker_tags: [] }],
  ['tags that are none', { archive_url, docker_tags: 'latest' }],
  ['a tag that is a number', { archive_url, docker_tags: [1] }],
  ['a platform that is none', { archive_url, platforms: ['linux'] }],
  ['two platforms', { archive_url, platforms: ['linux/amd64', 'linux/arm64'] }],
  ['a robot account that is not there', { archive_url, pull_robot: 'owner+none' }],
  ['a build argument with a bad name', { archive_url, build_args: { 'A=B': 'c' } }],
  ['a build argument that is a number', { archive_url, build_args: { A: 1 } }],
  ['a secret that is not base64', { archive_url, secrets: { a: 'not base64!' } }],
  ['a secret whose id leads elsewhere', { archive_url, secrets: { '../a': '' } }],
  ['a target that is an option', { archive_url, target: '--help' }],
])('refuses %s and says why', async (_what, body) => {
  const answer = await post(body);
  expect(answer.status).toBe(400);
  expect(answer.json.error_type).toBe('invalid_request');
  expect(String(answer.json.detail).length).toBeGreaterThan(20);
  expect(answer.text).not.toContain('secret@');
});

test('a priority is for superusers', async () => {
  expect((await post({ archive_url, priority: 5 })).status).toBe(403);
  const superuser = await server.addUser('root-user', { superuser: true });
  const made = await server.call('POST', path, { token: superuser, body: { archive_url, priority: 5 } });
  expect(made.json.priority).toBe(5);
  await cancelAll();
});

test('a repository that is not there is not made on the fly; the answer says how to make it', async () => {
  const answer = await server.call('POST', '/api/v1/repository/owner/new/build/', {
    token,
    body: { archive_url },
  });
  expect(answer.status).toBe(404);
  expect(answer.json.detail).toContain('slipway repo create owner/new');
});

test('a build of another repository is not found under this one', async () => {
  await server.addRepository('owner/other');
  const { json } = await post({ archive_url });
  const answer = await server.call('GET', `/api/v1/repository/owner/other/build/${json.id}`, { token });
  expect(answer.status).toBe(404);
  await cancelAll();
});

test('a repository may have slashes in its name, encoded or not', async () => {
  await server.addRepository('owner/group/part');
  const made = await server.call('POST', '/api/v1/repository/owner/group%2Fpart/build/', {
    token,
    body: { archive_url },
  });
  expect(made.json.repository).toEqual({ namespace: 'owner', name: 'group/part' });
  for (const name of ['group/part', 'group%2Fpart']) {
    const shown = await server.call('GET', `/api/v1/repository/owner/${name}/build/${made.json.id}`, {
      token,
    });
    expect(shown.json.id).toBe(made.json.id);
  }
  const location = made.headers.get('location') ?? '';
  expect((await server.call('GET', location, { token })).json.id).toBe(made.json.id);
  await cancelAll();
});

test('a build is found by the begin of its id, by who may read it only', async () => {
  const { json } = await post({ archive_url });
  const id = String(json.id);
  const find = async (text: string, as: string) => {
    const answer = await server.call('GET', `/api/v1/builds/?id=${text}&limit=2`, { token: as });
    return (answer.json.builds as { id: string }[]).map((each) => each.id);
  };
  expect(await find(id.slice(0, 8), token)).toEqual([id]);
  expect(await find(id, token)).toEqual([id]);
  const stranger = await server.addUser('stranger');
  expect(await find(id, stranger)).toEqual([]);
  expect(await find(id.slice(0, 8), stranger)).toEqual([]);
  expect((await server.call('GET', '/api/v1/builds/?id=%25', { token })).status).toBe(400);
  await cancelAll();
});

test('a repository with builds under way is not deleted', async () => {
  await server.addRepository('owner/busy');
  const made = await server.call('POST', '/api/v1/repository/owner/busy/build/', {
    token,
    body: { archive_url },
  });
  expect((await server.call('DELETE', '/api/v1/repository/owner/busy', { token })).status).toBe(409);
  await server.call('DELETE', `/api/v1/repository/owner/busy/build/${made.json.id}`, { token });
  expect((await server.call('DELETE', '/api/v1/repository/owner/busy', { token })).status).toBe(204);
  expect((await server.call('GET', '/api/v1/repository/owner/busy', { token })).status).toBe(404);
});

test('where builds are switched off none may be asked for, and those there are can be read and cancelled', async () => {
  await using off = await startApiServer({ options: { buildSupport: false } });
  const owner = await off.addUser('owner');
  const name = await off.addRepository('owner/web');
  const { id } = await off.queue.enqueue(request('owner/web', { repository: name }));
  const refused = await off.call('POST', path, { token: owner, body: { archive_url } });
  expect([refused.status, refused.json.error_type]).toEqual([409, 'conflict']);
  expect(refused.json.detail).toContain('FEATURE_BUILD_SUPPORT');
  expect((await off.call('GET', path, { token: owner })).json.builds).toHaveLength(1);
  expect((await off.call('GET', `${path}${id}`, { token: owner })).json).toMatchObject({ id });
  expect((await off.call('GET', `${path}${id}/logs`, { token: owner })).status).toBe(200);
  expect((await off.call('DELETE', `${path}${id}`, { token: owner })).json.phase).toBe('cancelled');
});

test('where the server is read only none may be asked for', async () => {
  await using off = await startApiServer({ options: { readOnly: true } });
  const owner = await off.addUser('owner');
  await off.addRepository('owner/web');
  const refused = await off.call('POST', path, { token: owner, body: { archive_url } });
  expect([refused.status, refused.json.error_type]).toEqual([503, 'read_only']);
  expect(refused.json.detail).toContain('REGISTRY_STATE');
  expect((await off.call('GET', path, { token: owner })).json.builds).toEqual([]);
});

test('a build that waits says when it is likely to start', async () => {
  const clock = new ManualClock(Date.now());
  await using timed = await startApiServer({ clock });
  const owner = await timed.addUser('owner');
  await timed.addRepository('owner/web');
  const ask = async () =>
    (await timed.call('POST', path, { token: owner, body: { archive_url, push: false } })).json;
  const claim = async () => {
    const [attempt] = await timed.queue.claim({ manager: 'm1', limit: 1, capacity: 10, lease: 600_000 });
    if (attempt === undefined) throw new Error('nothing was claimed');
    return attempt;
  };
  for (const seconds of [50, 60, 70]) {
    await ask();
    const { id, epoch } = await claim();
    await clock.advance(seconds * 1000);
    await timed.queue.finish(id, epoch, { kind: 'complete' }, 0);
  }
  await ask();
  const began = clock.now();
  await claim();
  await clock.advance(20_000);
  const start = new Date(began + 60_000).toISOString();
  expect((await ask()).queue).toEqual({ position: 2, ahead: 1, running: 1, estimated_start: start });
});
