import { afterAll, beforeAll, expect, test } from 'vitest';
import { oauthClient } from '../../test/fakes/git-host-server.ts';
import { GithubApi } from '../../test/fakes/github-api.ts';
import { GitlabApi } from '../../test/fakes/gitlab-api.ts';
import { type ApiHarness, startApiServer } from '../../test/harness/api-server.ts';
import { csrfToken } from '../account/session-secret.ts';
import { systemClock } from '../base/clock.ts';

const base = '/api/v1/repository/kim/web/trigger';
let github: GithubApi;
let gitlab: GitlabApi;
let server: ApiHarness;

beforeAll(async () => {
  [github, gitlab] = await Promise.all([new GithubApi().start(), new GitlabApi().start()]);
  for (const host of [github, gitlab]) {
    host.state.addUser('kim-there', 'unused-token');
    host.signedIn = 'kim-there';
  }
  server = await startApiServer({
    hosts: {
      github: { site: github.url, api: `${github.url}/api/v3`, oauth: oauthClient, clock: systemClock },
      gitlab: { site: gitlab.url, oauth: oauthClient, clock: systemClock },
    },
  });
  await server.addUser('kim');
  const lee = await server.addUser('lee');
  expect(lee).not.toBe('');
  await server.addRepository('kim/web');
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await Promise.all([github, gitlab].map(async (host) => await host?.[Symbol.asyncDispose]()));
});

/** A browser in which somebody is signed in. */
async function browser(username: string) {
  const { secret } = await server.sessions.open({ username, way: 'password' });
  const cookie = `slipway=${secret}`;
  return {
    begin: async (service: string) =>
      await server.call('POST', `${base}/connect`, {
        body: { service },
        headers: { cookie, 'x-csrf-token': csrfToken(secret) },
      }),
    visit: async (url: string) => {
      const { pathname, search } = new URL(url);
      return await server.call('GET', `${pathname}${search}`, { headers: { cookie } });
    },
  };
}

/** What the host's page does when somebody says yes there. */
async function allowedAt(url: unknown): Promise<string> {
  const answer = await fetch(String(url), { redirect: 'manual' });
  return answer.headers.get('location') ?? '';
}

test.each(['github', 'gitlab'])('somebody connects a trigger with %s in a browser, once', async (service) => {
  const kim = await browser('kim');
  const begun = await kim.begin(service);
  expect(begun.status, begun.text).toBe(200);
  const back = await allowedAt(begun.json.auth_url);
  // Neither another session of the same person nor anybody else finishes it.
  const another = await browser('kim');
  const lee = await browser('lee');
  for (const other of [another, lee]) expect((await other.visit(back)).status).toBe(403);
  const done = await kim.visit(back);
  expect(done.status, done.text).toBe(200);
  expect(done.headers.get('content-type')).toContain('text/html');
  const id = /<code>([0-9a-f-]{36})<\/code>/.exec(done.text)?.[1];
  const records = await server.audit.records({ limit: 10, action: 'trigger.connect', result: 'done' });
  expect(records[0]).toMatchObject({
    target: { kind: 'trigger', name: id, namespace: 'kim' },
    detail: { repository: 'kim/web', service },
  });
  expect((await kim.visit(back)).status).toBe(403);
});

test.each(['github', 'gitlab'])(
  'who may no longer administer it when %s sends them back gets no trigger',
  async (service) => {
    const web = { namespace: 'kim', name: 'web' };
    await server.accounts.setPermission(web, 'lee', 'admin');
    const lee = await browser('lee');
    const begun = await lee.begin(service);
    expect(begun.status, begun.text).toBe(200);
    const back = await allowedAt(begun.json.auth_url);
    const count = async () => (await server.triggers.triggers.list(web)).length;
    const before = await count();
    await server.accounts.setPermission(web, 'lee', 'write');
    expect((await lee.visit(back)).status).toBe(403);
    expect(await count()).toBe(before);
  },
);

test('who said no there, or has no browser, gets no trigger', async () => {
  const kim = await browser('kim');
  github.signedIn = undefined;
  const back = await allowedAt((await kim.begin('github')).json.auth_url);
  expect((await kim.visit(back)).status).toBe(403);
  expect((await kim.begin('bitbucket')).status).toBe(400);
  const { token } = await server.accounts.createToken('kim', { name: 'x', scopes: ['repo:admin'] });
  const answer = await server.call('POST', `${base}/connect`, { token, body: { service: 'github' } });
  expect(answer.status).toBe(400);
});
