import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BitbucketApi } from '../../../test/fakes/bitbucket-api.ts';
import { type GitHostServer, oauthClient } from '../../../test/fakes/git-host-server.ts';
import { GithubApi } from '../../../test/fakes/github-api.ts';
import { GitlabApi } from '../../../test/fakes/gitlab-api.ts';
import { ManualClock } from '../../base/clock.ts';
import { SecretBox } from '../../db/secret-box.ts';
import type { GitHost } from '../git-host.ts';
import { TriggerError, type TriggerErrorCode } from '../trigger-error.ts';
import { connectTime, HostConnection } from './host-connection.ts';
import { gitHosts } from './hosts.ts';

const never = new AbortController().signal;
const repository = { namespace: 'acme', name: 'web' };
const kim = { username: 'kim', session: 'session-1' };

describe.each([
  ['github', GithubApi, true],
  ['gitlab', GitlabApi, true],
  ['bitbucket', BitbucketApi, false],
] as const)('connecting a trigger with %s', (service, Api, pkce) => {
  let fake: GitHostServer;
  let clock: ManualClock;
  let hosts: ReadonlyMap<string, GitHost>;
  let connection: HostConnection;
  const box = new SecretBox({ key: randomBytes(32) });
  const redirect = `https://ci.example.com/oauth2/${service}/callback/trigger/acme/web`;

  function connectionOf(used = new Set<string>(), oauth = oauthClient): HostConnection {
    const options = { site: fake.url, clock, oauth };
    const all = gitHosts({
      github: options,
      gitlab: options,
      bitbucket: { ...options, api: `${fake.url}/2.0` },
    });
    hosts = all;
    return new HostConnection({
      hosts: all,
      box,
      clock,
      use: async (hash) => !used.has(hash) && used.add(hash) !== undefined,
    });
  }

  beforeEach(async () => {
    fake = await new Api().start();
    fake.state.addUser('kim');
    fake.signedIn = 'kim';
    clock = new ManualClock();
    connection = connectionOf();
  });

  afterEach(async () => {
    await fake[Symbol.asyncDispose]();
  });

  /** What a browser brings back. */
  async function visit(url: string): Promise<Record<string, string>> {
    const response = await fetch(url, { redirect: 'manual' });
    const location = new URL(response.headers.get('location') ?? 'x:');
    expect(location.origin + location.pathname).toBe(redirect);
    return Object.fromEntries(location.searchParams);
  }

  const begin = () => connection.begin(service, { ...kim, repository, redirect });

  async function refused(work: Promise<unknown>): Promise<TriggerErrorCode> {
    try {
      await work;
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(TriggerError);
      expect((thrown as Error).message).not.toContain(oauthClient.secret);
      return (thrown as TriggerError).code;
    }
    throw new Error('nothing was thrown');
  }

  it('gives a token that acts as the person', async () => {
    const query = await visit(begin());
    const back = await connection.finish(service, { ...kim, query }, never);
    expect(back.repository).toEqual(repository);
    const { token } = back;
    expect(await hosts.get(service)?.connect(token)?.account(never)).toEqual({ username: 'kim' });
  });

  it('shows the host nothing but a sealed state, and a challenge where it knows that', () => {
    const url = new URL(begin());
    expect(url.searchParams.get('response_type')).toBe('code');
    expect(url.searchParams.get('code_challenge_method')).toBe(pkce ? 'S256' : null);
    expect(url.href).not.toContain(oauthClient.secret);
    for (const word of ['kim', 'session-1', 'verifier'])
      expect(Buffer.from(url.searchParams.get('state') ?? '', 'base64url').toString()).not.toContain(word);
  });

  it('is finished once', async () => {
    const query = await visit(begin());
    const back = { ...kim, repository, query };
    await connection.finish(service, back, never);
    expect(await refused(connection.finish(service, back, never))).toBe('forbidden');
    const twice = { ...kim, repository, query: await visit(begin()) };
    const both = await Promise.allSettled([
      connection.finish(service, twice, never),
      connection.finish(service, twice, never),
    ]);
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  it('is finished by who began it, in the same session, for the same repository and host', async () => {
    const query = await visit(begin());
    const asked = fake.requests.length;
    for (const other of [
      { username: 'ann' },
      { session: 'session-2' },
      { repository: { namespace: 'acme', name: 'app' } },
      { query: { ...query, state: `${query.state}A` } },
      { query: { ...query, state: 'x'.repeat(10_000) } },
      { query: { code: query.code } },
    ])
      expect(await refused(connection.finish(service, { ...kim, repository, query, ...other }, never))).toBe(
        'forbidden',
      );
    const elsewhere = service === 'gitlab' ? 'github' : 'gitlab';
    expect(await refused(connection.finish(elsewhere, { ...kim, repository, query }, never))).toBe(
      'forbidden',
    );
    expect(fake.requests.length).toBe(asked);
    await connection.finish(service, { ...kim, repository, query }, never);
  });

  it('is over after ten minutes', async () => {
    const query = await visit(begin());
    await clock.advance(connectTime);
    expect(await refused(connection.finish(service, { ...kim, repository, query }, never))).toBe('forbidden');
  });

  it('is nothing when the person says no', async () => {
    fake.signedIn = undefined;
    const query = await visit(begin());
    expect(query.error).toBe('access_denied');
    expect(await refused(connection.finish(service, { ...kim, repository, query }, never))).toBe('forbidden');
  });

  it('fails when the host does not take the code, the client or anything', async () => {
    const query = { ...(await visit(begin())), code: 'another' };
    expect(await refused(connection.finish(service, { ...kim, repository, query }, never))).toBe('host');
    connection = connectionOf(new Set(), { id: oauthClient.id, secret: 'wrong' });
    const second = await visit(begin());
    const back = { ...kim, repository, query: second };
    await expect(connection.finish(service, back, never)).rejects.toThrow(/client secret and callback URL/);
    connection = connectionOf();
    fake.fail({ at: /^POST/, status: 503 });
    const third = await visit(begin());
    expect(await refused(connection.finish(service, { ...kim, repository, query: third }, never))).toBe(
      'host',
    );
  });

  it('is not offered where the operator registered nothing', () => {
    const bare = new HostConnection({
      hosts: gitHosts({ github: { clock } }),
      box,
      clock,
      use: async () => true,
    });
    expect(bare.canConnect(service)).toBe(false);
    expect(() => bare.begin(service, { ...kim, repository, redirect })).toThrow(TriggerError);
    expect(connection.canConnect(service)).toBe(true);
    expect(connection.canConnect('custom-git')).toBe(false);
  });
});
