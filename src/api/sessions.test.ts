import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ApiHarness, password, startApiServer } from '../../test/harness/api-server.ts';
import { Browser, hiddenField } from '../../test/harness/browser.ts';
import { ManualClock } from '../base/clock.ts';

let server: ApiHarness;
let clock: ManualClock;
const minute = 60_000;

beforeAll(async () => {
  clock = new ManualClock();
  server = await startApiServer({
    clock,
    sessionTimes: { idle: 60 * minute, lifetime: 600 * minute },
    providers: [],
  });
  await server.addUser('kim');
  await server.addUser('root', { superuser: true });
  await server.addRepository('kim/web');
});
afterAll(async () => await server[Symbol.asyncDispose]());

async function signIn(username = 'kim', browser = new Browser()) {
  const answer = await browser.request(`${server.url}/api/v1/signin`, { json: { username, password } });
  expect([answer.status, answer.text]).toMatchObject([200, expect.anything()]);
  const { csrf_token: csrf } = JSON.parse(answer.text) as { csrf_token: string };
  return { browser, csrf, answer };
}

const at = (path: string) => `${server.url}${path}`;
const typeOf = ({ text }: { text: string }) => (JSON.parse(text) as { error_type: string }).error_type;
const whoIs = async (browser: Browser) => (await browser.request(at('/api/v1/user'))).status;

test('a password begins a session, whose cookie no script reads and no other site sends with a form', async () => {
  const { browser, answer } = await signIn();
  const [cookie = '', ...more] = answer.headers.getSetCookie();
  expect(more).toEqual([]);
  expect(cookie).toMatch(/^slipway=[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax; Max-Age=36000$/);
  const who = await browser.request(at('/api/v1/user'));
  expect(JSON.parse(who.text)).toEqual({
    username: 'kim',
    anonymous: false,
    super_user: false,
    scopes: 'all',
  });
  expect(answer.headers.get('cache-control')).toBe('no-store');
});

test('by https the cookie is for this host alone', async () => {
  const https = await startApiServer({ options: { https: true } });
  try {
    await https.addUser('kim');
    const answer = await new Browser().request(`${https.url}/api/v1/signin`, {
      json: { username: 'kim', password },
    });
    expect(answer.headers.getSetCookie()[0]).toMatch(
      /^__Host-slipway=[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax; Secure; Max-Age=\d+$/,
    );
  } finally {
    await https[Symbol.asyncDispose]();
  }
});

test('a session is new at every sign-in, whatever the browser had before', async () => {
  const planted = 'A'.repeat(43);
  const browser = new Browser();
  browser.setCookie(server.url, 'slipway', planted);
  await signIn('kim', browser);
  const first = browser.cookie(server.url, 'slipway');
  expect(first).not.toBe(planted);
  const again = await browser.request(at('/api/v1/user/csrf'));
  const { csrf_token: csrf } = JSON.parse(again.text) as { csrf_token: string };
  await browser.request(at('/api/v1/signin'), {
    json: { username: 'root', password },
    headers: { 'x-csrf-token': csrf },
  });
  const second = browser.cookie(server.url, 'slipway');
  expect(second).not.toBe(first);
  const old = new Browser();
  old.setCookie(server.url, 'slipway', first ?? '');
  expect([await whoIs(old), await whoIs(browser)]).toEqual([401, 200]);
});

test('who signs out is signed out, also who kept the cookie', async () => {
  const { browser, csrf } = await signIn();
  const kept = browser.cookie(server.url, 'slipway') ?? '';
  const out = await browser.request(at('/api/v1/signout'), {
    method: 'POST',
    headers: { 'x-csrf-token': csrf },
  });
  expect(out.status).toBe(204);
  expect(browser.cookie(server.url, 'slipway')).toBeUndefined();
  browser.setCookie(server.url, 'slipway', kept);
  expect(await whoIs(browser)).toBe(401);
});

test('a session that is not used ends', async () => {
  const { browser } = await signIn();
  await clock.advance(59 * minute);
  expect(await whoIs(browser)).toBe(200);
  await clock.advance(59 * minute);
  expect(await whoIs(browser)).toBe(200);
  await clock.advance(61 * minute);
  expect(await whoIs(browser)).toBe(401);
});

test('another password, or being switched off, signs out everywhere', async () => {
  await server.addUser('lee');
  for (const set of [{ password_hash: 'another' }, { disabled: 1 }]) {
    await server.database.sql
      .updateTable('users')
      .set({ disabled: 0 })
      .where('username', '=', 'lee')
      .execute();
    const { secret } = await server.sessions.open({ username: 'lee', way: 'password' });
    const browser = new Browser();
    browser.setCookie(server.url, 'slipway', secret);
    expect(await whoIs(browser)).toBe(200);
    await server.database.sql.updateTable('users').set(set).where('username', '=', 'lee').execute();
    expect(await whoIs(browser)).toBe(401);
  }
});

test('one sees one’s sessions and ends them', async () => {
  await server.sessions.endAll('kim');
  const [one, two] = [await signIn(), await signIn()];
  const list = async () => {
    const { text } = await one.browser.request(at('/api/v1/user/sessions'));
    return (JSON.parse(text) as { sessions: { id: string; current: boolean; address: string }[] }).sessions;
  };
  const all = await list();
  expect(all).toMatchObject([
    { way: 'password', address: '127.0.0.1' },
    { way: 'password', address: '127.0.0.1' },
  ]);
  expect(all.filter(({ current }) => current)).toHaveLength(1);
  expect(JSON.stringify(all)).not.toContain(one.browser.cookie(server.url, 'slipway'));
  const other = all.find(({ current }) => !current);
  const headers = { 'x-csrf-token': one.csrf };
  const path = at(`/api/v1/user/sessions/${other?.id}`);
  const root = await signIn('root');
  const foreign = await root.browser.request(path, {
    method: 'DELETE',
    headers: { 'x-csrf-token': root.csrf },
  });
  expect(foreign.status).toBe(404);
  expect((await one.browser.request(path, { method: 'DELETE', headers })).status).toBe(204);
  expect(await whoIs(two.browser)).toBe(401);
  await signIn();
  const rest = await one.browser.request(at('/api/v1/user/sessions'), { method: 'DELETE', headers });
  expect(JSON.parse(rest.text)).toEqual({ ended: 1 });
  expect(await list()).toMatchObject([{ current: true }]);
});

test('tokens are no passwords here, and neither is a wrong one', async () => {
  const { token } = await server.accounts.createToken('kim', { name: 'x', scopes: ['repo:read'] });
  for (const body of [
    { username: 'kim', password: token },
    { username: '$oauthtoken', password: token },
    { username: 'kim', password: 'wrong horse' },
  ]) {
    const answer = await new Browser().request(at('/api/v1/signin'), { json: body });
    expect([body, answer.status, answer.headers.getSetCookie()]).toEqual([body, 401, []]);
  }
});

test('guesses are slowed down, and recorded', async () => {
  await server.addUser('target');
  const guess = async (secret: string) =>
    (await new Browser().request(at('/api/v1/signin'), { json: { username: 'target', password: secret } }))
      .status;
  for (let count = 0; count < 5; count += 1) expect(await guess('wrong horse')).toBe(401);
  expect(await guess(password)).toBe(429);
  const records = await server.audit.records({ limit: 6, target: 'target' });
  expect(records[0]).toMatchObject({
    action: 'sign-in',
    result: 'refused',
    reason: 'locked',
    detail: { door: 'browser' },
  });
});

test('where passwords are not taken, nobody signs in by one', async () => {
  const without = await startApiServer({ options: { directLogin: false } });
  try {
    await without.addUser('kim');
    const json = { username: 'kim', password };
    expect((await new Browser().request(`${without.url}/api/v1/signin`, { json })).status).toBe(403);
    const page = await new Browser().request(`${without.url}/signin`);
    expect(page.text).not.toContain('type="password"');
  } finally {
    await without[Symbol.asyncDispose]();
  }
});

describe('what a browser sends for another site', () => {
  const body = { mimeType: 'application/gzip' };

  test('is refused without the token of this very session', async () => {
    const { browser, csrf } = await signIn();
    const other = await signIn();
    for (const headers of [{}, { 'x-csrf-token': '' }, { 'x-csrf-token': other.csrf }]) {
      const answer = await browser.request(at('/api/v1/filedrop'), { json: body, headers });
      expect([answer.status, typeOf(answer)]).toEqual([403, 'csrf']);
    }
    const headers = { 'x-csrf-token': csrf };
    expect((await browser.request(at('/api/v1/filedrop'), { json: body, headers })).status).toBe(200);
  });

  test.each([
    [{ 'sec-fetch-site': 'cross-site' }, 403],
    [{ 'sec-fetch-site': 'same-site' }, 403],
    [{ 'sec-fetch-site': 'same-origin', origin: 'https://proxied.example' }, 200],
    [{ origin: 'https://evil.example' }, 403],
    [{ origin: 'null' }, 403],
  ])('and with it, by what the browser says of the page: %j', async (headers, status) => {
    const { browser, csrf } = await signIn();
    const answer = await browser.request(at('/api/v1/filedrop'), {
      json: body,
      headers: { 'x-csrf-token': csrf, ...headers },
    });
    expect(answer.status).toBe(status);
  });

  test('is none of this for who shows a token, for which a page has to know it', async () => {
    const { browser } = await signIn();
    const { token } = await server.accounts.createToken('kim', { name: 'x', scopes: ['repo:write'] });
    const headers = { authorization: `Bearer ${token}`, origin: 'https://elsewhere.example' };
    expect((await browser.request(at('/api/v1/filedrop'), { json: body, headers })).status).toBe(200);
  });

  test.each([
    [{ 'sec-fetch-site': 'cross-site', origin: 'http://evil.example' }, 403],
    [{ origin: 'http://evil.example' }, 403],
    [{ 'sec-fetch-site': 'same-origin' }, 201],
    [{}, 201],
  ])('a password that a browser keeps is no better than a cookie: %j', async (sent, status) => {
    const authorization = `Basic ${Buffer.from(`kim:${password}`).toString('base64')}`;
    const path = at('/api/v1/user/robots/kept');
    const answer = await new Browser().request(path, { method: 'PUT', headers: { authorization, ...sent } });
    expect(answer.status).toBe(status);
    await server.accounts.robots.delete({ namespace: 'kim', short: 'kept' });
  });

  test('no browser is asked for a password in a window of its own', async () => {
    const challenge = async (headers: Record<string, string>) =>
      (await new Browser().request(at('/api/v1/user'), { headers })).headers.get('www-authenticate');
    expect(await challenge({ accept: 'text/html,application/xhtml+xml,*/*;q=0.8' })).not.toContain('Basic');
    expect(await challenge({ 'sec-fetch-site': 'same-origin' })).not.toContain('Basic');
    expect(await challenge({ accept: '*/*' })).toContain('Basic');
  });

  test('signs nobody in', async () => {
    const json = { username: 'kim', password };
    const headers = { 'sec-fetch-site': 'cross-site' };
    const answer = await new Browser().request(at('/api/v1/signin'), { json, headers });
    expect([answer.status, answer.headers.getSetCookie()]).toEqual([403, []]);
    const form = await new Browser().request(at('/signin'), { form: json });
    expect(form.status).toBe(403);
    expect(form.headers.getSetCookie().join()).not.toContain('slipway=');
  });

  test('changes nothing at any route: every one that changes something wants more than the cookie', async () => {
    const { browser } = await signIn('root');
    const { text } = await browser.request(at('/api/v1/openapi.json'));
    const { paths } = JSON.parse(text) as {
      paths: Record<string, Record<string, { 'x-access': string }>>;
    };
    const changing = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods)
        // Who holds a signed URL, or the token of a webhook, needs no session for it, and gains nothing by one.
        .filter(
          ([method, operation]) =>
            method !== 'get' && !['signed-url', 'webhook'].includes(operation['x-access']),
        )
        .map(([method]) => [method, path] as const),
    );
    expect(changing.length).toBeGreaterThan(15);
    const before = await server.audit.records({ limit: 1 });
    for (const [method, path] of changing) {
      const address = at(path.replace(/\{\w+\}/g, 'web'));
      for (const sent of [{ json: {} }, { form: { csrf_token: 'x' } }, {}]) {
        const { status } = await browser.request(address, { method: method.toUpperCase(), ...sent });
        // A form without a body is none.
        const allowed = path.startsWith('/api/') || Object.keys(sent).length > 0 ? [403] : [400, 403];
        expect({ method, path, sent, allowed, status }).toMatchObject({
          status: allowed.includes(status) ? status : 403,
        });
      }
    }
    const records = await server.audit.records({ limit: 1_000 });
    const since = records.filter(({ number }) => number > (before[0]?.number ?? 0));
    expect(since.filter(({ result }) => result === 'done')).toEqual([]);
    expect(await whoIs(browser)).toBe(200);
  });
});

describe('the pages', () => {
  test('sign in and out without any script', async () => {
    const browser = new Browser();
    expect((await browser.request(at('/'))).text).toContain('You are not signed in');
    const page = await browser.request(at('/signin?next=/api/v1/docs'));
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(page.text).not.toMatch(/<script|style=|onclick/);
    const fields = { csrf_token: hiddenField(page.text, 'csrf_token'), next: hiddenField(page.text, 'next') };
    const wrong = await browser.request(at('/signin'), {
      form: { ...fields, username: '"><script>', password: 'wrong horse' },
    });
    expect(wrong.status).toBe(401);
    expect(wrong.text).toContain('The user name or password is wrong.');
    expect(wrong.text).toContain('value="&quot;&gt;&lt;script&gt;"');
    const right = await browser.request(at('/signin'), { form: { ...fields, username: 'kim', password } });
    expect([right.status, right.headers.get('location')]).toEqual([303, '/api/v1/docs']);
    const home = await browser.request(at('/'));
    expect(home.text).toContain('Signed in as <b>kim</b>');
    expect((await browser.request(at('/signin?next=/'))).status).toBe(303);
    const csrf = hiddenField(home.text, 'csrf_token');
    const out = await browser.request(at('/signout'), { form: { csrf_token: csrf } });
    expect([out.status, out.headers.get('location')]).toEqual([303, '/']);
    expect(await whoIs(browser)).toBe(401);
  });

  test.each([
    'https://evil.example',
    '//evil.example',
    '/\\evil.example',
    '/\t/evil.example',
    'javascript:alert(1)',
    'evil.example',
    '/a\\b',
    `/${'a'.repeat(499)}b`,
    '/%0d%0aset-cookie:x',
  ])('lead to no other site: %j', async (next) => {
    const browser = new Browser();
    const page = await browser.request(at('/signin'));
    const form = { csrf_token: hiddenField(page.text, 'csrf_token'), next, username: 'kim', password };
    const { status, headers } = await browser.request(at('/signin'), { form });
    expect(new URL(headers.get('location') ?? '/', server.url).origin).toBe(server.url);
    expect(status === 303 || status === 400).toBe(true);
    expect(headers.getSetCookie().join()).not.toContain('set-cookie');
  });

  test('take a form of this browser only', async () => {
    const page = await new Browser().request(at('/signin'));
    const form = { csrf_token: hiddenField(page.text, 'csrf_token'), username: 'kim', password };
    const other = new Browser();
    expect((await other.request(at('/signin'), { form })).status).toBe(403);
    // The page that says so has a form that works.
    await other.request(at('/signin'));
    expect((await other.request(at('/signin'), { form })).status).toBe(403);
  });

  test('take no field twice, and no large form', async () => {
    const twice = await fetch(at('/signin'), {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: 'username=kim&username=root',
    });
    expect(twice.status).toBe(400);
    const large = await fetch(at('/signin'), {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: `username=${'a'.repeat(20_000)}`,
    });
    expect(large.status).toBe(413);
  });
});

test('a page that asks by itself gets no window of the browser to ask for a password', async () => {
  const challenge = async (headers: Record<string, string>) =>
    (await server.call('GET', '/api/v1/user', { headers })).headers.get('www-authenticate');
  expect(await challenge({ 'sec-fetch-site': 'same-origin' })).toBe('Bearer realm="Slipway"');
  expect(await challenge({})).toContain('Basic');
});
