import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BitbucketApi } from '../../../test/fakes/bitbucket-api.ts';
import { type GitHostServer, oauthClient } from '../../../test/fakes/git-host-server.ts';
import { GitlabApi } from '../../../test/fakes/gitlab-api.ts';
import { ManualClock } from '../../base/clock.ts';
import type { GitHost, TokenKeeper } from '../git-host.ts';
import { HostError } from '../host-error.ts';
import { Bitbucket } from './bitbucket.ts';
import { Gitlab } from './gitlab.ts';
import { formatHostToken, parseHostToken } from './host-token.ts';

const never = new AbortController().signal;

/** Where a trigger's token is kept, as the database does it. */
class Kept implements TokenKeeper {
  token: string;
  writes = 0;

  constructor(token: string) {
    this.token = token;
  }

  async latest(): Promise<string> {
    return this.token;
  }

  async renewed(token: string): Promise<void> {
    this.token = token;
    this.writes += 1;
  }
}

describe.each([
  ['GitLab', GitlabApi, '/oauth/token'],
  ['Bitbucket', BitbucketApi, '/site/oauth2/access_token'],
] as const)('a token of %s that expires', (title, Api, tokenPath) => {
  let fake: GitHostServer;
  let clock: ManualClock;
  let kept: Kept;

  const hostOf = (): GitHost => {
    const options = { site: fake.url, oauth: oauthClient, clock };
    return title === 'GitLab' ? new Gitlab(options) : new Bitbucket({ ...options, api: `${fake.url}/2.0` });
  };
  const renewals = () => fake.requests.filter((line) => line.startsWith(`POST ${tokenPath}`)).length;

  beforeEach(async () => {
    fake = await new Api().start();
    fake.state.addUser('kim');
    fake.signedIn = 'kim';
    fake.tokenLifetime = 7200;
    clock = new ManualClock();
    const { oauth } = hostOf();
    const redirect = 'https://ci.example.com/x';
    const asked = oauth?.authorizeUrl({ state: 's', redirect, challenge: '' }) ?? '';
    const url = new URL(asked);
    url.searchParams.delete('code_challenge');
    const response = await fetch(url, { redirect: 'manual' });
    const code = new URL(response.headers.get('location') ?? '').searchParams.get('code') ?? '';
    kept = new Kept((await oauth?.exchange({ code, redirect, verifier: '' }, never)) ?? '');
    fake.requests.length = 0;
  });

  afterEach(async () => {
    await fake[Symbol.asyncDispose]();
  });

  it('is used while it lasts', async () => {
    const client = hostOf().connect(kept.token, kept);
    await client?.account(never);
    await clock.advance(7000_000);
    await client?.account(never);
    expect([renewals(), kept.writes]).toEqual([0, 0]);
  });

  it('is renewed shortly before, once, and kept before it is used', async () => {
    const former = kept.token;
    const client = hostOf().connect(former, kept);
    await clock.advance(7100_000);
    expect(await client?.account(never)).toEqual({ username: 'kim' });
    await client?.account(never);
    expect([renewals(), kept.writes]).toEqual([1, 1]);
    expect(parseHostToken(kept.token).access).not.toBe(parseHostToken(former).access);
    expect(parseHostToken(kept.token).expiresAt).toBe(clock.now() + 7200_000);
  });

  it('is renewed when the host refuses it early', async () => {
    for (const token of fake.state.tokens.values()) token.valid = false;
    const client = hostOf().connect(kept.token, kept);
    expect(await client?.account(never)).toEqual({ username: 'kim' });
    expect([renewals(), kept.writes]).toEqual([1, 1]);
  });

  it('is renewed once by many calls at once, of one client or of several', async () => {
    const host = hostOf();
    const clients = Array.from({ length: 5 }, () => host.connect(kept.token, kept));
    await clock.advance(7200_000);
    await Promise.all([...clients, ...clients].map((client) => client?.account(never)));
    expect([renewals(), kept.writes]).toEqual([1, 1]);
  });

  it('is taken from where it is kept when another server has renewed it', async () => {
    const mine = hostOf().connect(kept.token, kept);
    const theirs = hostOf().connect(kept.token, kept);
    await clock.advance(7200_000);
    await theirs?.account(never);
    expect(await mine?.account(never)).toEqual({ username: 'kim' });
    expect([renewals(), kept.writes]).toEqual([1, 1]);
  });

  it('is not good any more when the host takes the refresh token back', async () => {
    const client = hostOf().connect(
      formatHostToken({ access: 'old', refresh: 'unknown', expiresAt: clock.now() }),
    );
    await expect(client?.account(never)).rejects.toMatchObject({ code: 'unauthorized' });
  });

  it('waits for a server that was faster but has not kept its token yet', async () => {
    const old = formatHostToken({ access: 'old', refresh: 'spent', expiresAt: clock.now() });
    const theirs = kept.token;
    kept = new Kept(old);
    const asking = hostOf().connect(old, kept)?.account(never);
    while (clock.sleeping === 0) await new Promise((resolve) => setImmediate(resolve));
    kept.token = theirs;
    await clock.advance(500);
    expect(await asking).toEqual({ username: 'kim' });
    expect(kept.writes).toBe(0);
  });

  it('is not renewed by a call that was given up, but for the next one', async () => {
    const client = hostOf().connect(kept.token, kept);
    await clock.advance(7200_000);
    await expect(client?.account(AbortSignal.abort())).rejects.toMatchObject({ code: 'cancelled' });
    expect(await client?.account(never)).toEqual({ username: 'kim' });
    expect(kept.writes).toBe(1);
  });

  it('fails with the error of the host when it cannot be renewed now', async () => {
    const client = hostOf().connect(kept.token, kept);
    await clock.advance(7200_000);
    fake.fail({ at: /^POST/, status: 503 });
    const failure = await client?.account(never).catch((thrown: unknown) => thrown);
    expect(failure).toBeInstanceOf(HostError);
    expect(failure).toMatchObject({ code: 'unavailable' });
    expect(String((failure as Error).message)).not.toContain(parseHostToken(kept.token).refresh);
    expect(await client?.account(never)).toEqual({ username: 'kim' });
  });
});
