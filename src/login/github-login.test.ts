import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { GithubLogin, githubClient } from '../../test/fakes/github-login.ts';
import { type ApiHarness, startApiServer } from '../../test/harness/api-server.ts';
import { Browser } from '../../test/harness/browser.ts';
import { isCallback, nameOf } from '../../test/harness/login-return.ts';
import { GithubProvider } from './github-provider.ts';
import { providerFetch } from './provider-fetch.ts';

let github: GithubLogin;
let server: ApiHarness;

beforeEach(async () => {
  github = new GithubLogin({
    id: 583_231,
    login: 'Octo-Cat',
    emails: [
      { email: 'other@example.com', primary: false, verified: true },
      { email: 'octo@example.com', primary: true, verified: true },
    ],
    organizations: ['first', 'Acme'],
  });
  await github.server.start();
  await start();
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await github.server[Symbol.asyncDispose]();
});

async function start(more: { allowed?: readonly string[]; clientSecret?: string } = {}) {
  const endpoint = github.server.url;
  server = await startApiServer({
    providers: [
      new GithubProvider({
        endpoint,
        apiEndpoint: `${endpoint}/api/v3`,
        clientId: githubClient.id,
        clientSecret: { reveal: () => more.clientSecret ?? githubClient.secret },
        allowedOrganizations: more.allowed,
        fetch: providerFetch({ timeout: 500 }),
      }),
    ],
  });
}

async function startAgain(more: Parameters<typeof start>[0]) {
  await server[Symbol.asyncDispose]();
  await start(more);
}

async function signIn(browser = new Browser()) {
  const visit = await browser.go(`${server.url}/oauth2/github?next=/api/v1/user`);
  return { visit, name: await nameOf(browser, server.url) };
}

async function reason() {
  return (await server.audit.records({ limit: 1 }))[0]?.reason;
}

test('who comes from GitHub becomes a user, known by the number and not by the name', async () => {
  expect(await signIn()).toMatchObject({ visit: { status: 200 }, name: 'octo-cat' });
  const row = await server.database.sql.selectFrom('users').select('email').executeTakeFirstOrThrow();
  expect(row.email).toBe('octo@example.com');
  github.person.login = 'renamed';
  expect((await signIn()).name).toBe('octo-cat');
  // Somebody else has taken the name that became free.
  github.person = { id: 99, login: 'Octo-Cat' };
  expect((await signIn()).name).toBe('octo-cat-2');
});

test('what GitHub is asked for is no more than a login needs', async () => {
  const start = await new Browser().request(`${server.url}/oauth2/github`);
  const url = new URL(start.headers.get('location') ?? '');
  expect(url.searchParams.get('scope')).toBe('user:email');
  expect(url.searchParams.get('redirect_uri')).toBe(`${server.url}/oauth2/github/callback`);
  expect(url.searchParams.get('code_challenge_method')).toBe('S256');
  await startAgain({ allowed: ['acme'] });
  const restricted = await new Browser().request(`${server.url}/oauth2/github`);
  expect(restricted.headers.get('location')).toContain('read%3Aorg');
});

test('who does not agree is not signed in', async () => {
  github.denies = true;
  expect(await signIn()).toMatchObject({ visit: { status: 403 }, name: undefined });
  expect(await reason()).toBe('denied');
});

test('a code works once, and for the login it was given for', async () => {
  const one = new Browser();
  const back = await one.go(`${server.url}/oauth2/github`, { until: isCallback });
  const code = new URL(back.url).searchParams.get('code') ?? '';
  const other = new Browser();
  const own = new URL((await other.go(`${server.url}/oauth2/github`, { until: isCallback })).url);
  own.searchParams.set('code', code);
  expect((await other.go(own.href)).status).toBe(403);
  expect(await reason()).toBe('refused');
  expect((await one.go(back.url)).status).toBe(403);
});

test('a wrong secret is refused, and shown nowhere', async () => {
  await startAgain({ clientSecret: 'wrong-secret-of-ours' });
  const { visit, name } = await signIn();
  expect([visit.status, name, await reason()]).toEqual([403, undefined, 'refused']);
  expect(visit.text + server.logged.join('')).not.toContain('wrong-secret-of-ours');
  expect(server.logged.join('')).toContain('incorrect_client_credentials');
});

describe('with organizations', () => {
  test('a member signs in, whatever the case and however many they have', async () => {
    github.pageSize = 1;
    await startAgain({ allowed: ['acme'] });
    expect((await signIn()).name).toBe('octo-cat');
    expect(github.server.requests.filter(({ path }) => path.endsWith('/orgs'))).toHaveLength(2);
  });

  test.each([[['other']], [[]]])('nobody else does: %j', async (organizations) => {
    github.person.organizations = organizations;
    await startAgain({ allowed: ['acme'] });
    expect(await signIn()).toMatchObject({ visit: { status: 403 }, name: undefined });
    expect(await reason()).toBe('not-member');
    expect(await server.accounts.anyUser()).toBe(false);
  });

  test('who leaves is kept out at the next login', async () => {
    await startAgain({ allowed: ['acme'] });
    expect((await signIn()).name).toBe('octo-cat');
    github.person.organizations = [];
    expect((await signIn()).name).toBeUndefined();
  });

  test.each([
    [{ status: 401, body: { message: 'Bad credentials' } }, 'refused'],
    [{ status: 403, body: { message: 'Resource protected by organization SAML enforcement.' } }, 'refused'],
    [{ status: 502, body: '<html>Unicorn!</html>' }, 'unreachable'],
    [{ body: { message: 'no list' } }, 'bad-answer'],
  ] as const)('whose membership is not to be learnt, with %j, is kept out', async (answer, expected) => {
    await startAgain({ allowed: ['acme'] });
    github.server.fail('/api/v3/user/orgs', answer);
    expect((await signIn()).name).toBeUndefined();
    expect(await reason()).toBe(expected);
  });
});

test.each([
  ['/login/oauth/access_token', { status: 401, body: {} }, 403, 'refused'],
  ['/login/oauth/access_token', { status: 403, body: {} }, 403, 'refused'],
  ['/login/oauth/access_token', { status: 500, body: 'Unicorn!' }, 503, 'unreachable'],
  ['/login/oauth/access_token', { status: 429, body: {} }, 503, 'unreachable'],
  ['/login/oauth/access_token', { body: 'access_token=x' }, 403, 'bad-answer'],
  ['/login/oauth/access_token', { body: {} }, 403, 'bad-answer'],
  ['/login/oauth/access_token', { body: { access_token: 'a\r\nb' } }, 403, 'bad-answer'],
  [
    '/login/oauth/access_token',
    { status: 302, headers: { location: 'http://127.0.0.1:1/' } },
    403,
    'refused',
  ],
  ['/api/v3/user', { status: 401, body: {} }, 403, 'refused'],
  ['/api/v3/user', { status: 403, body: {} }, 403, 'refused'],
  ['/api/v3/user', { status: 503, body: {} }, 503, 'unreachable'],
  ['/api/v3/user', { body: { login: 'octo', id: '1' } }, 403, 'bad-answer'],
  ['/api/v3/user', { body: { login: 'octo', id: 1.5 } }, 403, 'bad-answer'],
  ['/api/v3/user', { body: null }, 403, 'bad-answer'],
  ['/api/v3/user', { body: 'x'.repeat(1_100_000) }, 403, 'bad-answer'],
  ['/api/v3/user', 'hang', 503, 'unreachable'],
] as const)('%s that answers %j', async (path, answer, status, expected) => {
  github.server.fail(path, answer);
  const { visit, name } = await signIn();
  expect([visit.status, name, await reason()]).toEqual([status, undefined, expected]);
  github.server.recover();
  expect((await signIn()).name).toBe('octo-cat');
});

test('that there is no address keeps nobody out', async () => {
  github.server.fail('/api/v3/user/emails', { status: 404, body: {} });
  expect((await signIn()).name).toBe('octo-cat');
});
