import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { GitHostServer } from '../../test/fakes/git-host-server.ts';
import type { FakeRepository } from '../../test/fakes/git-host-state.ts';
import { ManualClock } from '../base/clock.ts';
import type { GitHost, HostClient } from './git-host.ts';
import type { HostLimits } from './host/host-access.ts';
import { HostError, type HostErrorCode } from './host-error.ts';

export interface HostRig {
  readonly start: () => Promise<GitHostServer>;
  readonly host: (options: {
    readonly url: string;
    readonly clock: ManualClock;
    readonly limits?: HostLimits;
  }) => GitHost;
  /** The host's own words for states of a commit. */
  readonly states: { readonly pending: string; readonly success: string; readonly failure: string };
  /** Events that a hook is installed for. */
  readonly events: readonly string[];
  /** A request that tells of a limit, and the milliseconds it stands for. */
  readonly limits: readonly {
    readonly name: string;
    readonly status: number;
    readonly headers: Readonly<Record<string, string>>;
    readonly body?: unknown;
    readonly retryAfter: number;
  }[];
  /** The path of a repository. */
  readonly path: (repository: string) => string;
  /** A page of a list without an item. */
  readonly emptyPage: (next: string) => unknown;
  /** Whether a commit's committer is known beside its author. */
  readonly knowsCommitter: boolean;
}

const publicKey = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0Vv0m1bq1kQ0q1u5v9m7m8m2s0x5b5m3X0o7m9m8mV slipway';
const access = 'kims-access-token-1234';
const never = new AbortController().signal;

/** What every client of a host's interface does alike. */
export function hostClientSuite(title: string, rig: HostRig): void {
  describe(`the client of ${title}`, () => {
    let fake: GitHostServer;
    let web: FakeRepository;
    let clock: ManualClock;
    let client: HostClient;

    const connect = (token = access, limits?: HostLimits): HostClient => {
      const host = rig.host({ url: fake.url, clock, ...(limits === undefined ? {} : { limits }) });
      const made = host.connect(token);
      if (made === undefined) throw new Error('the host has no client');
      return made;
    };

    beforeEach(async () => {
      fake = await rig.start();
      clock = new ManualClock(Date.UTC(2026, 10, 30));
      fake.state.addUser('kim', access);
      fake.state.addUser('ann', 'anns-token');
      fake.state.groups.set('acme', ['kim']);
      web = fake.state.addRepository('acme/web', { kim: 'admin', ann: 'read' });
      web.commit('main', {
        message: 'Begin\n\nAll of it.',
        files: {
          Dockerfile: 'FROM scratch\n',
          'api/Dockerfile': 'FROM scratch\n',
          'api/dev.Dockerfile': 'FROM scratch\n',
          'api/src/main.ts': '1\n',
          'docs/Dockerfile.md': 'none\n',
          'docs/NotADockerfile': 'none\n',
        },
      });
      client = connect();
    });

    afterEach(async () => {
      await fake[Symbol.asyncDispose]();
    });

    async function fault(run: (signal: AbortSignal) => Promise<unknown>, signal = never): Promise<HostError> {
      try {
        await run(signal);
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(HostError);
        const error = thrown as HostError;
        const said = `${error.message}\n${error.stack}\n${JSON.stringify(error)}\n${String(error.cause)}`;
        expect(said).not.toContain(access);
        expect(said).not.toContain('hook-secret');
        return error;
      }
      throw new Error('nothing was thrown');
    }

    it('tells whose token it is', async () => {
      expect(await client.account(never)).toEqual({ username: 'kim' });
    });

    it('lists namespaces, its own account first', async () => {
      const found = await client.namespaces(never);
      expect(found.map(({ id, personal }) => [id, personal])).toEqual([
        ['kim', true],
        ['acme', false],
      ]);
    });

    it('lists the repositories of a namespace over many pages', async () => {
      fake.largestPage = 2;
      for (let index = 0; index < 7; index++) fake.state.addRepository(`acme/app-${index}`, { kim: 'read' });
      fake.state.addRepository('kim/private', { kim: 'admin' });
      fake.state.addRepository('acme/hidden', { ann: 'admin' });
      const found = await client.repositories('acme', never);
      expect(found.map(({ name }) => name).sort()).toEqual([
        ...Array.from({ length: 7 }, (_, index) => `acme/app-${index}`),
        'acme/web',
      ]);
      expect(found.find(({ name }) => name === 'acme/web')).toMatchObject({
        private: true,
        defaultBranch: 'main',
        lastUpdated: Date.parse('2026-10-02T11:20:41Z'),
        admin: true,
        url: expect.stringMatching(/^https:\/\/|^http:\/\/127/),
      });
      expect(found.find(({ name }) => name === 'acme/app-0')?.admin).toBe(false);
      expect((await client.repositories('kim', never)).map(({ name }) => name)).toEqual(['kim/private']);
      expect(await client.repositories('nobody', never)).toEqual([]);
    });

    it('looks at one repository', async () => {
      expect(await client.repository('acme/web', never)).toMatchObject({
        name: 'acme/web',
        admin: true,
        defaultBranch: 'main',
        sshUrl: expect.stringMatching(/^git@.*:acme\/web\.git$/),
      });
      expect(await connect('anns-token').repository('acme/web', never)).toMatchObject({ admin: false });
    });

    it('lists branches and tags over many pages, whatever they are called', async () => {
      fake.largestPage = 2;
      const names = ['feature/a/b', 'größe-🚀', 'fix/$(reboot);x', 'x'.repeat(250), 'last'];
      for (const name of names) web.commit(name, { files: { a: name } });
      const main = web.branches.get('main') ?? '';
      web.tag('v1.0', main);
      web.tag('v1.1/rc', main, true);
      web.tag('v1.2', main);
      const branches = await client.refs('acme/web', 'branch', never);
      expect(new Map(branches.map(({ name, commit }) => [name, commit]))).toEqual(web.branches);
      expect(await client.refs('acme/web', 'tag', never)).toEqual([
        { name: 'v1.0', commit: main },
        { name: 'v1.1/rc', commit: main },
        { name: 'v1.2', commit: main },
      ]);
    });

    it('stops after so many pages', async () => {
      fake.largestPage = 1;
      for (let index = 0; index < 40; index++) web.tag(`v${index}`, web.branches.get('main') ?? '');
      expect(await client.refs('acme/web', 'tag', never)).toHaveLength(30);
    });

    it('finds Dockerfiles in every folder, at a branch with slashes too', async () => {
      web.branches.set('feature/a/b', web.branches.get('main') ?? '');
      for (const ref of ['main', 'feature/a/b', web.branches.get('main') ?? ''])
        expect([...(await client.dockerfiles('acme/web', ref, never))].sort()).toEqual([
          '/Dockerfile',
          '/api/Dockerfile',
          '/api/dev.Dockerfile',
        ]);
      expect((await fault((signal) => client.dockerfiles('acme/web', 'gone', signal))).code).toMatch(
        /not-found|unexpected/,
      );
    });

    it('reads a file byte for byte, up to a size', async () => {
      const bytes = Buffer.from([0xef, 0xbb, 0xbf, 0x46, 0xff, 0xfe, 0x00, 0x0d, 0x0a, 0x80]);
      web.commit('feature/x', { files: { 'a b/ü#?%25.bin': bytes, empty: '', big: 'x'.repeat(5000) } });
      const read = (path: string, most = 1000) => client.file('acme/web', 'feature/x', path, most, never);
      expect(Buffer.from((await read('/a b/ü#?%25.bin')) ?? [])).toEqual(bytes);
      expect((await read('empty'))?.byteLength).toBe(0);
      expect((await read('big', 5000))?.byteLength).toBe(5000);
      expect((await fault(() => read('big', 4999))).code).toBe('unexpected');
      for (const none of ['/gone', '/api', '/../secret', '/']) expect(await read(none)).toBeUndefined();
      expect(await client.file('acme/web', 'gone', '/Dockerfile', 1000, never)).toBeUndefined();
    });

    it('finds a commit by branch, tag and id', async () => {
      const sha = web.commit('feature/a/b', { message: 'Add $(x)\n\n🚀', date: '2026-10-03T08:00:00Z' });
      web.tag('v1', sha, true);
      const found = await client.commit('acme/web', 'feature/a/b', never);
      expect(found).toMatchObject({
        sha,
        info: {
          message: 'Add $(x)\n\n🚀',
          date: '2026-10-03T08:00:00Z',
          url: expect.stringContaining(sha),
          author: {
            username: expect.stringMatching(/^kim/i),
            url: expect.stringContaining('/kim'),
            avatar_url: expect.stringMatching(/^https:/),
          },
        },
      });
      expect(found?.info.committer !== undefined).toBe(rig.knowsCommitter);
      expect((await client.commit('acme/web', 'v1', never))?.sha).toBe(sha);
      expect((await client.commit('acme/web', sha, never))?.sha).toBe(sha);
      expect((await client.commit('acme/web', sha.slice(0, 12), never))?.sha).toBe(sha);
      for (const none of ['gone', 'f'.repeat(40), 'a\nb', '..', ''])
        expect(await client.commit('acme/web', none, never)).toBeUndefined();
    });

    it('finds a branch or a tag, and takes neither for the other nor a commit for one', async () => {
      const main = web.branches.get('main') ?? '';
      const sha = web.commit('feature/a/b', { message: 'Both' });
      web.tag('v1/rc', sha, true);
      web.tag('both', main);
      web.branches.set('both', sha);
      const head = async (kind: 'branch' | 'tag', name: string) =>
        (await client.head('acme/web', kind, name, never))?.sha;
      expect(await client.head('acme/web', 'branch', 'feature/a/b', never)).toMatchObject({
        sha,
        info: { message: 'Both', author: { username: expect.stringMatching(/^kim/i) } },
      });
      expect(await head('tag', 'v1/rc')).toBe(sha);
      expect([await head('branch', 'both'), await head('tag', 'both')]).toEqual([sha, main]);
      expect([await head('branch', 'v1/rc'), await head('tag', 'main')]).toEqual([undefined, undefined]);
      for (const none of [sha, sha.slice(0, 12), 'gone', 'a\nb', '..', '']) {
        expect(await head('branch', none)).toBeUndefined();
        expect(await head('tag', none)).toBeUndefined();
      }
    });

    it('tells of a commit whose author nobody knows', async () => {
      const sha = web.commit('main', { author: { name: 'Stranger', email: 'stranger@elsewhere.example' } });
      const found = await client.commit('acme/web', sha, never);
      expect(found?.info.message).toBe('Change main');
      expect(found?.info).not.toHaveProperty('author');
    });

    it('tells which paths two commits differ in', async () => {
      const before = web.branches.get('main') ?? '';
      const after = web.commit('main', {
        files: { 'api/src/main.ts': '2\n', 'api/Dockerfile': undefined, 'new/ü file': 'x' },
      });
      const paths = await client.changedPaths('acme/web', before, after, never);
      expect([...(paths ?? [])].sort()).toEqual(['api/Dockerfile', 'api/src/main.ts', 'new/ü file']);
      expect(await client.changedPaths('acme/web', 'f'.repeat(40), after, never)).toBeUndefined();
    });

    it('cannot tell paths when they are too many', async () => {
      const before = web.branches.get('main') ?? '';
      const files = Object.fromEntries(Array.from({ length: 3100 }, (_, index) => [`f/${index}`, 'x']));
      const after = web.commit('main', { files });
      expect(await client.changedPaths('acme/web', before, after, never)).toBeUndefined();
    });

    it('completes what an event leaves out', async () => {
      const sha = web.commit('main', { message: 'Complete me' });
      const done = await client.complete(
        'acme/web',
        { commit: sha, ref: 'refs/heads/main', git_url: `git@example.com:acme/web.git` },
        never,
      );
      expect(done).toMatchObject({
        commit: sha,
        ref: 'refs/heads/main',
        default_branch: 'main',
        git_url: 'git@example.com:acme/web.git',
        commit_info: {
          message: 'Complete me',
          author: { avatar_url: expect.stringMatching(/^https:/) },
        },
      });
    });

    it('installs and removes a hook and a key that may only read', async () => {
      const url = 'https://ci.example.com/webhooks/push/trigger/1';
      const hook = await client.addHook('acme/web', { url, secret: 'hook-secret' }, never);
      expect([...web.hooks.values()]).toEqual([{ id: hook, url, secret: 'hook-secret', events: rig.events }]);
      const key = await client.addKey('acme/web', { title: 'Slipway acme/web', publicKey }, never);
      expect([...web.keys.values()]).toEqual([
        { id: key, title: 'Slipway acme/web', key: publicKey, readOnly: true },
      ]);
      await client.removeHook('acme/web', hook, never);
      await client.removeKey('acme/web', key, never);
      expect([web.hooks.size, web.keys.size]).toEqual([0, 0]);
      // Somebody removed them by hand.
      await client.removeHook('acme/web', hook, never);
      await client.removeKey('acme/web', key, never);
      web.roles.delete('kim');
      expect((await fault((signal) => client.removeHook('acme/web', hook, signal))).code).toBe('not-found');
    });

    it('finds what is installed, on whatever page', async () => {
      fake.largestPage = 2;
      const url = 'https://ci.example.com/webhooks/push/trigger/1';
      const other = async (index: number) => {
        await client.addHook('acme/web', { url: `${url}${index}`, secret: 'hook-secret' }, never);
        const key = publicKey.replace(/.{8} slipway$/, `AAAAAAA${index} slipway`);
        await client.addKey('acme/web', { title: 'Slipway acme/web', publicKey: key }, never);
      };
      const found = async () => [
        await client.hooksTo('acme/web', url, never),
        await client.keysOf('acme/web', publicKey, never),
      ];
      for (const index of [0, 1, 2]) await other(index);
      expect(await found()).toEqual([[], []]);
      const hook = await client.addHook('acme/web', { url, secret: 'hook-secret' }, never);
      const key = await client.addKey('acme/web', { title: 'Slipway acme/web', publicKey }, never);
      await other(3);
      expect(await found()).toEqual([[hook], [key]]);
      const ann = connect('anns-token');
      expect((await fault((signal) => ann.hooksTo('acme/web', url, signal))).code).toBe('forbidden');
      expect((await fault((signal) => ann.keysOf('acme/web', publicKey, signal))).code).toBe('forbidden');
    });

    it('may not install anything where the account is no administrator', async () => {
      const ann = connect('anns-token');
      const hook = { url: 'https://$token:hook-secret@ci.example.com/x', secret: 'hook-secret' };
      expect((await fault((signal) => ann.addHook('acme/web', hook, signal))).code).toBe('forbidden');
      expect((await fault((signal) => ann.addKey('acme/web', { title: 'x', publicKey }, signal))).code).toBe(
        'forbidden',
      );
      expect([web.hooks.size, web.keys.size]).toEqual([0, 0]);
    });

    it('sets the status of a commit, the same one again without harm', async () => {
      const commit = web.branches.get('main') ?? '';
      const status = {
        description: 'd'.repeat(1000),
        url: 'https://ci.example.com/repository/acme/web/build/1',
        context: 'slipway/acme/a-repository-with-a-rather-long-name',
      };
      for (const state of ['pending', 'pending', 'success', 'failure', 'error'] as const)
        await client.setStatus('acme/web', commit, { ...status, state }, never);
      const { pending, success, failure } = rig.states;
      const set = web.statuses.map(({ state }) => state);
      expect(set.filter((state, index) => state !== set[index - 1]).slice(0, 3)).toEqual([
        pending,
        success,
        failure,
      ]);
      expect(web.statuses[0]).toMatchObject({ commit, url: status.url, context: status.context });
    });

    it.each<[number, HostErrorCode]>([
      [401, 'unauthorized'],
      [403, 'forbidden'],
      [404, 'not-found'],
      [410, 'not-found'],
      [418, 'unexpected'],
      [429, 'rate-limited'],
      [500, 'unavailable'],
      [502, 'unavailable'],
      [503, 'unavailable'],
    ])('says what a %d means: %s', async (status, code) => {
      for (const body of [{ message: `Refused ${access} at https://u:${access}@x/` }, 'text', undefined]) {
        fake.fail({ at: /./, status, body, times: 2 });
        const asked = fake.requests.length;
        expect(await fault((signal) => client.account(signal))).toMatchObject({
          code,
          message: expect.stringContaining(String(status)),
        });
        // Nobody waits and asks again behind our back.
        expect(fake.requests.length - asked).toBe(1);
        await fault((signal) => client.account(signal));
      }
    });

    it.each(rig.limits.map((limit) => [limit.name, limit] as const))(
      'waits as long as told: %s',
      async (_, { status, headers, body, retryAfter }) => {
        fake.fail({ at: /./, status, headers, body });
        expect(await fault((signal) => client.account(signal))).toMatchObject({
          code: 'rate-limited',
          retryAfter,
        });
      },
    );

    it('refuses a token that the host does not know, and one that is none', async () => {
      expect((await fault((signal) => connect('wrong').account(signal))).code).toBe('unauthorized');
      for (const none of ['', 'a b', 'a\r\nx-evil: 1', '{"access":7}', '{'])
        expect(() => connect(none)).toThrow(HostError);
    });

    it('says that a repository is not there when it is hidden, or no repository', async () => {
      fake.state.addRepository('acme/hidden', { ann: 'admin' });
      const asked = fake.requests.length;
      expect((await fault((signal) => client.repository('acme/hidden', signal))).code).toBe('not-found');
      expect(fake.requests.length).toBeGreaterThan(asked);
      for (const none of [
        'acme',
        '',
        '../../user',
        'acme/web/../../user',
        'acme/web?x=1',
        'a/b#c',
        'a/%2e%2e',
      ])
        expect((await fault((signal) => client.repository(none, signal))).code).toBe('not-found');
    });

    it('gives up on a host that does not answer in time, is gone, or stops in the middle', async () => {
      const hasty = connect(access, { timeout: 200 });
      fake.fail({ at: /./, status: 200, how: 'hang' });
      expect(await fault((signal) => hasty.account(signal))).toMatchObject({
        code: 'unavailable',
        message: expect.stringContaining('0.2 s'),
      });
      fake.fail({ at: /./, status: 200, how: 'cut' });
      expect((await fault((signal) => client.account(signal))).code).toBe('unavailable');
      const gone = rig.host({ url: 'http://127.0.0.1:1', clock }).connect(access);
      expect((await fault(async (signal) => gone?.account(signal))).code).toBe('unavailable');
    });

    it('ends when the caller gives up', async () => {
      const control = new AbortController();
      fake.fail({ at: /./, status: 200, how: 'hang' });
      const asking = fault((signal) => client.account(signal), control.signal);
      control.abort();
      expect((await asking).code).toBe('cancelled');
      expect((await fault((signal) => client.account(signal), AbortSignal.abort())).code).toBe('cancelled');
    });

    it('does not read an answer that is too large, or that makes no sense', async () => {
      const bounded = connect(access, { mostBytes: 1000 });
      fake.fail({ at: /./, status: 200, body: { login: 'x'.repeat(5000) } });
      expect((await fault((signal) => bounded.account(signal))).code).toBe('unexpected');
      const senseless: unknown[] = [[], { login: 7, username: 7, nickname: 7 }, null, 'text', {}];
      for (const body of senseless.slice(0, 4)) {
        fake.fail({ at: /./, status: 200, body });
        expect((await fault((signal) => client.account(signal))).code).toBe('unexpected');
      }
      fake.fail({
        at: /./,
        status: 200,
        body: Buffer.from('<html>'),
        headers: { 'content-type': 'text/html' },
      });
      expect((await fault((signal) => client.account(signal))).code).toBe('unexpected');
      fake.fail({
        at: /./,
        status: 200,
        body: Buffer.from('{"half'),
        headers: { 'content-type': 'application/json' },
      });
      expect((await fault((signal) => client.account(signal))).code).toBe('unexpected');
    });

    it('says nothing by itself', async () => {
      const said = vi.spyOn(console, 'warn').mockImplementation(() => {});
      const deprecated = { deprecation: 'true', sunset: 'Sat, 31 Dec 2027 00:00:00 GMT' };
      fake.fail({ at: /./, status: 200, headers: deprecated, body: { login: 'k', username: 'k' } });
      await client.account(never);
      expect(said).not.toHaveBeenCalled();
      said.mockRestore();
    });

    it('follows a redirect within the host', async () => {
      fake.fail({
        at: /acme.{1,3}old/,
        status: 301,
        headers: { location: rig.path('acme/web') },
      });
      expect((await client.repository('acme/old', never)).name).toBe('acme/web');
    });

    it('never takes its token to another host', async () => {
      const seen: (string | undefined)[] = [];
      const other = createServer((request, response) => {
        seen.push(request.headers.authorization);
        response.end('{}');
      }).listen(0, '127.0.0.1');
      await once(other, 'listening');
      const elsewhere = `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
      try {
        fake.fail({ at: /./, status: 302, headers: { location: `${elsewhere}/x` } });
        expect((await fault((signal) => client.account(signal))).code).toBe('unexpected');
        fake.fail({ at: /./, status: 307, headers: { location: `${elsewhere}/x` } });
        const hook = { url: 'https://ci.example.com/x', secret: 'hook-secret' };
        expect((await fault((signal) => client.addHook('acme/web', hook, signal))).code).toBe('unexpected');
        fake.fail({
          at: /./,
          status: 200,
          body: rig.emptyPage(`${elsewhere}/x`),
          headers: { link: `<${elsewhere}/x>; rel="next"` },
        });
        await client.refs('acme/web', 'tag', never).catch((thrown: HostError) => {
          expect(thrown.code).toBe('unexpected');
        });
        fake.fail({ at: /./, status: 302, headers: { location: '/loop' } });
        fake.fail({ at: /loop/, status: 302, headers: { location: '/loop' }, times: 20 });
        expect((await fault((signal) => client.account(signal))).code).toBe('unexpected');
        expect(seen).toEqual([]);
      } finally {
        other.closeAllConnections();
        other.close();
      }
    });
  });
}
