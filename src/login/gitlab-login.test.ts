import { afterEach, beforeEach, expect, test } from 'vitest';
import { GitlabLogin, gitlabClient } from '../../test/fakes/gitlab-login.ts';
import { type ApiHarness, startApiServer } from '../../test/harness/api-server.ts';
import { Browser } from '../../test/harness/browser.ts';
import { nameOf } from '../../test/harness/login-return.ts';
import { GitlabProvider } from './gitlab-provider.ts';
import { providerFetch } from './provider-fetch.ts';

let gitlab: GitlabLogin;
let server: ApiHarness;

beforeEach(async () => {
  gitlab = new GitlabLogin({
    id: 7,
    username: 'tanuki',
    state: 'active',
    email: 'tanuki@example.com',
    confirmed_at: '2020-01-01T00:00:00Z',
    groups: [
      ['acme', 10],
      ['acme/Builders', 30],
    ],
  });
  await gitlab.server.start();
  await start();
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await gitlab.server[Symbol.asyncDispose]();
});

async function start(allowed?: readonly string[], clientSecret = gitlabClient.secret) {
  server = await startApiServer({
    providers: [
      new GitlabProvider({
        endpoint: gitlab.server.url,
        clientId: gitlabClient.id,
        clientSecret: { reveal: () => clientSecret },
        allowedGroups: allowed,
        fetch: providerFetch({ timeout: 500 }),
      }),
    ],
  });
}

async function startAgain(...more: Parameters<typeof start>) {
  await server[Symbol.asyncDispose]();
  await start(...more);
}

async function signIn(browser = new Browser()) {
  const visit = await browser.go(`${server.url}/oauth2/gitlab?next=/api/v1/user`);
  const [record] = await server.audit.records({ limit: 1 });
  return { status: visit.status, name: await nameOf(browser, server.url), reason: record?.reason };
}

test('who comes from GitLab becomes a user', async () => {
  expect(await signIn()).toMatchObject({ status: 200, name: 'tanuki' });
  const row = await server.database.sql.selectFrom('users').select('email').executeTakeFirstOrThrow();
  expect(row.email).toBe('tanuki@example.com');
  gitlab.person.username = 'renamed';
  expect((await signIn()).name).toBe('tanuki');
});

test('who does not agree, or is blocked there, is not signed in', async () => {
  gitlab.denies = true;
  expect(await signIn()).toEqual({ status: 403, name: undefined, reason: 'denied' });
  gitlab.denies = false;
  gitlab.person.state = 'blocked';
  expect(await signIn()).toEqual({ status: 403, name: undefined, reason: 'denied' });
});

test.each([
  [['acme/builders'], 'tanuki'],
  // A guest is no member.
  [['acme'], undefined],
  [['other'], undefined],
])('members of %j only', async (allowed, name) => {
  gitlab.pageSize = 1;
  gitlab.person.groups = [['first', 50], ...(gitlab.person.groups ?? [])];
  await startAgain(allowed);
  expect(await signIn()).toMatchObject({ name, ...(name === undefined ? { reason: 'not-member' } : {}) });
});

test('a wrong secret is refused', async () => {
  await startAgain(undefined, 'wrong-secret-of-ours');
  expect(await signIn()).toEqual({ status: 403, name: undefined, reason: 'refused' });
});

test.each([
  ['/oauth/token', { status: 400, body: { error: 'invalid_grant' } }, 'refused'],
  ['/oauth/token', { status: 500, body: 'Whoops' }, 'unreachable'],
  ['/oauth/token', { body: [] }, 'bad-answer'],
  ['/api/v4/user', { status: 401, body: { message: '401 Unauthorized' } }, 'refused'],
  ['/api/v4/user', { status: 403, body: { message: '403 Forbidden' } }, 'refused'],
  ['/api/v4/user', { status: 502, body: '' }, 'unreachable'],
  ['/api/v4/user', { body: { id: 7 } }, 'bad-answer'],
  ['/api/v4/user', 'hang', 'unreachable'],
] as const)('%s that answers %j', async (path, answer, reason) => {
  gitlab.server.fail(path, answer);
  expect(await signIn()).toMatchObject({ name: undefined, reason });
});
