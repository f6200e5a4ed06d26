import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ApiHarness, password, startApiServer } from '../../test/harness/api-server.ts';

let server: ApiHarness;
beforeAll(async () => {
  server = await startApiServer({ options: { readerBuildLogs: true, https: true } });
  await server.addUser('owner');
});
afterAll(async () => await server[Symbol.asyncDispose]());

const basic = (username: string, secret: string) => ({
  authorization: `Basic ${Buffer.from(`${username}:${secret}`).toString('base64')}`,
});

test('a password makes a token, the token works, is listed without its text, and is revoked', async () => {
  const made = await server.call('POST', '/api/v1/user/tokens', {
    headers: basic('owner', password),
    body: { name: 'laptop', scopes: ['repo:read', 'user:admin'] },
  });
  expect(made.status).toBe(201);
  const { token, id } = made.json as { token: string; id: string };
  const who = await server.call('GET', '/api/v1/user/', { token });
  expect(who.json).toEqual({
    username: 'owner',
    anonymous: false,
    super_user: false,
    scopes: ['repo:read', 'user:admin'],
  });
  const listed = await server.call('GET', '/api/v1/user/tokens', { token });
  expect((listed.json.tokens as { id: string }[]).map((each) => each.id)).toContain(id);
  expect(listed.text).not.toContain(token);
  expect((await server.call('DELETE', `/api/v1/user/tokens/${id}`, { token })).status).toBe(204);
  expect((await server.call('GET', '/api/v1/user/', { token })).status).toBe(401);
});

test('a token passes on no scope that it lacks', async () => {
  const { token } = await server.accounts.createToken('owner', {
    name: 'x',
    scopes: ['user:admin', 'repo:read'],
  });
  const make = async (scopes: string[]) =>
    (await server.call('POST', '/api/v1/user/tokens', { token, body: { name: 'y', scopes } })).status;
  expect(await make(['repo:read'])).toBe(201);
  expect(await make(['repo:write'])).toBe(403);
  expect(await make(['repo:read', 'super:user'])).toBe(403);
});

test('a token passes on no more time than it has', async () => {
  const ends = Date.now() + 60_000;
  const { token } = await server.accounts.createToken('owner', {
    name: 'x',
    scopes: ['user:admin'],
    expiresAt: ends,
  });
  const make = async (expires?: string) =>
    await server.call('POST', '/api/v1/user/tokens', {
      token,
      body: { name: 'y', scopes: ['user:admin'], ...(expires === undefined ? {} : { expires }) },
    });
  expect((await make()).json.expires).toBe(new Date(ends).toISOString());
  const sooner = new Date(ends - 30_000).toISOString();
  expect((await make(sooner)).json.expires).toBe(sooner);
  expect((await make(new Date(ends + 1_000).toISOString())).status).toBe(403);
});

test('a token that may not administer the user can make none', async () => {
  const { token } = await server.accounts.createToken('owner', { name: 'x', scopes: ['repo:admin'] });
  const body = { name: 'y', scopes: ['repo:read'] };
  expect((await server.call('POST', '/api/v1/user/tokens', { token, body })).status).toBe(403);
});

test.each([
  ['an unknown scope', { name: 'x', scopes: ['everything'] }],
  ['no scope', { name: 'x', scopes: [] }],
  ['no name', { name: '', scopes: ['repo:read'] }],
  ['an expiry that is none', { name: 'x', scopes: ['repo:read'], expires: 'tomorrow' }],
  ['an expiry that has passed', { name: 'x', scopes: ['repo:read'], expires: '2001-01-01T00:00:00Z' }],
])('refuses a token with %s', async (_what, body) => {
  const answer = await server.call('POST', '/api/v1/user/tokens', {
    headers: basic('owner', password),
    body,
  });
  expect(answer.status).toBe(400);
});

test('wrong passwords are refused and then locked, with the time to wait', async () => {
  await server.addUser('target');
  const guess = async (secret: string) =>
    await server.call('GET', '/api/v1/user/', { headers: basic('target', secret) });
  for (let count = 0; count < 5; count += 1) {
    const answer = await guess('wrong horse');
    expect(answer.status).toBe(401);
    expect(answer.headers.get('www-authenticate')).toContain('Basic');
  }
  const locked = await guess(password);
  expect(locked.status).toBe(429);
  expect(Number(locked.headers.get('retry-after'))).toBeGreaterThan(0);
});

test('readers see logs where that is switched on', async () => {
  await server.addRepository('owner/web');
  const reader = await server.addUser('reader');
  await server.accounts.setPermission({ namespace: 'owner', name: 'web' }, 'reader', 'read');
  const made = await server.call('POST', '/api/v1/repository/owner/web/build/', {
    headers: basic('owner', password),
    body: { archive_url: 'https://sources.example/a.tar' },
  });
  const path = `/api/v1/repository/owner/web/build/${made.json.id}`;
  expect((await server.call('GET', `${path}/logs`, { token: reader })).status).toBe(200);
  // What it is built from stays with those who may write.
  const view = await server.call('GET', path, { token: reader });
  expect(view.json.is_writer).toBe(false);
  expect(view.json).not.toHaveProperty('archive_url');
});

test('browsers are told to stay with https where that is how the server is reached', async () => {
  const { headers } = await server.call('GET', '/api/v1/repository');
  expect(headers.get('strict-transport-security')).toContain('max-age');
});

test('a stop ends the streams that are open', async () => {
  const stopping = await startApiServer();
  const token = await stopping.addUser('owner');
  await stopping.addRepository('owner/web');
  const { json } = await stopping.call('POST', '/api/v1/repository/owner/web/build/', {
    token,
    body: { archive_url: 'https://sources.example/a.tar' },
  });
  const response = await fetch(`${stopping.url}/api/v1/repository/owner/web/build/${json.id}/logs/stream`, {
    headers: { authorization: `Bearer ${token}` },
  });
  const whole = response.text();
  stopping.api.endStreams();
  expect(await whole).not.toContain('event: end');
  await stopping[Symbol.asyncDispose]();
});
