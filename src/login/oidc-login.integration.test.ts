import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type ApiHarness, password, startApiServer } from '../../test/harness/api-server.ts';
import { Browser, type Visit } from '../../test/harness/browser.ts';
import { beginConnecting, isCallback, nameOf } from '../../test/harness/login-return.ts';
import { agree, decline, OpenIdServer } from '../../test/services/openid.ts';
import { freePort } from '../../test/services/service.ts';
import { type Clock, systemClock } from '../base/clock.ts';
import { OidcProvider } from './oidc-provider.ts';
import { providerFetch } from './provider-fetch.ts';

let openId: OpenIdServer;
let server: ApiHarness;
let ahead: number;
let port: number;
const restarted: OpenIdServer[] = [];
const secret = 'the secret of the client';
/** The machine's time, for the provider has a clock of its own; and more, when a test says so. */
const clock: Clock = { ...systemClock, now: () => Date.now() + ahead };

beforeAll(async () => {
  port = await freePort();
});

beforeEach(async () => {
  ahead = 0;
  await start();
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await openId[Symbol.asyncDispose]();
  for (const each of restarted.splice(0)) await each[Symbol.asyncDispose]();
});
afterAll(() => expect(restarted).toEqual([]));

function providerAt(url: string, more: { issuer?: string; clientSecret?: string; timeout?: number } = {}) {
  return new OidcProvider({
    id: 'okta',
    name: 'Okta & Co',
    server: `${url}/`,
    issuer: more.issuer,
    clientId: 'slipway',
    clientSecret: { reveal: () => more.clientSecret ?? secret },
    scopes: undefined,
    usernameClaim: undefined,
    emailClaim: undefined,
    userEndpoint: true,
    endpointParameters: {},
    insecure: true,
    fetch: providerFetch({ timeout: more.timeout ?? 5_000 }),
    clock,
  });
}

async function start(more: Parameters<typeof providerAt>[1] & { createUsers?: boolean } = {}) {
  const { createUsers = true, ...about } = more;
  server = await startApiServer({
    clock,
    createUsers,
    providers: [providerAt(`http://127.0.0.1:${port}`, about)],
  });
  openId = await OpenIdServer.start([`${server.url}/oauth2/okta/callback`], port);
}

/** The same with other settings. */
async function startAgain(more: Parameters<typeof start>[0]) {
  await server[Symbol.asyncDispose]();
  await openId[Symbol.asyncDispose]();
  await start(more);
}

const at = (path: string) => `${server.url}${path}`;

/** Up to the provider's first page. */
const leave = async (browser: Browser, next = '/api/v1/user') =>
  await browser.go(at(`/oauth2/okta?next=${encodeURIComponent(next)}`));

/** Up to the address that the provider sends the browser back to. */
async function allow(browser: Browser, name: string): Promise<string> {
  const there = await agree(browser, await leave(browser), name, isCallback);
  expect(isCallback(there.url)).toBe(true);
  return there.url;
}

const signIn = async (name: string, browser = new Browser()): Promise<Visit> =>
  await browser.go(await allow(browser, name));

const lastRecord = async () => (await server.audit.records({ limit: 1 }))[0];

/** What a login that came to nothing leaves: a page that says it, nobody signed in, and a record. */
async function expectFailed(visit: Visit, browser: Browser, reason: string, status: number) {
  expect({ status: visit.status, text: visit.text }).toMatchObject({ status });
  expect(visit.headers.get('content-type')).toContain('text/html');
  expect(visit.text).toContain('role="alert"');
  expect(await nameOf(browser, server.url)).toBeUndefined();
  expect(await lastRecord()).toMatchObject({
    action: 'sign-in',
    reason,
    detail: { door: 'browser', way: 'okta' },
  });
  const kept = [
    visit.text,
    JSON.stringify(await server.audit.records({ limit: 100 })),
    server.logged.join(''),
  ];
  for (const hidden of [secret, new URL(visit.url).searchParams.get('code') ?? secret])
    for (const text of kept) expect(text).not.toContain(hidden);
}

describe('a login by an OpenID provider', () => {
  test('makes a user at the first time, and finds the same one later', async () => {
    const browser = new Browser();
    const arrived = await signIn('Kim.Lee', browser);
    expect(arrived.url).toBe(at('/api/v1/user'));
    expect(JSON.parse(arrived.text)).toMatchObject({ username: 'kim.lee', scopes: 'all' });
    const records = await server.audit.records({ limit: 2 });
    expect(records).toMatchObject([
      { action: 'sign-in', actor: { kind: 'user', name: 'kim.lee' }, detail: { way: 'okta' } },
      { action: 'user.create', target: { kind: 'user', name: 'kim.lee' }, detail: { way: 'okta' } },
    ]);
    const row = await server.database.sql.selectFrom('users').selectAll().executeTakeFirstOrThrow();
    expect(row).toMatchObject({ email: 'Kim.Lee@example.com', superuser: 0 });
    const elsewhere = new Browser();
    await signIn('Kim.Lee', elsewhere);
    expect(await nameOf(elsewhere, server.url)).toBe('kim.lee');
    expect(await server.sessions.list('kim.lee')).toMatchObject([{ way: 'okta' }, { way: 'okta' }]);
  });

  test('sends a challenge, a state and a nonce that are new each time', async () => {
    const starts = await Promise.all(
      [1, 2].map(async () => {
        const visit = await new Browser().request(at('/oauth2/okta'));
        return new URL(visit.headers.get('location') ?? '').searchParams;
      }),
    );
    for (const name of ['state', 'nonce', 'code_challenge']) {
      const [one, other] = starts.map((query) => query.get(name) ?? '');
      expect(one).toMatch(/^[\w-]{43}$/);
      expect(one).not.toBe(other);
    }
    expect(starts[0]?.get('code_challenge_method')).toBe('S256');
    expect(starts[0]?.get('scope')).toBe('openid profile email');
  });

  test('takes a name that is free, and never a user who is there by name or address', async () => {
    await server.accounts.createUser({ username: 'kim', password, email: 'kim@example.com' });
    const browser = new Browser();
    await signIn('kim', browser);
    expect(await nameOf(browser, server.url)).toBe('kim-2');
    const root = new Browser();
    await signIn('root', root);
    expect(await nameOf(root, server.url)).toBe('root-2');
  });

  test('keeps an address that is not verified out', async () => {
    await signIn('unverified');
    const row = await server.database.sql.selectFrom('users').select('email').executeTakeFirstOrThrow();
    expect(row.email).toBeNull();
  });

  test('is refused to a browser that did not begin it', async () => {
    const callback = await allow(new Browser(), 'kim');
    const victim = new Browser();
    await expectFailed(await victim.go(callback), victim, 'wrong-state', 400);
    // Nor with a login of its own that it began.
    await leave(victim);
    await expectFailed(await victim.go(callback), victim, 'wrong-state', 400);
  });

  test.each([
    ['changed', (url: URL) => url.searchParams.set('state', 'x'.repeat(43))],
    ['missing', (url: URL) => url.searchParams.delete('state')],
    ['there twice', (url: URL) => url.searchParams.append('state', url.searchParams.get('state') ?? '')],
  ])('is refused when its state is %s', async (_what, change) => {
    const browser = new Browser();
    const callback = new URL(await allow(browser, 'kim'));
    change(callback);
    await expectFailed(await browser.go(callback.href), browser, 'wrong-state', 400);
  });

  test('is used once, though the browser keeps the cookie', async () => {
    const browser = new Browser();
    const callback = await allow(browser, 'kim');
    const cookie = browser.cookie(server.url, 'slipway-login') ?? '';
    await browser.go(callback);
    expect(browser.cookie(server.url, 'slipway-login')).toBeUndefined();
    const again = new Browser();
    again.setCookie(server.url, 'slipway-login', cookie);
    await expectFailed(await again.go(callback), again, 'used', 400);
  });

  test('is refused with the code of another login', async () => {
    const one = new URL(await allow(new Browser(), 'lee'));
    const browser = new Browser();
    const own = new URL(await allow(browser, 'kim'));
    own.searchParams.set('code', one.searchParams.get('code') ?? '');
    await expectFailed(await browser.go(own.href), browser, 'refused', 403);
  });

  test('is refused when the provider signed another nonce', async () => {
    const browser = new Browser();
    const start = await browser.request(at('/oauth2/okta'));
    const url = new URL(start.headers.get('location') ?? '');
    url.searchParams.set('nonce', 'y'.repeat(43));
    const callback = await agree(browser, await browser.go(url.href), 'kim', isCallback);
    await expectFailed(await browser.go(callback.url), browser, 'bad-answer', 403);
  });

  test('is refused when the answer says that another provider gave it', async () => {
    const browser = new Browser();
    const callback = new URL(await allow(browser, 'kim'));
    expect(callback.searchParams.get('iss')).toBe(openId.url);
    callback.searchParams.set('iss', 'https://evil.example');
    await expectFailed(await browser.go(callback.href), browser, 'bad-answer', 403);
  });

  test('may take ten minutes', async () => {
    const browser = new Browser();
    const callback = await allow(browser, 'kim');
    ahead = 10 * 60_000;
    await expectFailed(await browser.go(callback), browser, 'expired', 400);
  });

  test('ends when the person does not agree', async () => {
    const browser = new Browser();
    await expectFailed(await decline(browser, await leave(browser)), browser, 'denied', 403);
  });

  test('says when the provider is down, before and after, and works when it is back', async () => {
    const early = new Browser();
    const callback = await allow(early, 'kim');
    await openId[Symbol.asyncDispose]();
    await expectFailed(await early.go(callback), early, 'unreachable', 503);
    ahead = 3_600_000;
    const late = new Browser();
    await expectFailed(await leave(late), late, 'unreachable', 503);
    restarted.push(await OpenIdServer.start([at('/oauth2/okta/callback')], port));
    await signIn('kim', late);
    expect(await nameOf(late, server.url)).toBe('kim');
  });

  test('says when Slipway’s own secret is wrong', async () => {
    await startAgain({ clientSecret: 'another secret' });
    const browser = new Browser();
    await expectFailed(await signIn('kim', browser), browser, 'refused', 403);
    expect(server.logged.join('')).not.toContain('another secret');
  });

  test('is refused when the provider calls itself otherwise than is configured', async () => {
    await startAgain({ issuer: 'https://other.example' });
    const browser = new Browser();
    await expectFailed(await leave(browser), browser, 'bad-answer', 403);
  });

  test('makes nobody where users are made by administrators, and knows who was connected', async () => {
    await startAgain({ createUsers: false });
    const browser = new Browser();
    await expectFailed(await signIn('kim', browser), browser, 'no-account', 403);
    await server.accounts.createUser({ username: 'lee', password });
    await server.logins?.identities.link('lee', 'okta', { issuer: openId.url, subject: 'kim', name: 'kim' });
    const known = new Browser();
    await signIn('kim', known);
    expect(await nameOf(known, server.url)).toBe('lee');
  });

  test('keeps out who is switched off', async () => {
    await signIn('kim');
    await server.database.sql.updateTable('users').set({ disabled: 1 }).execute();
    const browser = new Browser();
    await expectFailed(await signIn('kim', browser), browser, 'disabled', 403);
  });

  test('leads to no other site afterwards', async () => {
    const browser = new Browser();
    for (const next of ['https://evil.example/', '//evil.example', '/\\evil.example']) {
      const start = await leave(browser, next);
      const end = await agree(browser, start, 'kim');
      expect(new URL(end.url).origin).toBe(server.url);
    }
    expect(browser.visited.filter((url) => url.includes('evil.example') && !url.includes('next='))).toEqual(
      [],
    );
  });

  test('is not known under another name', async () => {
    const browser = new Browser();
    const visit = await browser.go(at('/oauth2/nothing'));
    expect(visit.status).toBe(404);
  });
});

describe('connecting a provider with an account', () => {
  async function passwordSession(username: string): Promise<Browser> {
    await server.accounts.createUser({ username, password });
    const browser = new Browser();
    await browser.request(at('/api/v1/signin'), { json: { username, password } });
    return browser;
  }

  test('is for who is signed in, and from then on they sign in by it', async () => {
    const browser = await passwordSession('lee');
    const there = await beginConnecting(browser, server.url, 'okta');
    await agree(browser, there, 'somebody');
    expect((await browser.request(at('/'))).text).toContain('<b>somebody</b>');
    const other = new Browser();
    await signIn('somebody', other);
    expect(await nameOf(other, server.url)).toBe('lee');
    const records = await server.audit.records({ limit: 10, action: 'login.*' });
    expect(records.map(({ action }) => action)).toEqual(['login.connect', 'login.begin']);
  });

  test('is refused when somebody else, or nobody, is signed in when the browser comes back', async () => {
    const browser = await passwordSession('lee');
    const there = await agree(browser, await beginConnecting(browser, server.url, 'okta'), 'eve', isCallback);
    const cookie = browser.cookie(server.url, 'slipway-login') ?? '';
    const eve = await passwordSession('eve');
    eve.setCookie(server.url, 'slipway-login', cookie);
    const visit = await eve.go(there.url);
    expect(visit.status).toBe(403);
    expect(await server.logins?.identities.list('lee')).toEqual([]);
    expect(await server.logins?.identities.list('eve')).toEqual([]);
    expect(await lastRecord()).toMatchObject({ reason: 'signed-out' });
  });

  test('takes nobody’s login away', async () => {
    await signIn('kim');
    const browser = await passwordSession('lee');
    const visit = await agree(browser, await beginConnecting(browser, server.url, 'okta'), 'kim');
    expect(visit.status).toBe(409);
    expect(await lastRecord()).toMatchObject({ reason: 'taken', actor: { kind: 'user', name: 'lee' } });
  });

  test('and disconnecting it, by the interface', async () => {
    const browser = await passwordSession('lee');
    const { text } = await browser.request(at('/api/v1/user/csrf'));
    const headers = { 'x-csrf-token': (JSON.parse(text) as { csrf_token: string }).csrf_token };
    const begun = await browser.request(at('/api/v1/user/external-logins/okta'), { method: 'POST', headers });
    const { auth_url: url } = JSON.parse(begun.text) as { auth_url: string };
    await agree(browser, await browser.go(url), 'kim');
    const listed = await browser.request(at('/api/v1/user/external-logins'));
    const { logins } = JSON.parse(listed.text) as { logins: { id: string }[] };
    expect(logins).toMatchObject([{ service: 'okta', issuer: openId.url, name: 'kim' }]);
    const path = at(`/api/v1/user/external-logins/${logins[0]?.id}`);
    expect((await browser.request(path, { method: 'DELETE', headers })).status).toBe(204);
    expect((await browser.request(path, { method: 'DELETE', headers })).status).toBe(404);
  });
});
