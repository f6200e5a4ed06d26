import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FakeRepository } from '../../test/fakes/git-host-state.ts';
import { GithubApi } from '../../test/fakes/github-api.ts';
import { type ScratchDatabase, scratchMemory } from '../../test/harness/scratch-database.ts';
import {
  never,
  posted,
  siteRepository,
  type TriggerSite,
  type TriggerSiteOptions,
  triggerSite,
} from '../../test/harness/trigger-site.ts';
import { systemClock } from '../base/clock.ts';
import type { BuildId } from '../model/ids.ts';
import { request } from '../queue/build-queue.suite.ts';
import type { BaseImage } from './base-images.ts';
import { gitHosts } from './host/hosts.ts';
import { SqlTriggerStore } from './sql-trigger-store.ts';
import type { Trigger } from './trigger.ts';
import type { TriggerConfig } from './trigger-config.ts';

const source = 'kim/app';
const config = { build_source: source };

describe('triggers at a host', () => {
  let github: GithubApi;
  let repository: FakeRepository;
  let scratch: ScratchDatabase;
  let site: TriggerSite;
  let origin: string;
  let door: ReturnType<typeof createServer>;
  const images = new Map<string, BaseImage>();

  async function openSite(settings: TriggerSiteOptions['settings'] = {}): Promise<void> {
    scratch = await scratchMemory();
    site = await triggerSite(scratch, {
      hosts: gitHosts({ github: { site: github.url, api: `${github.url}/api/v3`, clock: systemClock } }),
      baseImages: {
        look: async (image) => images.get(image) ?? (image.startsWith('ours/') ? undefined : 'elsewhere'),
      },
      settings,
    });
  }

  beforeEach(async () => {
    github = await new GithubApi().start();
    github.state.addUser('kim', 'good-token');
    repository = github.state.addRepository(source, { kim: 'admin' });
    repository.commit('main', {
      files: { Dockerfile: 'FROM debian:12\n', 'app/Dockerfile': 'FROM scratch\n' },
    });
    images.clear();
    await openSite();
    // What the webhook endpoint does, without its limits.
    door = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk);
      const headers = Object.fromEntries(
        Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
      );
      const id = request.url?.split('/').at(-1) ?? '';
      await site.open.triggers.deliver(id, { headers, body: Buffer.concat(chunks) }, undefined).then(
        ({ note }) => response.end(note),
        (error) => response.writeHead(error.code === 'forbidden' ? 403 : 400).end(error.message),
      );
    });
    await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve));
    origin = `http://127.0.0.1:${(door.address() as AddressInfo).port}`;
  });
  afterEach(async () => {
    door.closeAllConnections();
    await new Promise((resolve) => door.close(resolve));
    await site[Symbol.asyncDispose]();
    await scratch[Symbol.asyncDispose]();
    await github[Symbol.asyncDispose]();
  });

  const triggers = () => site.open.triggers;
  const create = async (token = 'good-token') =>
    await triggers().create(siteRepository, { service: 'github', user: 'kim', token });

  async function active(more: Partial<TriggerConfig> = {}): Promise<Trigger> {
    const { id } = await create();
    return (await triggers().activate(id, { config: { ...config, ...more }, origin }, never)).trigger;
  }

  async function pushed(branch: string, change: Parameters<FakeRepository['commit']>[1] = {}) {
    const before = repository.branches.get(branch);
    const after = repository.commit(branch, change);
    const results = await github.push(repository, `refs/heads/${branch}`, before, after);
    return { after, results };
  }

  const outcomes = async (trigger: Trigger) =>
    (await triggers().deliveries(trigger.id, 100)).map(({ outcome }) => outcome);
  const builds = async (trigger: Trigger) => await triggers().builds(trigger.id, 100);

  it('are activated with a key and a hook there, which go with them', async () => {
    const trigger = await active();
    expect([...repository.keys.values()]).toMatchObject([{ title: 'Slipway team/app', readOnly: true }]);
    expect([...repository.keys.values()][0]?.key).toContain(trigger.publicKey?.split(' ')[1]);
    expect([...repository.hooks.values()]).toMatchObject([
      { url: `${origin}/webhooks/push/trigger/${trigger.id}` },
    ]);
    expect(await triggers().credentials(trigger.id, origin)).toEqual([
      { name: 'SSH Public Key', value: trigger.publicKey },
    ]);
    expect(await triggers().remove(trigger.id)).toEqual({ leftAtHost: [] });
    expect([repository.keys.size, repository.hooks.size]).toEqual([0, 0]);
  });

  it('go although the host keeps what is theirs, and it is said', async () => {
    const trigger = await active();
    github.fail({ at: /^DELETE .*hooks/, status: 500, times: 10 });
    github.fail({ at: /^DELETE .*keys/, status: 403, times: 10 });
    const { leftAtHost } = await triggers().remove(trigger.id);
    expect(leftAtHost).toEqual([expect.stringContaining('webhook'), expect.stringContaining('deploy key')]);
    expect(await triggers().list(siteRepository)).toEqual([]);
  });

  it('leave nothing there when they cannot be activated', async () => {
    const { id } = await create();
    github.fail({ at: /^POST .*hooks/, status: 403 });
    await expect(triggers().activate(id, { config, origin }, never)).rejects.toMatchObject({ code: 'host' });
    expect([repository.keys.size, repository.hooks.size]).toEqual([0, 0]);
    expect(await triggers().find(siteRepository, id)).toMatchObject({ active: false });
    // And may be activated later.
    expect((await triggers().activate(id, { config, origin }, never)).trigger.active).toBe(true);
  });

  it('take no delivery that is not signed, is signed with SHA-1 only, or by somebody else', async () => {
    const trigger = await active();
    const token = 'whatever';
    const payload = github.pushPayload(
      repository,
      'refs/heads/main',
      undefined,
      repository.branches.get('main'),
    );
    const [hook] = repository.hooks.values();
    const hmac = (algorithm: string) =>
      createHmac(algorithm, hook?.secret ?? '')
        .update(posted(payload).body)
        .digest('hex');
    const proved = { 'x-hub-signature-256': `sha256=${hmac('sha256')}`, 'x-github-event': 'push' };
    for (const headers of [
      {},
      { 'x-hub-signature': `sha1=${'0'.repeat(40)}` },
      { 'x-hub-signature': `sha1=${hmac('sha1')}` },
      { 'x-hub-signature': `sha256=${hmac('sha256')}` },
      { 'x-hub-signature-256': `sha1=${hmac('sha1')}` },
      { 'x-hub-signature-256': `sha256=${'0'.repeat(64)}` },
    ])
      for (const as of [undefined, token])
        await expect(triggers().deliver(trigger.id, posted(payload, headers), as)).rejects.toMatchObject({
          code: 'forbidden',
        });
    expect(await outcomes(trigger)).toEqual([]);
    // So the secret is the right one.
    await triggers().deliver(trigger.id, posted(payload, proved), undefined);
    expect(await outcomes(trigger)).toHaveLength(1);
  });

  it('take no write token in place of a signature', async () => {
    const trigger = await active();
    const { database, secretBox, clock } = site;
    const found = await new SqlTriggerStore({ database, secretBox, clock }).findWithSecrets(trigger.id);
    const token = found?.secrets.write_token;
    expect(token).toMatch(/^[\w-]{40}$/);
    const payload = github.pushPayload(
      repository,
      'refs/heads/main',
      undefined,
      repository.branches.get('main'),
    );
    await expect(
      triggers().deliver(trigger.id, posted(payload, { 'x-github-event': 'push' }), token),
    ).rejects.toMatchObject({ code: 'forbidden' });
    expect(await outcomes(trigger)).toEqual([]);
  });

  it('build what is pushed, with the people the host knows', async () => {
    const trigger = await active();
    const { after, results } = await pushed('main');
    expect(results).toEqual([{ status: 200, text: 'Okay' }]);
    await site.settle();
    expect(await builds(trigger)).toMatchObject([
      {
        source: { url: 'git@github.example.com:kim/app.git', sha: after },
        tags: ['latest', 'main'],
        triggerMetadata: { commit: after, commit_info: { author: { username: 'kim' } } },
      },
    ]);
  });

  it('take a replayed delivery for the same, whatever name it is given', async () => {
    const trigger = await active();
    const after = repository.commit('main');
    const payload = github.pushPayload(repository, 'refs/heads/main', undefined, after);
    for (let times = 0; times < 3; times += 1) await github.deliver(repository, 'push', payload);
    await pushed('main');
    await site.clock.advance(48 * 3_600_000);
    await github.deliver(repository, 'push', payload);
    await site.settle();
    expect(await builds(trigger)).toHaveLength(2);
    expect((await triggers().deliveries(trigger.id, 10)).map(({ repeats }) => repeats)).toEqual([0, 3]);
  });

  it('build only pushes that change what the filters want', async () => {
    const trigger = await active({ path_filters: ['app/**', '!**/*.md'] });
    await pushed('main', { files: { 'docs/a.md': 'a' } });
    await pushed('main', { files: { 'app/readme.md': 'a' } });
    await pushed('main', { files: { 'app/main.ts': 'a' } });
    await site.settle();
    expect((await outcomes(trigger)).map(({ kind }) => kind)).toEqual(['queued', 'skipped', 'skipped']);
  });

  it('ask again while the host does not answer, in the order of the pushes, and give up in the end', async () => {
    const trigger = await active();
    await pushed('main');
    const failing = { at: /./, status: 503, times: 1_000 };
    // Made incomplete: the people are to be looked up.
    await scratch.database.sql
      .updateTable('trigger_deliveries')
      .set((row) => ({
        event_json: row.fn<string>('replace', [
          'event_json',
          row.val('"incomplete":false'),
          row.val('"incomplete":true'),
        ]),
      }))
      .execute();
    github.fail(failing);
    await site.settle();
    await pushed('main');
    await site.settle();
    expect((await outcomes(trigger)).map(({ kind }) => kind)).toEqual(['waiting', 'waiting']);
    for (let minutes = 0; minutes < 20; minutes += 1) {
      await site.clock.advance(60_000);
      await site.settle();
    }
    const [second, first] = await outcomes(trigger);
    expect(first).toMatchObject({ kind: 'failed', reason: expect.stringContaining('GitHub') });
    expect(second?.kind).not.toBe('waiting');
  });

  it('build what is pushed, although it was found before: that found no room in the queue, and failed', async () => {
    await site[Symbol.asyncDispose]();
    await scratch[Symbol.asyncDispose]();
    await openSite({ maxQueuedPerNamespace: 1 });
    const trigger = await active();
    const look = async () => {
      await site.clock.advance(6 * 60_000);
      while (await site.open.background.lostPushes.round(never)) {
        // Until none is due.
      }
    };
    await look();
    const before = repository.branches.get('main');
    const after = repository.commit('main');
    await look();
    await look();
    await github.push(repository, 'refs/heads/main', before, after);
    // Accepted while there was room.
    const filling = await site.queue.enqueue(request('team/other'));
    await site.settle();
    expect((await outcomes(trigger)).map(({ kind }) => kind)).toEqual(['waiting', 'waiting']);
    await scratch.database.sql
      .updateTable('trigger_deliveries')
      .set({ outcome: 'failed', reason: 'The namespace has as many builds waiting as it may have.' })
      .where('came_by', '=', 'poll')
      .execute();
    await site.queue.cancel(filling.id, 'kim');
    await site.clock.advance(120_000);
    await site.settle();
    expect(await builds(trigger)).toMatchObject([{ source: { sha: after } }]);
  });

  it('build although the token is refused: the key still opens the source', async () => {
    const trigger = await active();
    for (const token of github.state.tokens.values()) token.valid = false;
    await pushed('main');
    await site.settle();
    expect(await builds(trigger)).toHaveLength(1);
  });

  describe('pull requests', () => {
    const payload = (fork: boolean, number = 7) => {
      const sha = repository.commit('topic');
      const [owner, name] = source.split('/');
      const repo = (full: string) => ({
        id: 1,
        name,
        full_name: full,
        owner: { login: owner },
        html_url: `${github.url}/${full}`,
        ssh_url: `git@github.example.com:${full}.git`,
        clone_url: `${github.url}/${full}.git`,
        default_branch: 'main',
      });
      return {
        action: 'opened',
        number,
        pull_request: {
          number,
          title: 'A change',
          body: '',
          html_url: `${github.url}/${source}/pull/${number}`,
          updated_at: '2026-01-01T00:00:00Z',
          user: { login: 'kim', html_url: `${github.url}/kim`, avatar_url: '' },
          head: { ref: 'topic', sha, repo: repo(fork ? 'eve/app' : source) },
          base: { ref: 'main', sha: repository.branches.get('main'), repo: repo(source) },
        },
        repository: repo(source),
        sender: { login: 'kim' },
      };
    };

    it.each<[TriggerConfig['pull_requests'], boolean, boolean]>([
      ['none', false, false],
      ['none', true, false],
      ['same-repository', false, true],
      ['same-repository', true, false],
      ['all', false, true],
      ['all', true, true],
    ])(
      'with %s, from a fork %s: built %s, and never pushed',
      async (pull_requests = 'none', fork, expected) => {
        const trigger = await active({ pull_requests, branchtag_regex: 'heads/main' });
        await triggers().setSecret(trigger.id, 'npm', Buffer.from('hunter2'));
        await github.deliver(repository, 'pull_request', payload(fork));
        await site.settle();
        const made = await builds(trigger);
        expect(made).toHaveLength(expected ? 1 : 0);
        const [build] = made;
        if (build === undefined) return;
        expect(build.push).toBe(false);
        const ids = (await site.queue.secrets(build.id)).map(({ id }) => id);
        expect(ids.includes('npm')).toBe(!fork);
        expect(build.untrusted === true).toBe(fork);
      },
    );

    it('from a fork that fail switch nothing off, and see no build arguments', async () => {
      const trigger = await active({ pull_requests: 'all', build_args: { TOKEN: 'hunter2' } });
      for (let times = 0; times < 4; times += 1)
        await github.deliver(repository, 'pull_request', payload(true));
      await site.settle();
      const made = await builds(trigger);
      expect(made.map(({ buildArgs }) => buildArgs)).toEqual([{}, {}, {}, {}]);
      await scratch.database.sql
        .updateTable('builds')
        .set({ phase: 'error', admitted: 0, finished_at: site.clock.now() })
        .where('trigger_id', '=', trigger.id)
        .execute();
      await site.open.background.failures.round();
      expect((await triggers().find(siteRepository, trigger.id))?.enabled).toBe(true);
    });

    it.each([true, false])('supersede, from a fork %s, only what is older of the same one', async (fork) => {
      const trigger = await active({ pull_requests: 'all', newest_only: true });
      const made: (BuildId | undefined)[] = [];
      const next = async (deliver: () => Promise<unknown>) => {
        await deliver();
        await site.settle();
        const [build] = await builds(trigger);
        made.push(build?.id);
      };
      const request = (of: boolean, number: number) => async () =>
        await github.deliver(repository, 'pull_request', payload(of, number));
      await next(async () => await pushed('main'));
      await next(request(false, 7));
      await next(request(true, 8));
      // A branch and a tag of the names of things of pull requests are none.
      await next(async () => await pushed('pull/9/head'));
      await next(request(fork, 9));
      const phases = async () => {
        const all = new Map((await builds(trigger)).map(({ id, phase }) => [id, phase]));
        return made.map((id) => id && all.get(id));
      };
      expect(await phases()).toEqual(Array.from({ length: 5 }, () => 'waiting'));
      await next(request(fork, 9));
      expect(await phases()).toEqual(['waiting', 'waiting', 'waiting', 'waiting', 'cancelled', 'waiting']);
      await next(async () => await pushed('main'));
      expect(await phases()).toEqual([
        ...['cancelled', 'waiting', 'waiting', 'waiting', 'cancelled', 'waiting', 'waiting'],
      ]);
    });

    it('from a fork get no robot, and nothing in the name of who sends them again', async () => {
      const { id } = await create();
      await triggers().activate(
        id,
        { config: { ...config, pull_requests: 'all' }, pullRobot: 'team+ci', origin },
        never,
      );
      await github.deliver(repository, 'pull_request', payload(true));
      await site.settle();
      const [delivery] = await triggers().deliveries(id, 1);
      if (delivery === undefined) throw new Error('nothing came');
      await triggers().redeliver(id, delivery.id, 'ann');
      await site.settle();
      const made = await triggers().builds(id, 10);
      expect(made).toHaveLength(2);
      for (const build of made)
        expect([build.pullRobot, build.manualUser, build.push]).toEqual([undefined, undefined, false]);
    });
  });

  describe('run now', () => {
    it('builds the newest commit of a branch, whatever the rules say', async () => {
      const trigger = await active({ branchtag_regex: 'heads/never' });
      const sha = repository.commit('dev', { message: 'x [skip build]' });
      expect(await triggers().start(trigger.id, { branch: 'dev' }, 'ann', never)).toMatchObject({
        source: { sha },
        tags: ['dev'],
        manualUser: 'ann',
      });
    });

    it('takes no branch for the commit that its name looks like', async () => {
      const trigger = await active();
      const sha = repository.branches.get('main') ?? '';
      repository.commit('deadbeef');
      await expect(triggers().start(trigger.id, { commit: 'deadbeef' }, 'ann', never)).rejects.toMatchObject({
        code: 'bad-config',
        message: expect.stringContaining('--branch'),
      });
      expect(await triggers().start(trigger.id, { branch: 'deadbeef' }, 'ann', never)).toMatchObject({
        tags: ['deadbeef'],
      });
      expect(await triggers().start(trigger.id, { commit: sha.slice(0, 8) }, 'ann', never)).toMatchObject({
        source: { sha },
      });
    });

    it.each([
      { branch: 'nowhere' },
      { ref: { kind: 'tag', name: 'v9' } as const },
      { commit: 'abcdef0' },
      { branch: '--x' },
    ])('says that there is no %j', async (wish) => {
      const trigger = await active();
      await expect(triggers().start(trigger.id, wish, 'ann', never)).rejects.toMatchObject({
        code: 'bad-config',
      });
    });
  });

  describe('statuses', () => {
    const report = async () => {
      while (await site.open.background.reporter.round(never)) {
        // Until there is nothing more to tell.
      }
    };
    const states = () => repository.statuses.map(({ state }) => state);

    async function finish(kind: 'complete' | 'error') {
      const [attempt] = await site.queue.claim({ manager: 'm', limit: 1, capacity: 9, lease: 60_000 });
      if (attempt === undefined) throw new Error('nothing to build');
      const image = { digest: `sha256:${'0'.repeat(64)}` as never, size: 1 };
      const outcome =
        kind === 'complete'
          ? { kind, image }
          : { kind, fault: { code: 'builderror', message: 'RUN failed' } as const };
      const { kind: finished } = await site.queue.finish(attempt.id, attempt.epoch, outcome, 0);
      if (finished === 'publish') await site.queue.publish(attempt.buildId, [attempt], image);
    }

    it.each([
      ['complete', 'success'],
      ['error', 'failure'],
    ] as const)('tell that a build waits and that it is %s', async (kind, state) => {
      const trigger = await active();
      await pushed('main');
      await site.settle();
      await report();
      expect(states()).toEqual(['pending']);
      await report();
      await finish(kind);
      await report();
      await report();
      expect(states()).toEqual(['pending', state]);
      const [build] = await builds(trigger);
      expect(repository.statuses.at(-1)).toMatchObject({
        context: 'slipway/team/app',
        url: expect.stringContaining(build?.id ?? ''),
      });
      expect(await scratch.database.sql.selectFrom('host_reports').selectAll().execute()).toEqual([]);
    });

    it('of an older build do not overwrite those of a newer one, however late they come', async () => {
      const trigger = await active();
      const commit = repository.branches.get('main') ?? '';
      const start = async () => await triggers().start(trigger.id, { branch: 'main' }, 'kim', never);
      await start();
      await report();
      github.fail({ at: /statuses/, status: 503, times: 1 });
      await finish('error');
      await report();
      // Its failure is not told yet when the next one is built, and that one succeeds.
      await start();
      await report();
      await finish('complete');
      await report();
      await site.clock.advance(3_600_000);
      await report();
      expect(states()).toEqual(['pending', 'pending', 'success']);
      expect(repository.statuses.at(-1)).toMatchObject({ commit });
      expect(await scratch.database.sql.selectFrom('host_reports').selectAll().execute()).toEqual([]);
    });

    it('of several triggers of a repository are told apart', async () => {
      const [one, two] = [
        await active(),
        await active({ dockerfile_path: '/app/Dockerfile', context: '/app' }),
      ];
      await site.clock.advance(1_000);
      for (const { id } of [one, two]) await triggers().start(id, { branch: 'main' }, 'kim', never);
      await report();
      const names = new Set(repository.statuses.map(({ context }) => context));
      expect(names).toContain('slipway/team/app');
      expect(names.size).toBe(2);
      const oldest = (await triggers().list(siteRepository))[0];
      if (oldest !== undefined) await triggers().remove(oldest.id);
      // The other keeps its name, although it is the oldest now.
      while ((await site.queue.builds({ limit: 1, unfinishedOnly: true })).length > 0)
        await finish('complete');
      await report();
      const last = new Map(repository.statuses.map(({ context, state }) => [context, state]));
      expect([...last.values()].sort()).toEqual(['error', 'success']);
    });

    it('do not stay pending when the trigger is deleted', async () => {
      const trigger = await active();
      await triggers().start(trigger.id, { branch: 'main' }, 'kim', never);
      await report();
      expect(states()).toEqual(['pending']);
      await triggers().remove(trigger.id);
      expect(repository.statuses.at(-1)).toMatchObject({
        state: 'error',
        description: 'The build trigger was deleted.',
        context: 'slipway/team/app',
      });
      await finish('complete');
      await report();
      expect(states()).toEqual(['pending', 'error']);
    });

    it('are sent again when the host does not answer, and dropped after a day', async () => {
      await active();
      await pushed('main');
      await site.settle();
      github.fail({ at: /statuses/, status: 503, times: 1_000 });
      await report();
      expect(site.counted).toContain('status failed');
      await site.clock.advance(60_000);
      await report();
      for (let hours = 0; hours < 26; hours += 1) {
        await site.clock.advance(3_600_000);
        await report();
      }
      expect(site.counted).toContain('status dropped');
      expect(await scratch.database.sql.selectFrom('host_reports').selectAll().execute()).toEqual([]);
    });
  });

  describe('lost pushes', () => {
    const look = async () => {
      await site.clock.advance(6 * 60_000);
      while (await site.open.background.lostPushes.round(never)) {
        // Until none is due.
      }
    };

    it('are found, once; what was there before, and what was delivered, is not', async () => {
      const trigger = await active();
      await look();
      await pushed('main');
      await look();
      await look();
      expect((await triggers().deliveries(trigger.id, 10)).map(({ by }) => by)).toEqual(['hook']);
      const lost = repository.commit('main');
      const tagged = repository.commit('dev');
      repository.tag('v1', tagged);
      await look();
      expect(await triggers().deliveries(trigger.id, 10)).toHaveLength(1);
      await look();
      await look();
      await site.settle();
      const found = (await triggers().deliveries(trigger.id, 10)).filter(({ by }) => by === 'poll');
      expect(found.map(({ ref, commit }) => [ref, commit]).sort()).toEqual([
        ['refs/heads/dev', tagged],
        ['refs/heads/main', lost],
        ['refs/tags/v1', tagged],
      ]);
      expect(await builds(trigger)).toHaveLength(4);
    });

    it('are not those that were refused while the trigger was off', async () => {
      const trigger = await active();
      await look();
      await triggers().setEnabled(trigger.id, false);
      const refused = await pushed('main');
      expect(refused.results).toMatchObject([{ status: 400 }]);
      await triggers().setEnabled(trigger.id, true);
      for (let times = 0; times < 4; times += 1) await look();
      await site.settle();
      expect(await builds(trigger)).toEqual([]);
      const lost = repository.commit('main');
      for (let times = 0; times < 3; times += 1) await look();
      await site.settle();
      expect(await builds(trigger)).toMatchObject([{ source: { sha: lost } }]);
    });

    it('are not built twice when their delivery comes after all', async () => {
      const trigger = await active();
      await look();
      const before = repository.branches.get('main');
      const after = repository.commit('main');
      await look();
      await look();
      await site.settle();
      await github.push(repository, 'refs/heads/main', before, after);
      await site.settle();
      expect(await builds(trigger)).toHaveLength(1);
      expect((await outcomes(trigger)).map(({ kind }) => kind)).toEqual(['skipped', 'queued']);
    });

    it('are looked for less often while the host refuses', async () => {
      await active();
      await look();
      github.fail({ at: /branches/, status: 500, times: 1_000 });
      const asked = () => github.requests.filter((line) => line.includes('/branches')).length;
      for (let times = 0; times < 3; times += 1) await look();
      const before = asked();
      for (let times = 0; times < 10; times += 1) await look();
      expect(asked() - before).toBeLessThan(5);
      expect(site.counted.filter((each) => each.startsWith('error'))).toEqual([]);
    });
  });

  describe('before they are activated', () => {
    it('people choose a source, a branch and a Dockerfile', async () => {
      const { id } = await create();
      expect(await triggers().namespaces(id, never)).toMatchObject([{ id: 'kim', personal: true }]);
      expect((await triggers().sources(id, 'kim', never)).map(({ name }) => name)).toEqual([source]);
      expect(await triggers().fieldValues(id, 'branch_name', config, never)).toEqual(['main']);
      expect(await triggers().fieldValues(id, 'refs', config, never)).toEqual([
        { kind: 'branch', name: 'main' },
      ]);
      expect(await triggers().fieldValues(id, 'nonsense', config, never)).toBeUndefined();
      const found = await triggers().dockerfiles(id, config, never);
      expect([...found.paths].sort()).toEqual(['/Dockerfile', '/app/Dockerfile']);
      expect(found.contexts).toEqual({ '/Dockerfile': ['/'], '/app/Dockerfile': ['/', '/app'] });
    });

    const analyze = async (dockerfile: string | undefined, more: Partial<TriggerConfig> = {}) => {
      repository.commit('main', { files: { Dockerfile: dockerfile } });
      const { id } = await create();
      return await triggers().analyze(id, { ...config, ...more }, { username: 'ann' }, never);
    };
    const base = (visibility: BaseImage['visibility'], canRead = true): BaseImage => ({
      repository: { namespace: 'team', name: 'base' },
      visibility,
      canRead,
      isAdmin: true,
      robots: [{ name: 'team+ci', canRead: true }],
    });

    it.each([
      ['no Dockerfile', undefined, 'warning'],
      ['no FROM', '# nothing\n', 'warning'],
      ['no Dockerfile in it', 'BUILD it\n', 'error'],
      ['an image from elsewhere', 'FROM debian:12', 'publicbase'],
      ['a public image of ours', 'FROM ours/public:1', 'publicbase'],
      ['a private image of ours', 'FROM debian:12 AS a\nFROM ours/private:1', 'requiresrobot'],
      ['one that they may not see', 'FROM ours/secret:1', 'error'],
      ['one that is not there', 'FROM ours/nothing:1', 'error'],
    ])('the source is looked at: %s', async (_name, dockerfile, status) => {
      images.set('ours/public:1', base('public'));
      images.set('ours/private:1', base('private'));
      images.set('ours/secret:1', base('private', false));
      const analysis = await analyze(dockerfile);
      expect(analysis.status).toBe(status);
      if (status === 'requiresrobot')
        expect(analysis).toMatchObject({
          namespace: 'team',
          name: 'base',
          isAdmin: true,
          robots: [{ name: 'team+ci', canRead: true, kind: 'user', isRobot: true }],
        });
    });

    it('a host that does not answer is told as such', async () => {
      github.fail({ at: /./, status: 500, times: 100 });
      await expect(analyze('FROM a')).rejects.toMatchObject({ code: 'host', cause: { code: 'unavailable' } });
    });
  });
});
