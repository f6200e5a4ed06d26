import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BitbucketApi } from '../../test/fakes/bitbucket-api.ts';
import { type FakeFault, oauthClient } from '../../test/fakes/git-host-server.ts';
import type { FakeRepository } from '../../test/fakes/git-host-state.ts';
import { GithubApi } from '../../test/fakes/github-api.ts';
import { GitlabApi } from '../../test/fakes/gitlab-api.ts';
import type { OpenScratch, ScratchDatabase } from '../../test/harness/scratch-database.ts';
import { openTriggerDoor, type TriggerDoor } from '../../test/harness/trigger-door.ts';
import { never, siteRepository, type TriggerSite, triggerSite } from '../../test/harness/trigger-site.ts';
import { ManualClock } from '../base/clock.ts';
import { SecretBox } from '../db/secret-box.ts';
import { SqlError } from '../db/sql-error.ts';
import { HostConnection } from './host/host-connection.ts';
import { gitHosts } from './host/hosts.ts';
import type { Trigger } from './trigger.ts';
import type { TriggerConfig } from './trigger-config.ts';
import type { StartWish } from './triggers.ts';

type Fake = GithubApi | GitlabApi | BitbucketApi;

const words = {
  github: { pending: 'pending', success: 'success', failure: 'failure', host: 'github.example.com' },
  gitlab: { pending: 'pending', success: 'success', failure: 'failed', host: 'gitlab.example.com' },
  bitbucket: { pending: 'INPROGRESS', success: 'SUCCESSFUL', failure: 'FAILED', host: 'bitbucket.org' },
} as const;

/** The whole life of a trigger at each host: by the real clients, over HTTP, with signed deliveries. */
export function hostedLifeSuite(title: string, openScratch: OpenScratch): void {
  describe.each([
    ['github', () => new GithubApi()],
    ['gitlab', () => new GitlabApi()],
    ['bitbucket', () => new BitbucketApi()],
  ] as const)(`the life of a trigger on ${title} at %s`, (service, newFake) => {
    let fake: Fake;
    let web: FakeRepository;
    let scratch: ScratchDatabase;
    let site: TriggerSite;
    let door: TriggerDoor;
    let hostClock: ManualClock;
    let connection: HostConnection;
    const warnings: string[] = [];

    beforeEach(async () => {
      fake = await newFake().start();
      fake.state.addUser('kim');
      fake.state.groups.set('acme', ['kim']);
      fake.signedIn = 'kim';
      // GitHub's tokens last.
      fake.tokenLifetime = service === 'github' ? undefined : 7200;
      web = fake.state.addRepository('acme/web', { kim: 'admin' });
      web.commit('main', { files: { Dockerfile: 'FROM debian:12\n', 'app/Dockerfile': 'FROM scratch\n' } });
      hostClock = new ManualClock();
      const options = { site: fake.url, clock: hostClock, oauth: oauthClient };
      const hosts = gitHosts({
        github: options,
        gitlab: options,
        bitbucket: { ...options, api: `${fake.url}/2.0` },
      });
      warnings.length = 0;
      scratch = await openScratch();
      site = await triggerSite(scratch, {
        hosts,
        settings: {
          log: {
            info: () => {},
            warn: (_, message) => warnings.push(message),
            error: (detail) => warnings.push(JSON.stringify(detail)),
          },
        },
      });
      door = await openTriggerDoor(() => site.open.triggers);
      const used = new Set<string>();
      connection = new HostConnection({
        hosts,
        box: new SecretBox({ key: randomBytes(32) }),
        clock: hostClock,
        use: async (hash) => !used.has(hash) && used.add(hash) !== undefined,
      });
    });

    afterEach(async () => {
      await door[Symbol.asyncDispose]();
      await site[Symbol.asyncDispose]();
      await scratch[Symbol.asyncDispose]();
      await fake[Symbol.asyncDispose]();
    });

    const triggers = () => site.open.triggers;

    /** As a person does it in a browser. */
    async function connected(): Promise<Trigger> {
      const me = { username: 'kim', session: 'session', repository: siteRepository };
      const redirect = `https://ci.example.com/oauth2/${service}/callback/trigger/team/app`;
      const there = await fetch(connection.begin(service, { ...me, redirect }), { redirect: 'manual' });
      const query = Object.fromEntries(new URL(there.headers.get('location') ?? '').searchParams);
      const { token } = await connection.finish(service, { ...me, query }, never);
      return await triggers().create(siteRepository, { service, user: 'kim', token });
    }

    async function active(more: Partial<TriggerConfig> = {}): Promise<Trigger> {
      const { id } = await connected();
      const config = { build_source: 'acme/web', ...more };
      return (await triggers().activate(id, { config, origin: door.origin }, never)).trigger;
    }

    async function pushed(branch: string, change: Parameters<FakeRepository['commit']>[1] = {}) {
      const before = web.branches.get(branch);
      const after = web.commit(branch, change);
      expect(await fake.push(web, `refs/heads/${branch}`, before, after)).toEqual([
        { status: 200, text: 'Okay' },
      ]);
      return after;
    }

    const outcomes = async ({ id }: Trigger) =>
      (await triggers().deliveries(id, 100)).map(({ outcome }) => outcome);

    async function report(): Promise<void> {
      while (await site.open.background.reporter.round(never)) {
        // Until there is nothing more to tell.
      }
    }

    async function finish(kind: 'complete' | 'error'): Promise<void> {
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

    it('begins with a person, builds what is pushed, tells how it went, and leaves nothing behind', async () => {
      const { id } = await connected();
      expect((await triggers().namespaces(id, never)).map((each) => each.id)).toEqual(['kim', 'acme']);
      expect((await triggers().sources(id, 'acme', never)).map(({ name }) => name)).toEqual(['acme/web']);
      const config = { build_source: 'acme/web', tag_templates: [`$\{commit_info.author.username}`] };
      expect(await triggers().fieldValues(id, 'refs', config, never)).toEqual([
        { kind: 'branch', name: 'main' },
      ]);
      const found = await triggers().dockerfiles(id, config, never);
      expect([...found.paths].sort()).toEqual(['/Dockerfile', '/app/Dockerfile']);
      expect(await triggers().analyze(id, config, { username: 'kim' }, never)).toMatchObject({
        status: 'publicbase',
      });

      const { trigger } = await triggers().activate(id, { config, origin: door.origin }, never);
      const [hook] = web.hooks.values();
      expect(hook).toMatchObject({
        id: trigger.config?.hook_id,
        url: `${door.origin}/webhooks/push/trigger/${id}`,
        secret: expect.stringMatching(/^[\w-]{40}$/),
      });
      const [key] = web.keys.values();
      expect(key).toMatchObject({ id: trigger.config?.deploy_key_id, readOnly: true });
      expect(trigger.publicKey).toContain(key?.key.split(' ')[1]);

      // The token has expired meanwhile, where it does.
      await hostClock.advance(3 * 3_600_000);
      for (const token of fake.state.tokens.values()) if (service !== 'github') token.valid = false;

      const after = await pushed('main', { message: 'Add the map', files: { 'app/map.ts': '1' } });
      await site.settle();
      const [build, ...more] = await triggers().builds(id, 10);
      expect(more).toEqual([]);
      const username = service === 'bitbucket' ? 'Kim Octo' : 'kim';
      expect(build).toMatchObject({
        source: {
          url: `git@${words[service].host}:acme/web.git`,
          sha: after,
        },
        tags: [username.replace(' ', '_'), 'latest', 'main'],
        triggerMetadata: {
          commit: after,
          ref: 'refs/heads/main',
          default_branch: 'main',
          commit_info: {
            message: 'Add the map',
            author: { username, avatar_url: expect.stringMatching(/^https:/) },
            committer: { username },
          },
        },
      });
      expect(await outcomes(trigger)).toEqual([{ kind: 'queued', build: build?.id }]);

      await report();
      await finish('complete');
      await report();
      await pushed('main');
      await site.settle();
      await finish('error');
      await report();
      const { pending, success, failure } = words[service];
      expect(web.statuses.map(({ state }) => state)).toEqual([pending, success, failure]);
      expect(web.statuses[0]).toMatchObject({
        commit: after,
        context: 'slipway/team/app',
        url: `https://slipway.example.com/repository/team/app/build/${build?.id}`,
      });

      expect(await triggers().remove(id)).toEqual({ leftAtHost: [] });
      expect([web.hooks.size, web.keys.size]).toEqual([0, 0]);
      expect(warnings).toEqual([]);
      // Nothing that was sent or stored has shown a token where none belongs.
      const said = fake.requests.join('\n');
      for (const token of fake.state.tokens.keys()) expect(said).not.toContain(token);
    });

    it('ends although the host keeps hook and key, and that is logged', async () => {
      const trigger = await active();
      fake.fail({ at: /^DELETE /, status: 403, times: 10 });
      const { leftAtHost } = await triggers().remove(trigger.id);
      expect(leftAtHost).toEqual([
        expect.stringContaining('The webhook of acme/web'),
        expect.stringContaining('The deploy key of acme/web'),
      ]);
      expect(warnings).toHaveLength(2);
      expect(await triggers().list(siteRepository)).toEqual([]);
      expect((await fake.push(web, 'refs/heads/main', undefined, web.commit('main')))[0]?.status).toBe(404);
    });

    it('ends although the host is away, or takes the token no more', async () => {
      const first = await active();
      fake.fail({ at: /./, status: 200, how: 'cut', times: 2 });
      expect((await triggers().remove(first.id)).leftAtHost).toHaveLength(2);
      const second = await active();
      fake.tokenLifetime = undefined;
      for (const token of fake.state.tokens.values()) token.valid = false;
      fake.fail({ at: /token/, status: 400, body: { error: 'invalid_grant' }, times: 10 });
      // It looks for a while whether another server has renewed the token.
      let leftAtHost: readonly string[] | undefined;
      const removing = triggers()
        .remove(second.id)
        .then((removed) => {
          leftAtHost = removed.leftAtHost;
        });
      while (leftAtHost === undefined) await hostClock.advance(500);
      await removing;
      expect(leftAtHost).toHaveLength(2);
      expect(await triggers().list(siteRepository)).toEqual([]);
    });

    describe('leaves nothing behind when it cannot be activated', () => {
      const attempt = async (what: Promise<unknown>): Promise<{ code: string; message: string }> =>
        await what.then(
          () => {
            throw new Error('it is active');
          },
          (thrown) => thrown,
        );
      const activating = async () => {
        const { id } = await connected();
        const config = { build_source: 'acme/web' };
        return {
          id,
          activate: async () => await triggers().activate(id, { config, origin: door.origin }, never),
        };
      };
      const left = () => [web.hooks.size, web.keys.size];
      const adding = { hook: /^POST .*hooks$/, key: /^POST .*keys$/ };

      it.each([
        ['hook', 0],
        ['hook', 502],
        ['hook', 200],
        ['key', 0],
        ['key', 502],
        ['key', 200],
      ] as const)('for the answer about the %s is lost, or makes no sense: %s', async (what, status) => {
        const { id, activate } = await activating();
        fake.fail({ at: adding[what], status, body: ['?'], how: 'lost' });
        const { code, message } = await attempt(activate());
        expect([code, left()]).toEqual(['host', [0, 0]]);
        expect(message).not.toContain('by hand');
        expect((await triggers().find(siteRepository, id))?.active).toBe(false);
        // And may be activated later.
        expect((await activate()).trigger.active).toBe(true);
        expect(left()).toEqual([1, 1]);
      });

      it.each(['hook', 'key'] as const)('or says that the %s may be there', async (what) => {
        const { activate } = await activating();
        fake.fail({ at: adding[what], status: 0, how: 'lost' });
        fake.fail({ at: /^GET .*(hooks|keys)$/, status: 503, times: 10 });
        const name = what === 'hook' ? 'webhook' : 'deploy key';
        expect((await attempt(activate())).message).toContain(`The ${name} of acme/web may be there`);
        fake.forgive();
        web.hooks.clear();
        fake.fail({ at: adding[what], status: 0, how: 'cut' });
        expect((await attempt(activate())).message).toContain(
          `The host may install the ${name} of acme/web yet`,
        );
        fake.fail({ at: adding[what], status: 0, how: 'lost' });
        fake.fail({ at: /^DELETE /, status: 403, times: 10 });
        expect((await attempt(activate())).message).toContain(`The ${name} of acme/web is still there`);
      });

      /** What happens once the key is there and the hook is asked for. */
      const beforeHook = async (
        meanwhile: () => Promise<unknown>,
        activate: () => Promise<unknown>,
        fault: Partial<FakeFault> = {},
      ) => {
        let goOn = () => {};
        const until = new Promise<void>((resolve) => {
          goOn = resolve;
        });
        fake.fail({ at: adding.hook, status: 200, until, ...fault });
        const failed = attempt(activate());
        await expect.poll(() => fake.requests.some((line) => adding.hook.test(line))).toBe(true);
        await meanwhile();
        goOn();
        return await failed;
      };

      it('for it cannot be written down', async () => {
        const { id, activate } = await activating();
        const { sql } = scratch.database;
        const failed = await beforeHook(
          async () => await sql.schema.alterTable('triggers').renameTo('elsewhere').execute(),
          activate,
        );
        await sql.schema.alterTable('elsewhere').renameTo('triggers').execute();
        expect([failed, left()]).toEqual([expect.any(SqlError), [0, 0]]);
        expect((await triggers().find(siteRepository, id))?.active).toBe(false);
      });

      it('for it was deleted meanwhile', async () => {
        const { id, activate } = await activating();
        const failed = await beforeHook(async () => await triggers().remove(id), activate);
        expect([failed.code, left()]).toEqual(['active', [0, 0]]);
      });

      it('for who asked is gone: what was begun is done or undone all the same', async () => {
        const { id } = await activating();
        const gone = new AbortController();
        let goOn = () => {};
        const until = new Promise<void>((resolve) => {
          goOn = resolve;
        });
        fake.fail({ at: adding.key, status: 200, until });
        const config = { build_source: 'acme/web' };
        const activation = triggers()
          .activate(id, { config, origin: door.origin }, gone.signal)
          .then(
            () => 'active',
            () => 'not active',
          );
        await expect.poll(() => fake.requests.some((line) => adding.key.test(line))).toBe(true);
        gone.abort();
        // Time enough for giving up, and for finding nothing.
        for (let times = 0; times < 10; times += 1) await fetch(fake.url);
        goOn();
        const how = await activation;
        expect(left()).toEqual(how === 'active' ? [1, 1] : [0, 0]);
      });

      it('for somebody else activates it at the same time', async () => {
        const { id, activate } = await activating();
        const all = await Promise.allSettled(Array.from({ length: 3 }, async () => await activate()));
        expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
        const { config } = (await triggers().find(siteRepository, id)) ?? {};
        expect([[...web.hooks.keys()], [...web.keys.keys()]]).toEqual([
          [config?.hook_id],
          [config?.deploy_key_id],
        ]);
        await pushed('main');
      });

      it('and leaves alone what is of somebody who was faster', async () => {
        const { id, activate } = await activating();
        await beforeHook(activate, activate, { status: 0, how: 'lost' });
        const { config } = (await triggers().find(siteRepository, id)) ?? {};
        expect([...web.hooks.keys()]).toEqual([config?.hook_id]);
        await triggers().remove(id);
        if (service !== 'github') return;
        // GitHub takes no second hook with the same URL; the first one's trigger may be active in a moment.
        const other = await activating();
        const theirs = { id: '1', url: `${door.origin}/webhooks/push/trigger/${other.id}` };
        fake.requests.length = 0;
        await beforeHook(
          async () => web.hooks.set('1', { ...theirs, secret: 'x', events: [] }),
          other.activate,
        );
        expect([...web.hooks.keys()]).toEqual(['1']);
      });
    });

    it('takes nothing that is not signed with its secret, or for another trigger', async () => {
      const trigger = await active();
      const other = await active();
      const [mine, theirs] = [...web.hooks.values()];
      if (mine === undefined || theirs === undefined) throw new Error('two hooks were installed');
      web.hooks.set(mine.id, { ...mine, secret: theirs.secret });
      web.hooks.set(theirs.id, { ...theirs, secret: undefined });
      const after = web.commit('main');
      const results = await fake.push(web, 'refs/heads/main', undefined, after);
      expect(results.map(({ status }) => status)).toEqual([403, 403]);
      expect([await outcomes(trigger), await outcomes(other)]).toEqual([[], []]);
    });

    it('builds a branch that was pushed back, and again', async () => {
      const trigger = await active();
      const one = await pushed('main');
      const two = await pushed('main');
      const to = async (from: string, at: string) => {
        web.branches.set('main', at);
        await fake.push(web, 'refs/heads/main', from, at);
      };
      await to(two, one);
      await to(one, two);
      await site.settle();
      const made = (await triggers().builds(trigger.id, 10)).map(
        ({ triggerMetadata }) => triggerMetadata?.commit,
      );
      // GitLab tells no commits of a push back, so nothing is built of that, and what was built last is right.
      expect(made.filter((commit) => commit === two)).toHaveLength(service === 'gitlab' ? 1 : 2);
      expect(made[0]).toBe(two);
    });

    it.each(['heads', 'tags'] as const)(
      'builds one of %s that was deleted and is there again',
      async (kind) => {
        const trigger = await active();
        const [at, ref] = [web.branches.get('main') ?? '', `refs/${kind}/x`];
        const set = (there: boolean) => {
          if (kind === 'tags' && there) web.tag('x', at);
          else if (there) web.branches.set('x', at);
          else (kind === 'tags' ? web.tags : web.branches).delete('x');
        };
        for (const there of [true, false, true]) {
          set(there);
          await fake.push(web, ref, there ? undefined : at, there ? at : undefined);
          await site.settle();
        }
        expect((await outcomes(trigger)).map(({ kind: how }) => how)).toEqual([
          'queued',
          'skipped',
          'queued',
        ]);
      },
    );

    it('skips what is not to be built, and says why', async () => {
      const trigger = await active({ branchtag_regex: 'heads/(main|old)' });
      await pushed('main', { message: 'Typo [skip build]' });
      await pushed('feature/x', { files: { a: 'b' } });
      const old = web.commit('old');
      await fake.push(web, 'refs/heads/old', old, undefined);
      await site.settle();
      expect((await outcomes(trigger)).map(({ kind }) => kind)).toEqual(['skipped', 'skipped', 'skipped']);
      expect(await triggers().builds(trigger.id, 10)).toEqual([]);
    });

    it('builds tags, annotated ones at their commit', async () => {
      const trigger = await active();
      const commit = web.branches.get('main') ?? '';
      web.tag('v1.2.3', commit, true);
      await fake.push(web, 'refs/tags/v1.2.3', undefined, commit);
      await site.settle();
      expect(await triggers().builds(trigger.id, 10)).toMatchObject([
        { tags: ['v1.2.3'], source: { sha: commit }, triggerMetadata: { ref: 'refs/tags/v1.2.3' } },
      ]);
    });

    it('builds by hand and by the clock what is there as it was called, and nothing else', async () => {
      const trigger = await active({ cron: [{ schedule: '*/5 * * * *', branch: 'v1' }] });
      const commit = web.branches.get('main') ?? '';
      web.tag('v1', commit);
      const start = async (wish: StartWish) => await triggers().start(trigger.id, wish, 'kim', never);
      for (const wish of [
        { branch: 'v1' },
        { branch: commit },
        { ref: { kind: 'tag', name: 'main' } },
        { ref: { kind: 'branch', name: 'v1' } },
      ] as const)
        await expect(start(wish)).rejects.toMatchObject({ code: 'bad-config' });
      expect(await start({ ref: { kind: 'tag', name: 'v1' } })).toMatchObject({ tags: ['v1'] });
      expect(await start({ branch: 'main' })).toMatchObject({ tags: ['latest', 'main'] });
      expect(await start({ commit })).toMatchObject({ source: { sha: commit } });
      await site.clock.advance(300_000);
      await site.open.background.cron.round();
      await site.settle();
      expect(await outcomes(trigger)).toEqual([{ kind: 'skipped', reason: 'There is no branch v1.' }]);
    });

    it('asks for what a push changed when the payload does not tell', async () => {
      const trigger = await active({ path_filters: ['app/**'] });
      await pushed('main', { files: { 'docs/a.md': 'x' } });
      await pushed('main', { files: { 'app/a.ts': 'x' } });
      await site.settle();
      expect((await outcomes(trigger)).map(({ kind }) => kind)).toEqual(['queued', 'skipped']);
    });

    describe('tells a slow host', () => {
      const shown = async (trigger: Trigger) => {
        const { state, url } = web.statuses.at(-1) ?? {};
        const made = (await triggers().builds(trigger.id, 10)).map(({ id }) => id);
        return [state, made.findIndex((id) => url?.endsWith(id))];
      };
      const started = async (trigger: Trigger) =>
        await triggers().start(trigger.id, { branch: 'main' }, 'kim', never);
      const statusesAsked = () => fake.requests.filter((line) => /^POST .*status/.test(line)).length;

      /** The next status arrives when `release` is called, whoever waits for it by then. */
      async function held(work: () => Promise<unknown>) {
        const gate = Promise.withResolvers<void>();
        const before = statusesAsked();
        fake.fail({ at: /^POST .*status/, status: 200, until: gate.promise });
        const sending = work();
        await expect.poll(statusesAsked).toBe(before + 1);
        return {
          async release() {
            const arrived = web.statuses.length;
            gate.resolve();
            await expect.poll(() => web.statuses.length).toBe(arrived + 1);
            await sending;
          },
        };
      }
      const round = async () => await site.open.background.reporter.round(never);

      it('how the newest build of a commit is, though the end of the one before is still under way', async () => {
        const trigger = await active();
        await started(trigger);
        await report();
        await finish('error');
        const slow = await held(round);
        await started(trigger);
        await report();
        await finish('complete');
        await report();
        await slow.release();
        await report();
        expect(await shown(trigger)).toEqual([words[service].success, 0]);
        expect(await scratch.database.sql.selectFrom('host_reports').selectAll().execute()).toEqual([]);
      });

      it('that a build has ended, though that it waits arrives after everybody gave up', async () => {
        const trigger = await active();
        await started(trigger);
        const slow = await held(round);
        // Longer than a report is anybody's.
        await site.clock.advance(121_000);
        await expect.poll(() => site.counted).toContain('status failed');
        await finish('complete');
        await report();
        await slow.release();
        await site.clock.advance(60_000);
        await report();
        expect(await shown(trigger)).toEqual([words[service].success, 0]);
      });

      it('of a newer build only when what had no answer cannot arrive any more', async () => {
        const trigger = await active();
        await started(trigger);
        const slow = await held(round);
        await site.clock.advance(100_000);
        await expect.poll(() => site.counted).toContain('status failed');
        await started(trigger);
        await report();
        await slow.release();
        await site.clock.advance(31_000);
        await report();
        const [state, build] = await shown(trigger);
        // GitLab keeps a state that is the same, and its link.
        expect([state, build]).toEqual([words[service].pending, service === 'gitlab' ? 1 : 0]);
      });

      it('of all builds of a trigger that is deleted, and who deletes it what it did not take', async () => {
        const [trigger, other] = [await active(), await active()];
        for (let index = 0; index < 60; index += 1) web.commit(`b${index}`);
        for (const { id } of [trigger, other])
          for (let index = 0; index < 60; index += 1)
            await triggers().start(id, { branch: `b${index}` }, 'kim', never);
        await report();
        web.statuses.length = 0;
        // Of one commit it takes nothing any more.
        fake.fail({ at: /^POST .*status/, status: 404, times: 1 });
        const { leftAtHost } = await triggers().remove(trigger.id);
        expect(leftAtHost).toEqual([
          expect.stringMatching(/^1 commit of acme\/web may show a build as pending/),
        ]);
        const ended = new Set(web.statuses.map(({ commit }) => commit));
        expect(ended.size).toBe(59);
        fake.fail({ at: /^POST .*status/, status: 503, times: 1_000 });
        expect((await triggers().remove(other.id)).leftAtHost).toEqual([
          expect.stringMatching(/^60 commits of acme\/web/),
        ]);
      });
    });

    describe('finds pushes whose delivery was lost', () => {
      const look = async (times = 1) => {
        for (let done = 0; done < times; done += 1) {
          await site.clock.advance(6 * 60_000);
          while (await site.open.background.lostPushes.round(never)) {
            // Until none is due.
          }
        }
        await site.settle();
      };
      const commitsOf = async ({ id }: Trigger) =>
        (await triggers().builds(id, 20)).map(({ triggerMetadata }) => triggerMetadata?.commit).reverse();
      const told = async (from: string, to: string) => {
        web.branches.set('main', to);
        expect((await fake.push(web, 'refs/heads/main', from, to))[0]?.status).toBe(200);
      };

      it('also the first one to a repository that was empty', async () => {
        const empty = fake.state.addRepository('acme/empty', { kim: 'admin' });
        const trigger = await active({ build_source: 'acme/empty' });
        await look(2);
        const first = empty.commit('main');
        await look();
        expect(await commitsOf(trigger)).toEqual([]);
        await look(3);
        expect(await commitsOf(trigger)).toEqual([first]);
        // All its branches go, and one is there again.
        empty.branches.clear();
        await look(2);
        const again = empty.commit('main');
        await look(2);
        expect(await commitsOf(trigger)).toEqual([first, again]);
        // What is pushed while the trigger is off is not built, also where nothing was before.
        empty.branches.clear();
        await look(2);
        await triggers().setEnabled(trigger.id, false);
        empty.commit('main');
        await triggers().setEnabled(trigger.id, true);
        await look(3);
        expect(await commitsOf(trigger)).toHaveLength(2);
      });

      it('also one back to where the last look saw the branch, as often as that happens', async () => {
        const trigger = await active();
        const one = await pushed('main');
        await look();
        const two = await pushed('main');
        // Nobody hears of this.
        web.branches.set('main', one);
        await look(2);
        expect(await commitsOf(trigger)).toEqual([one, two, one]);
        const three = web.commit('main');
        await told(one, three);
        await site.settle();
        web.branches.set('main', one);
        await look(3);
        expect(await commitsOf(trigger)).toEqual([one, two, one, three, one]);
        await look(3);
        expect(await commitsOf(trigger)).toHaveLength(5);
      });

      it('once when the delivery comes after all, and not when it came before', async () => {
        const trigger = await active();
        await look();
        const before = web.branches.get('main') ?? '';
        const late = web.commit('main');
        await look(2);
        await told(before, late);
        await look(3);
        expect(await commitsOf(trigger)).toEqual([late]);
        const early = await pushed('main');
        await look(3);
        expect(await commitsOf(trigger)).toEqual([late, early]);
        expect((await outcomes(trigger)).map(({ kind }) => kind)).toEqual(['queued', 'skipped', 'queued']);
        // One that was found and could not be built does not stand in the way of its delivery.
        const lost = web.commit('main');
        await look(2);
        await scratch.database.sql
          .updateTable('trigger_deliveries')
          .set({ outcome: 'failed', reason: 'The host did not answer.' })
          .where('commit_sha', '=', lost)
          .execute();
        await told(early, lost);
        await site.settle();
        expect((await outcomes(trigger)).map(({ kind }) => kind).slice(0, 2)).toEqual(['queued', 'failed']);
      });

      it('also one that was delivered and could not be built', async () => {
        const trigger = await active();
        await look();
        const [from, to] = [web.branches.get('main') ?? '', web.commit('main')];
        await told(from, to);
        const end = async (values: { outcome?: string; reason?: string; due_at?: number }) =>
          await scratch.database.sql
            .updateTable('trigger_deliveries')
            .set(values)
            .where('trigger_id', '=', trigger.id)
            .execute();
        // It waits for room in the queue, and finds none within a day.
        await end({ due_at: site.clock.now() + 24 * 3_600_000 });
        await look(3);
        expect(await outcomes(trigger)).toEqual([{ kind: 'waiting' }]);
        await end({ outcome: 'failed', reason: 'The namespace has too many builds waiting.' });
        await look(3);
        expect((await triggers().deliveries(trigger.id, 9)).map(({ by }) => by)).toEqual(['poll', 'hook']);
        expect(await commitsOf(trigger)).toEqual([to]);
      });

      it.each(['kim', 'team'])('but asks for nothing while %s is switched off', async (username) => {
        const trigger = await active();
        await look();
        const { sql } = scratch.database;
        await sql
          .insertInto('users')
          .values({ username, password_hash: '', created_at: 0, disabled: 1 })
          .execute();
        const asked = fake.requests.length;
        web.commit('main');
        await look(3);
        expect(fake.requests.slice(asked)).toEqual([]);
        await sql.updateTable('users').set({ disabled: 0 }).where('username', '=', username).execute();
        await look(3);
        expect(await outcomes(trigger)).toEqual([]);
        const lost = web.commit('main');
        await look(2);
        expect(await commitsOf(trigger)).toEqual([lost]);
      });
    });

    it('waits for a host that says "not so fast"', async () => {
      const trigger = await active({ path_filters: ['app/**'] });
      const limited = { status: 429, headers: { 'retry-after': '120' }, times: 100 };
      // One of the requests that each host needs for this push; GitHub's payload says it all, but for people.
      await pushed('main', { files: { 'app/a.ts': 'x' } });
      fake.fail({ at: /./, ...limited });
      await site.settle();
      expect((await outcomes(trigger)).map(({ kind }) => kind)).toEqual(['waiting']);
      fake.forgive();
      await site.clock.advance(60_000);
      await site.settle();
      expect((await outcomes(trigger)).map(({ kind }) => kind)).toEqual(['waiting']);
      await site.clock.advance(60_000);
      await site.settle();
      expect((await outcomes(trigger)).map(({ kind }) => kind)).toEqual(['queued']);
    });
  });
}
