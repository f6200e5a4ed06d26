import { createHmac, randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OpenScratch, ScratchDatabase } from '../../test/harness/scratch-database.ts';
import {
  info,
  never,
  posted,
  push,
  siteRepository,
  sourceUrl,
  type TriggerSite,
  triggerSite,
} from '../../test/harness/trigger-site.ts';
import type { Build } from '../model/build.ts';
import { splitSecrets } from '../model/source-credentials.ts';
import type { HookDelivery } from './git-host.ts';
import { KnownRefs } from './known-refs.ts';
import { SqlDeliveryStore } from './sql-delivery-store.ts';
import type { Trigger } from './trigger.ts';
import type { TriggerConfig } from './trigger-config.ts';

/** What comes of deliveries, on every database. */
export function deliveriesSuite(name: string, open: OpenScratch): void {
  describe(`deliveries on ${name}`, () => {
    let scratch: ScratchDatabase;
    let site: TriggerSite;
    let trigger: Trigger;
    let token: string;

    beforeEach(async () => {
      scratch = await open();
      site = await triggerSite(scratch);
      ({ trigger, token } = await site.custom());
    });
    afterEach(async () => {
      await site[Symbol.asyncDispose]();
      await scratch[Symbol.asyncDispose]();
    });

    const deliver = async (delivery: HookDelivery, to = trigger, as: string | undefined = token) =>
      await site.open.triggers.deliver(to.id, delivery, as);
    const list = async (of = trigger) => await site.open.triggers.deliveries(of.id, 100);
    const builds = async (of = trigger) => await site.open.triggers.builds(of.id, 100);

    async function built(
      delivery: HookDelivery,
      config?: Partial<TriggerConfig>,
    ): Promise<Build | undefined> {
      if (config !== undefined) ({ trigger, token } = await site.custom(config));
      await deliver(delivery);
      await site.settle();
      const [first] = await builds();
      return first;
    }

    describe('what may not come in', () => {
      const refused = async (to: string, delivery: HookDelivery, as: string | undefined) => {
        const { deliver: take } = site.open.triggers;
        return await take.call(site.open.triggers, to, delivery, as).then(
          () => 'taken',
          (error) => error.code,
        );
      };

      it('is for a trigger that is not there', async () => {
        expect(await refused(randomUUID(), push('refs/heads/main'), token)).toBe('unknown');
        expect(await refused("x' or 1=1", push('refs/heads/main'), token)).toBe('unknown');
      });

      it('proves nothing: no token, a wrong one, a wrong signature, or the token of another trigger', async () => {
        const other = await site.custom();
        for (const as of [undefined, '', 'wrong', `${token}x`, other.token])
          expect(await refused(trigger.id, push('refs/heads/main'), as)).toBe('forbidden');
        const signed = posted(push('refs/heads/main').body, {
          'x-slipway-signature-256': `sha256=${'0'.repeat(64)}`,
        });
        expect(await refused(trigger.id, signed, token)).toBe('forbidden');
        expect(await list()).toEqual([]);
      });

      it('may be signed with the token instead', async () => {
        const { body } = push('refs/heads/main');
        const signature = createHmac('sha256', token).update(body).digest('hex');
        const signed = {
          headers: { 'content-type': 'application/json', 'x-slipway-signature-256': `sha256=${signature}` },
          body,
        };
        expect(await refused(trigger.id, signed, undefined)).toBe('taken');
      });

      it('is for a trigger that is not active', async () => {
        const { id } = await site.open.triggers.create(siteRepository, {
          service: 'custom-git',
          user: 'ann',
        });
        expect(await refused(id, push('refs/heads/main'), token)).toBe('forbidden');
      });

      it.each([
        ['the owner of the namespace', 'team'],
        ['who connected the trigger', 'ann'],
      ])('is for builds of somebody who is switched off: %s', async (_who, username) => {
        const { sql } = site.database;
        const user = { password_hash: '', created_at: 0 };
        await sql
          .insertInto('users')
          .values(['team', 'ann'].map((each) => ({ ...user, username: each })))
          .execute();
        const isEnabled = async (enabled: boolean) => {
          const disabled = enabled ? 0 : 1;
          await sql.updateTable('users').set({ disabled }).where('username', '=', username).execute();
        };
        await isEnabled(false);
        expect(await refused(trigger.id, push('refs/heads/main'), token)).toBe('disabled');
        const reason = expect.stringContaining(`The user ${username},`);
        expect(await list()).toMatchObject([{ outcome: { kind: 'refused', reason } }]);
        await expect(
          site.open.triggers.start(trigger.id, { branch: 'main' }, 'kim', never),
        ).rejects.toMatchObject({ code: 'disabled' });
        // What is in already, and what nobody sends: each is asked about again before it is built.
        await isEnabled(true);
        await deliver(push('refs/heads/dev'));
        ({ trigger } = await site.custom({ cron: [{ schedule: '0 * * * *', branch: 'main' }] }));
        site.clock.advance(3_600_000);
        await site.open.background.cron.round();
        await isEnabled(false);
        await site.settle();
        expect(await list()).toMatchObject([{ by: 'cron', outcome: { kind: 'refused', reason } }]);
        const all = await sql.selectFrom('trigger_deliveries').select(['ref', 'outcome']).execute();
        expect(all.map(({ outcome }) => outcome)).toEqual(['refused', 'refused', 'refused']);
        expect(await sql.selectFrom('builds').selectAll().execute()).toEqual([]);
        await isEnabled(true);
        expect(await refused(trigger.id, push('refs/heads/new'), 'wrong')).toBe('forbidden');
      });

      it('is for one that is switched off, and the list says so; it is welcome when that is over', async () => {
        await site.open.triggers.setEnabled(trigger.id, false);
        const delivery = push('refs/heads/main');
        expect(await refused(trigger.id, delivery, token)).toBe('disabled');
        expect(await list()).toMatchObject([
          { outcome: { kind: 'refused', reason: expect.stringContaining('switched off') } },
        ]);
        await site.open.triggers.setEnabled(trigger.id, true);
        expect(await refused(trigger.id, delivery, token)).toBe('taken');
        await site.settle();
        expect(await builds()).toHaveLength(1);
      });

      it.each([
        [
          'another type',
          { headers: { 'content-type': 'text/plain' }, body: push('refs/heads/main').body },
          'wrong-type',
        ],
        ['no type', { headers: {}, body: push('refs/heads/main').body }, 'wrong-type'],
        ['no JSON', posted('{"a":'), 'malformed'],
        [
          'no text',
          { headers: { 'content-type': 'application/json' }, body: Buffer.of(0xff, 0xfe) },
          'malformed',
        ],
        ['a list', posted('[]'), 'malformed'],
        ['nothing', posted(''), 'malformed'],
        ['a commit that is none', push('refs/heads/main', { commit: '$(id)' }), 'malformed'],
        ['JSON 100,000 deep', posted(`${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`), 'malformed'],
        ['arrays 100,000 deep', posted('['.repeat(100_000)), 'malformed'],
        [
          'too much',
          { headers: { 'content-type': 'application/json' }, body: Buffer.alloc(25 * 1024 * 1024 + 1, 0x20) },
          'too-large',
        ],
      ])('is %s', async (_name, delivery, code) => {
        expect(await refused(trigger.id, delivery, token)).toBe(code);
        expect(await list()).toMatchObject([{ outcome: { kind: 'refused' }, repeats: 0 }]);
        await site.settle();
        expect(await builds()).toEqual([]);
      });

      it('may say things twice or name prototypes: nothing comes of it', async () => {
        const body = `{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"commit":"aaaaaaa","commit":"bbbbbbb","ref":"refs/heads/main","default_branch":"main"}`;
        expect(await refused(trigger.id, posted(body), token)).toBe('taken');
        expect(({} as Record<string, unknown>).polluted).toBeUndefined();
        await site.settle();
        expect((await builds()).map(({ displayName }) => displayName)).toEqual(['bbbbbbb']);
      });

      describe('is one more than the queue of the namespace takes', () => {
        beforeEach(async () => {
          await site[Symbol.asyncDispose]();
          await scratch[Symbol.asyncDispose]();
          scratch = await open();
          site = await triggerSite(scratch, { settings: { maxQueuedPerNamespace: 2 } });
          ({ trigger, token } = await site.custom());
        });
        const makeRoom = async () => {
          for (const { id } of await builds()) await site.queue.cancel(id, 'ann');
        };

        it('and is sent again by a person when there is room', async () => {
          for (const ref of ['a', 'b']) await deliver(push(`refs/heads/${ref}`));
          await site.settle();
          expect(await refused(trigger.id, push('refs/heads/c'), token)).toBe('queue-full');
          expect(await builds()).toHaveLength(2);
          // What asks for no build needs no room.
          expect(await refused(trigger.id, push('refs/heads/c', { commit: '0'.repeat(40) }), token)).toBe(
            'taken',
          );
          const full = (await list()).find(({ outcome }) => outcome.kind === 'refused');
          expect(full).toMatchObject({ ref: 'refs/heads/c' });
          await makeRoom();
          if (full !== undefined) await site.open.triggers.redeliver(trigger.id, full.id, 'bob');
          await site.settle();
          expect((await builds()).map(({ triggerMetadata }) => triggerMetadata?.ref)).toContain(
            'refs/heads/c',
          );
        });

        it('after it was answered: it waits for a day', async () => {
          for (const ref of ['a', 'b', 'c']) await deliver(push(`refs/heads/${ref}`));
          await site.settle();
          for (let hour = 0; hour < 23; hour += 1) {
            await site.clock.advance(3_600_000);
            await site.settle();
          }
          // Which of them found no room is nobody's promise: they are of different refs.
          const kinds = (await list()).map(({ outcome }) => outcome.kind);
          expect(kinds.sort()).toEqual(['queued', 'queued', 'waiting']);
          await makeRoom();
          await site.clock.advance(120_000);
          await site.settle();
          expect(await builds()).toHaveLength(3);
        });

        it('for good: the look for lost pushes finds it', async () => {
          const refs = new KnownRefs(site.database);
          for (const ref of ['a', 'b', 'c']) await deliver(push(`refs/heads/${ref}`));
          await site.settle();
          const left = (await list()).find(({ outcome }) => outcome.kind === 'waiting');
          const delivered = async () => await refs.delivered(trigger.id, left?.ref ?? '', left?.commit ?? '');
          expect(await delivered()).toBe('waits');
          await site.clock.advance(25 * 3_600_000);
          await site.settle();
          expect((await list()).find(({ id }) => id === left?.id)).toMatchObject({
            outcome: { kind: 'failed' },
          });
          expect(await delivered()).toBe('no');
        });
      });

      it('is anything while the server is in read-only mode', async () => {
        await site[Symbol.asyncDispose]();
        await scratch[Symbol.asyncDispose]();
        scratch = await open();
        site = await triggerSite(scratch, { settings: { readOnly: true } });
        ({ trigger, token } = await site.custom());
        expect(await refused(trigger.id, push('refs/heads/main'), token)).toBe('read-only');
        expect(await list()).toEqual([]);
      });
    });

    describe('the same delivery', () => {
      it('200 times in parallel makes one build, and is counted', async () => {
        const delivery = push('refs/heads/main', info('One'));
        const ids = await Promise.all(Array.from({ length: 200 }, async () => await deliver(delivery)));
        expect(new Set(ids.map((each) => each.delivery)).size).toBe(1);
        await Promise.all([site.settle(), site.settle()]);
        expect(await builds()).toHaveLength(1);
        expect(await list()).toMatchObject([{ repeats: 199, outcome: { kind: 'queued' } }]);
        await deliver(delivery);
        await site.settle();
        expect(await builds()).toHaveLength(1);
      });

      it('is known by its name too', async () => {
        const named = (ref: string) => ({
          ...push(ref),
          headers: { ...push(ref).headers, 'x-slipway-delivery': 'one' },
        });
        await deliver(named('refs/heads/a'));
        await deliver(named('refs/heads/b'));
        expect(await list()).toMatchObject([{ name: 'one', ref: 'refs/heads/a', repeats: 1 }]);
      });

      it('is another one once the branch was elsewhere, or a day has passed', async () => {
        const [one, two] = [
          push('refs/heads/main', { commit: 'a'.repeat(40) }),
          push('refs/heads/main', { commit: 'b'.repeat(40) }),
        ];
        for (const each of [one, two, one]) await deliver(each);
        await site.settle();
        expect((await builds()).map(({ displayName }) => displayName)).toEqual([
          'aaaaaaa',
          'bbbbbbb',
          'aaaaaaa',
        ]);
        await site.clock.advance(25 * 3_600_000);
        await deliver(one);
        await site.settle();
        expect(await builds()).toHaveLength(4);
      });

      it('that is signed is never another one, whatever its name: the signature is of the body alone', async () => {
        const signed = (commit: string, name?: string, more: object = {}): HookDelivery => {
          const { headers, body } = push('refs/heads/main', { commit: commit.repeat(40), ...more });
          const signature = `sha256=${createHmac('sha256', token).update(body).digest('hex')}`;
          const named = name === undefined ? {} : { 'x-slipway-delivery': name };
          return { headers: { ...headers, 'x-slipway-signature-256': signature, ...named }, body };
        };
        const take = async (delivery: HookDelivery) =>
          await site.open.triggers.deliver(trigger.id, delivery, undefined);
        for (const commit of ['a', 'b', 'a']) await take(signed(commit));
        await site.clock.advance(25 * 3_600_000);
        await take(signed('a'));
        await site.settle();
        const names = async () => (await builds()).map(({ displayName }) => displayName);
        expect(await names()).toEqual(['bbbbbbb', 'aaaaaaa']);
        await take(signed('a', 'invented'));
        await site.settle();
        expect(await names()).toEqual(['bbbbbbb', 'aaaaaaa']);
        expect((await list()).map(({ repeats }) => repeats)).toEqual([0, 3]);
        await take(signed('a', undefined, { sent_at: 2 }));
        await site.settle();
        expect(await names()).toEqual(['aaaaaaa', 'bbbbbbb', 'aaaaaaa']);
      });

      it('under the same name is no other one, wherever the branch was since', async () => {
        const named = (commit: string, name: string): HookDelivery => {
          const { headers, body } = push('refs/heads/main', { commit: commit.repeat(40) });
          return { headers: { ...headers, 'x-slipway-delivery': name }, body };
        };
        for (const [commit, name] of [
          ['a', 'one'],
          ['b', 'two'],
          ['a', 'one'],
        ] as const)
          await deliver(named(commit, name));
        expect((await list()).map(({ name, repeats }) => [name, repeats])).toEqual([
          ['two', 0],
          ['one', 1],
        ]);
      });

      it('that is signed is none but the first also when the list has forgotten it', async () => {
        const { headers, body } = push('refs/heads/main');
        const signature = `sha256=${createHmac('sha256', token).update(body).digest('hex')}`;
        const signed = { headers: { ...headers, 'x-slipway-signature-256': signature }, body };
        const { triggers } = site.open;
        const store = new SqlDeliveryStore({ database: site.database, clock: site.clock });
        const again = async () => {
          const answer = await triggers.deliver(trigger.id, signed, undefined);
          await site.settle();
          return answer;
        };
        await again();
        for (let index = 0; index < 200; index += 1) await deliver(push(`refs/heads/${index}`));
        await site.settle();
        await site.clock.advance(61 * 60_000);
        expect(await store.prune(never)).toBe(1);
        const count = async () =>
          (await site.database.sql.selectFrom('builds').select('id').execute()).length;
        const before = await count();
        expect(await again()).toEqual({ note: 'Okay' });
        await site.clock.advance(31 * 24 * 3_600_000);
        await store.prune(never);
        expect(await list()).toEqual([]);
        for (const days of [0, 300]) {
          await site.clock.advance(days * 24 * 3_600_000);
          await store.prune(never);
          await again();
        }
        expect(await count()).toBe(before);
        // With the token somebody may mean it again.
        await deliver({ headers, body });
        await site.settle();
        expect(await count()).toBe(before + 1);
        const past = async () =>
          await site.database.sql.selectFrom('past_deliveries').select(['digest', 'received_at']).execute();
        expect(await past()).toHaveLength(201);
        // After a year nothing is known of it.
        await site.clock.advance(400 * 24 * 3_600_000);
        await store.prune(never);
        expect(await past()).toEqual([]);
        await again();
        expect(await count()).toBe(before + 2);
      });

      it('is remembered of the last 10,000 that left the list', async () => {
        const now = site.clock.now();
        await site.database.sql
          .insertInto('past_deliveries')
          .values(
            Array.from({ length: 10_050 }, (_, index) => ({
              trigger_id: trigger.id,
              digest: String(index),
              received_at: now - index,
            })),
          )
          .execute();
        for (let index = 0; index < 201; index += 1) await deliver(push(`refs/heads/${index}`));
        await site.settle();
        await site.clock.advance(61 * 60_000);
        await new SqlDeliveryStore({ database: site.database, clock: site.clock }).prune(never);
        const past = await site.database.sql
          .selectFrom('past_deliveries')
          .select('digest')
          .orderBy('received_at')
          .execute();
        expect(past).toHaveLength(10_000);
        // The oldest are forgotten: the one of now joined them.
        expect(past[0]).toEqual({ digest: '9998' });
      });

      it('to another trigger is another one', async () => {
        const other = await site.custom();
        await deliver(push('refs/heads/main'));
        await deliver(push('refs/heads/main'), other.trigger, other.token);
        await site.settle();
        expect([await builds(), await builds(other.trigger)].map((all) => all.length)).toEqual([1, 1]);
      });
    });

    describe('builds', () => {
      it('have what the configuration and the payload say', async () => {
        const build = await built(push('refs/heads/main', { commit: 'c'.repeat(40), ...info('Hello') }), {
          dockerfile_path: '/app/Dockerfile',
          context: '/app',
          build_args: { A: '1' },
          lfs: true,
          platforms: ['linux/arm64'],
          tag_templates: [`b-\${commit_info.short_sha}`],
        });
        expect(build).toMatchObject({
          repository: siteRepository,
          source: { kind: 'git', url: sourceUrl, sha: 'c'.repeat(40), lfs: true },
          context: '/app',
          dockerfilePath: '/app/Dockerfile',
          tags: ['b-ccccccc', 'latest', 'main'],
          displayName: 'ccccccc',
          buildArgs: { A: '1' },
          platforms: ['linux/arm64'],
          push: true,
          triggerId: trigger.id,
          triggerMetadata: {
            commit: 'c'.repeat(40),
            ref: 'refs/heads/main',
            commit_info: { message: 'Hello' },
          },
        });
        expect(await list()).toMatchObject([{ outcome: { kind: 'queued', build: build?.id } }]);
        expect(site.counted.filter((each) => each === 'queued')).toHaveLength(1);
      });

      it('get the key of the trigger and its secrets, which nobody reads again', async () => {
        const { triggers } = site.open;
        await triggers.setSecret(trigger.id, 'npm', Buffer.from('hunter2'));
        const build = await built(push('refs/heads/main'));
        const { secrets, credentials } = splitSecrets(
          build === undefined ? [] : await site.queue.secrets(build.id),
        );
        expect(secrets.map(({ id, value }) => [id, Buffer.from(value).toString()])).toEqual([
          ['npm', 'hunter2'],
        ]);
        expect(credentials.privateKey).toMatch(/^-----BEGIN OPENSSH PRIVATE KEY-----/);
        expect(await triggers.secretIds(trigger.id)).toEqual(['npm']);
        expect(await triggers.setSecret(trigger.id, 'npm', undefined)).toBe(true);
        expect(await triggers.secretIds(trigger.id)).toEqual([]);
        await expect(triggers.setSecret(trigger.id, 'git:private-key', Buffer.of(1))).rejects.toMatchObject({
          code: 'bad-config',
        });
      });

      it('of payloads of Gogs, which name no head commit, are of the commit they push', async () => {
        const payload = {
          ref: 'refs/heads/main',
          before: 'a'.repeat(40),
          after: 'b'.repeat(40),
          commits: [],
          repository: { ssh_url: 'git@gogs.example.com:team/app.git', default_branch: 'main' },
        };
        expect((await built(posted(payload)))?.triggerMetadata).toMatchObject({ commit: 'b'.repeat(40) });
        await deliver(posted({ ...payload, after: '0'.repeat(40) }));
        await deliver(posted({ ...payload, head_commit: null }));
        expect((await list()).map(({ outcome }) => outcome.kind)).toEqual(['skipped', 'skipped', 'queued']);
      });

      it.each([
        ['a message', push('refs/heads/main', info('Docs [skip build]')), {}, /skip build/],
        ['the expression', push('refs/heads/dev'), { branchtag_regex: 'heads/main' }, /does not match/],
        ['a deleted branch', push('refs/heads/main', { commit: '0'.repeat(40) }), {}, /./],
      ])('are not made because of %s, and the list says so', async (_name, delivery, config, reason) => {
        expect(await built(delivery, config)).toBeUndefined();
        expect(await list()).toMatchObject([
          { outcome: { kind: 'skipped', reason: expect.stringMatching(reason) } },
        ]);
      });

      it('of one ref supersede each other when only the newest is wanted', async () => {
        ({ trigger, token } = await site.custom({ newest_only: true }));
        for (const commit of ['1', '2', '3'])
          await deliver(push('refs/heads/main', { commit: commit.repeat(40) }));
        await deliver(push('refs/heads/dev', { commit: 'd'.repeat(40) }));
        await site.settle();
        const made = (await builds()).map(({ displayName, phase }) => [displayName, phase]);
        expect(made.sort()).toEqual([
          ['1111111', 'cancelled'],
          ['2222222', 'cancelled'],
          ['3333333', 'waiting'],
          ['ddddddd', 'waiting'],
        ]);
      });

      it('of one ref are asked for in the order of its pushes', async () => {
        const commits = Array.from({ length: 30 }, (_, index) => index.toString(16).padStart(40, 'a'));
        for (const commit of commits) await deliver(push('refs/heads/main', { commit }));
        await Promise.all([site.settle(), site.settle(), site.settle()]);
        const made = (await builds()).map(({ triggerMetadata }) => triggerMetadata?.commit);
        expect(made.reverse()).toEqual(commits);
      });

      it('of one ref are asked for in that order when an older one has waited longer than the others of a backlog', async () => {
        const commits = ['a', 'b'].map((each) => each.repeat(40));
        const store = new SqlDeliveryStore(site);
        for (const commit of commits) await deliver(push('refs/heads/main', { commit }));
        const [younger, older] = await list();
        if (younger === undefined || older === undefined) throw new Error('two were delivered');
        // Tried again later than the one behind it, and later than a whole round of others.
        for (let index = 0; index < 70; index += 1) await deliver(push(`refs/heads/b${index}`));
        await store.postpone(older.id, site.clock.now() + 5_000, 'The host was away.');
        await site.clock.advance(6_000);
        const claimed: string[] = [];
        for (
          let works = await store.claim(64, 120_000);
          works.length > 0;
          works = await store.claim(64, 120_000)
        ) {
          expect(works.length).toBeLessThanOrEqual(64);
          claimed.push(...works.map(({ id }) => id));
        }
        expect(claimed).toHaveLength(72);
        expect(claimed.filter((id) => id === older.id || id === younger.id)).toEqual([older.id, younger.id]);
      });

      it('of one ref are taken up to the one that is not due', async () => {
        const store = new SqlDeliveryStore(site);
        for (const commit of ['a', 'b', 'c'])
          await deliver(push('refs/heads/main', { commit: commit.repeat(40) }));
        const [, second] = await list();
        if (second === undefined) throw new Error('three were delivered');
        await store.postpone(second.id, site.clock.now() + 5_000, undefined);
        const commits = async () =>
          (await store.claim(64, 120_000)).map(({ event }) =>
            'metadata' in event ? event.metadata.commit : '',
          );
        expect(await commits()).toEqual(['a'.repeat(40)]);
        await site.clock.advance(6_000);
        // The first has not ended yet.
        expect(await commits()).toEqual([]);
      });

      it('carry the trace of the delivery', async () => {
        const traceParent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
        await site.open.triggers.deliver(trigger.id, push('refs/heads/main'), token, traceParent);
        await site.settle();
        expect((await builds())[0]?.traceParent).toContain('a'.repeat(32));
      });

      it('are made by another manager when the one that took the delivery died', async () => {
        await deliver(push('refs/heads/main'));
        expect(await new SqlDeliveryStore(site).claim(10, 120_000)).toHaveLength(1);
        await site.settle();
        expect(await builds()).toEqual([]);
        await site.clock.advance(121_000);
        await site.settle();
        expect(await builds()).toHaveLength(1);
      });

      it('are made in the background, and what is under way is awaited', async () => {
        site.open.start();
        await deliver(push('refs/heads/main'));
        await expect.poll(async () => (await builds()).length).toBe(1);
        await site.open.stop();
        expect(await list()).toMatchObject([{ outcome: { kind: 'queued' } }]);
      });
    });

    describe('sent again', () => {
      it('a delivery makes another build that refers to it', async () => {
        await built(push('refs/heads/main'));
        const [first] = await list();
        if (first === undefined) throw new Error('nothing was delivered');
        const again = await site.open.triggers.redeliver(trigger.id, first.id, 'bob');
        expect(again).toMatchObject({ by: 'person', redeliveryOf: first.id, outcome: { kind: 'waiting' } });
        await site.settle();
        expect((await builds()).map(({ manualUser }) => manualUser)).toEqual(['bob', undefined]);
      });

      it('no old one while a newer one waits, where the newest only is built', async () => {
        ({ trigger, token } = await site.custom({ newest_only: true }));
        const { triggers } = site.open;
        const take = async (commit: string) => {
          await deliver(push('refs/heads/main', { commit: commit.repeat(40) }));
          await site.settle();
        };
        for (const commit of ['a', 'b']) await take(commit);
        const old = (await list()).find(({ commit }) => commit?.startsWith('a'));
        if (old === undefined) throw new Error('nothing was delivered');
        const again = async (id = old.id) => await triggers.redeliver(trigger.id, id, 'bob');
        await expect(again()).rejects.toMatchObject({ code: 'bad-config' });
        await site.settle();
        const phases = async () => (await builds()).map(({ displayName, phase }) => [displayName[0], phase]);
        expect(await phases()).toEqual([
          ['b', 'waiting'],
          ['a', 'cancelled'],
        ]);
        // What was sent again is no newer than it was.
        const [newest] = await builds();
        if (newest !== undefined) await site.queue.cancel(newest.id, 'bob');
        const { id } = await again();
        await site.settle();
        await take('c');
        await expect(again(id)).rejects.toMatchObject({ code: 'bad-config' });
        expect((await phases())[0]).toEqual(['c', 'waiting']);
      });

      it('only what is there and asks for a build', async () => {
        await built(push('refs/heads/main', { commit: '0'.repeat(40) }));
        const [skipped] = await list();
        if (skipped === undefined) throw new Error('nothing was delivered');
        const { triggers } = site.open;
        await expect(triggers.redeliver(trigger.id, skipped.id, 'bob')).rejects.toMatchObject({
          code: 'bad-config',
        });
        const other = await site.custom();
        await expect(triggers.redeliver(other.trigger.id, skipped.id, 'bob')).rejects.toMatchObject({
          code: 'unknown',
        });
      });
    });

    it('pages of the list do not overlap', async () => {
      for (let index = 0; index < 7; index += 1) await deliver(push(`refs/heads/b${index}`));
      const seen: (string | undefined)[] = [];
      for (let before: Awaited<ReturnType<typeof list>>[number] | undefined; ; ) {
        const page = await site.open.triggers.deliveries(trigger.id, 3, before?.id);
        seen.push(...page.map(({ ref }) => ref));
        before = page.at(-1);
        if (before === undefined) break;
      }
      expect(seen).toEqual([6, 5, 4, 3, 2, 1, 0].map((index) => `refs/heads/b${index}`));
    });

    it('old ones go, but the last 200 and those of the last hour stay', async () => {
      for (let index = 0; index < 205; index += 1) await deliver(push(`refs/heads/b${index}`));
      await site.settle();
      const deliveries = new SqlDeliveryStore(site);
      expect(await deliveries.prune(never)).toBe(0);
      await site.clock.advance(2 * 3_600_000);
      expect(await deliveries.prune(never)).toBe(5);
      await site.clock.advance(31 * 24 * 3_600_000);
      expect(await deliveries.prune(never)).toBe(200);
      expect(await list()).toEqual([]);
    });

    describe('texts that are cut, or cannot be stored', () => {
      it.each([
        ['heads/main', `refs/heads/a${'💩'.repeat(100)}`],
        [`${'a'.repeat(199)}💩b`, 'refs/heads/x'],
      ])('end a push that %j passes over', async (branchtag_regex, ref) => {
        expect(await built(push(ref), { branchtag_regex })).toBeUndefined();
        expect(await list()).toMatchObject([{ outcome: { kind: 'skipped' } }]);
      });

      it('of build arguments that were stored once keep nothing waiting, neither their own nor others', async () => {
        const bad = await site.custom();
        await site.database.sql
          .updateTable('triggers')
          .set({ config_json: JSON.stringify({ ...bad.trigger.config, build_args: { A: 'x\ud800\0' } }) })
          .where('id', '=', bad.trigger.id)
          .execute();
        await deliver(push('refs/heads/main'), bad.trigger, bad.token);
        await deliver(push('refs/heads/main'));
        await site.settle();
        expect(await builds()).toHaveLength(1);
        expect(await builds(bad.trigger)).toMatchObject([{ buildArgs: { A: 'x\ufffd\ufffd' } }]);
      });

      it('of a payload are kept as what can be', async () => {
        const delivery = push('refs/heads/main', info('half \ud800 and \0 zero'));
        expect(await built(delivery)).toMatchObject({
          triggerMetadata: { commit_info: { message: 'half \ufffd and \ufffd zero' } },
        });
      });
    });

    it('builds every push by path filters that were stored once and are too much together', async () => {
      const heavy = await site.custom();
      const path_filters = Array.from({ length: 100 }, (_, at) => `*a${'?'.repeat(490 - at)}z`);
      await site.database.sql
        .updateTable('triggers')
        .set({ config_json: JSON.stringify({ ...heavy.trigger.config, path_filters }) })
        .where('id', '=', heavy.trigger.id)
        .execute();
      const commit = {
        id: 'c'.repeat(40),
        message: 'm',
        timestamp: '2026-01-01T00:00:00Z',
        url: 'https://x/y',
      };
      const { body } = posted({
        ref: 'refs/heads/main',
        before: 'b'.repeat(40),
        after: commit.id,
        repository: { full_name: 'x/y', ssh_url: 'git@example.com:x/y.git', default_branch: 'main' },
        head_commit: commit,
        commits: [{ added: Array.from({ length: 100 }, () => 'ab'.repeat(1_000)) }],
      });
      await deliver(posted(body.toString()), heavy.trigger, heavy.token);
      await site.settle();
      expect(await builds(heavy.trigger)).toHaveLength(1);
    });
  });
}
