import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OpenScratch, ScratchDatabase } from '../../test/harness/scratch-database.ts';
import {
  info,
  never,
  push,
  siteRepository,
  sourceUrl,
  type TriggerSite,
  triggerSite,
} from '../../test/harness/trigger-site.ts';
import type { Outcome } from '../model/attempt.ts';
import type { Build } from '../model/build.ts';
import { newTriggerId, type Trigger } from './trigger.ts';

const failed: Outcome = { kind: 'error', fault: { code: 'builderror', message: 'A step failed.' } };
const broken: Outcome = {
  kind: 'internal-error',
  refunded: false,
  fault: { code: 'diskfull', message: 'Full.' },
};

/** The life of triggers, on every database. */
export function triggersSuite(name: string, open: OpenScratch): void {
  describe(`triggers on ${name}`, () => {
    let scratch: ScratchDatabase;
    let site: TriggerSite;

    beforeEach(async () => {
      scratch = await open();
      site = await triggerSite(scratch);
    });
    afterEach(async () => {
      await site[Symbol.asyncDispose]();
      await scratch[Symbol.asyncDispose]();
    });

    const triggers = () => site.open.triggers;
    const origin = 'https://slipway.example.com';
    const config = { build_source: sourceUrl };
    const start = async (trigger: Trigger, commit: string) =>
      await triggers().start(trigger.id, { commit }, 'ann', never);

    /** Ends a build as its worker would, over as many tries as it has. */
    async function end(build: Build, outcome: Outcome): Promise<void> {
      for (let tries = 0; tries < 5; tries += 1) {
        const [attempt] = await site.queue.claim({ manager: 'm1', limit: 1, capacity: 100, lease: 60_000 });
        if (attempt === undefined) break;
        expect(attempt.buildId).toBe(build.id);
        const finished = await site.queue.finish(attempt.id, attempt.epoch, outcome, 0);
        if (finished.kind === 'publish')
          await site.queue.publish(build.id, [attempt], {
            digest: `sha256:${'0'.repeat(64)}` as never,
            size: 1,
          });
        if (finished.kind !== 'retry') break;
      }
    }

    async function fail(trigger: Trigger, outcomes: readonly Outcome[]): Promise<void> {
      for (const outcome of outcomes) await end(await start(trigger, 'main'), outcome);
    }

    it('are made inactive, activated once, and found in their repository only', async () => {
      const made = await triggers().create(siteRepository, { service: 'custom-git', user: 'ann' });
      expect(made).toMatchObject({
        active: false,
        enabled: true,
        connectedUser: 'ann',
        createdAt: site.clock.now(),
      });
      await expect(start(made, 'main')).rejects.toMatchObject({ code: 'not-active' });
      await expect(triggers().configure(made.id, {})).rejects.toMatchObject({ code: 'not-active' });
      const activated = await triggers().activate(
        made.id,
        { config: { ...config, tag_templates: [''] }, pullRobot: 'team+ci', origin },
        never,
      );
      expect(activated).toMatchObject({
        trigger: { active: true, pullRobot: 'team+ci', config },
        faults: [expect.stringContaining('tag template')],
        credentials: [
          { name: 'SSH Public Key', value: expect.stringMatching(/^ssh-ed25519 AAAA\S+ slipway-trigger-/) },
          {
            name: 'Webhook Endpoint URL',
            value: expect.stringMatching(
              new RegExp(
                `^https://\\$token:[\\w-]{40}@slipway\\.example\\.com/webhooks/push/trigger/${made.id}$`,
              ),
            ),
          },
        ],
      });
      expect(await triggers().credentials(made.id, origin)).toEqual(activated.credentials);
      await expect(triggers().activate(made.id, { config, origin }, never)).rejects.toMatchObject({
        code: 'active',
      });
      expect(await triggers().find(siteRepository, made.id)).toEqual(activated.trigger);
      expect(await triggers().find({ namespace: 'other', name: 'app' }, made.id)).toBeUndefined();
      expect(await triggers().list(siteRepository)).toEqual([activated.trigger]);
      expect(await triggers().list({ namespace: 'team', name: 'other' })).toEqual([]);
    });

    it('keep no secret that can be read in the database', async () => {
      const { trigger, token } = await site.custom();
      const { rows } = await sql<Record<string, unknown>>`select * from triggers`.execute(site.database.sql);
      const text = rows
        .flatMap((row) => Object.values(row))
        .map((value) => (value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : String(value)))
        .join('\n');
      expect(text).toContain(trigger.id);
      expect(text).not.toContain(token);
      expect(text).not.toContain('PRIVATE KEY');
    });

    it('cannot open the secret of another', async () => {
      const [one, two] = [await site.custom(), await site.custom()];
      await sql`update triggers set write_token_sealed = (select write_token_sealed from triggers where id = ${two.trigger.id}) where id = ${one.trigger.id}`.execute(
        site.database.sql,
      );
      await expect(triggers().credentials(one.trigger.id, origin)).rejects.toMatchObject({
        code: 'tampered',
      });
    });

    it('of hosts that are switched off cannot be made', async () => {
      await expect(
        triggers().create(siteRepository, { service: 'github', user: 'ann', token: 't' }),
      ).rejects.toMatchObject({ code: 'bad-config' });
    });

    it('can be changed, but not in their source', async () => {
      const { trigger } = await site.custom({ cron: [{ schedule: '0 0 * * *', branch: 'main' }] });
      const changed = await triggers().configure(
        trigger.id,
        { build_source: 'git@evil.example.com:a/b.git', context: '/', tag_templates: ['x'], cron: [] },
        'team+ci',
      );
      expect(changed).toMatchObject({
        pullRobot: 'team+ci',
        config: { build_source: sourceUrl, tag_templates: ['x'] },
      });
      expect((await triggers().configure(trigger.id, {}, null)).pullRobot).toBeUndefined();
      await expect(triggers().configure(trigger.id, { context: '/..' })).rejects.toMatchObject({
        code: 'bad-config',
      });
    });

    it('go with all that is theirs, and their builds stay', async () => {
      const { trigger, token } = await site.custom();
      await triggers().setSecret(trigger.id, 'a', Buffer.of(1));
      await triggers().deliver(trigger.id, push('refs/heads/main'), token);
      await site.settle();
      const [build] = await triggers().builds(trigger.id, 10);
      expect(await triggers().remove(trigger.id)).toEqual({ leftAtHost: [] });
      for (const table of ['triggers', 'trigger_secrets', 'trigger_deliveries'] as const)
        expect(await site.database.sql.selectFrom(table).selectAll().execute()).toEqual([]);
      expect(build === undefined ? undefined : await site.queue.build(build.id)).toMatchObject({
        id: build?.id,
      });
      await expect(triggers().remove(trigger.id)).rejects.toMatchObject({ code: 'unknown' });
      await expect(start({ ...trigger, id: newTriggerId() }, 'main')).rejects.toMatchObject({
        code: 'unknown',
      });
    });

    it('that are removed while a delivery comes take nothing with them', async () => {
      const [one, two] = [await site.custom(), await site.custom()];
      const { SqlDeliveryStore } = await import('./sql-delivery-store.ts');
      const store = new SqlDeliveryStore(site);
      await triggers().remove(one.trigger.id);
      const delivery = (id: Trigger['id']) =>
        store.store({
          triggerId: id,
          by: 'hook',
          key: 'k',
          mayRecur: false,
          outcome: { kind: 'skipped', reason: 'x' },
        });
      expect(await Promise.all([delivery(one.trigger.id), delivery(two.trigger.id)])).toEqual([
        undefined,
        { id: expect.any(String), repeated: false },
      ]);
    });

    describe('run now', () => {
      it.each([
        ['abcdef1', { source: { sha: 'abcdef1' }, tags: ['abcdef1'], displayName: 'abcdef1' }],
        ['A'.repeat(40), { source: { sha: 'a'.repeat(40) }, tags: ['aaaaaaa'], displayName: 'aaaaaaa' }],
        ['refs/heads/feature/x', { source: { ref: 'refs/heads/feature/x' }, tags: ['feature_x'] }],
        ['refs/tags/v1', { source: { ref: 'refs/tags/v1' }, tags: ['v1'] }],
        ['main', { source: { ref: 'main' }, tags: ['main'] }],
      ])('builds %s', async (commit, expected) => {
        const { trigger } = await site.custom({ branchtag_regex: 'heads/never' });
        expect(await start(trigger, commit)).toMatchObject({
          ...expected,
          manualUser: 'ann',
          triggerId: trigger.id,
          push: true,
        });
      });

      it('builds a branch or a tag', async () => {
        const { trigger } = await site.custom();
        expect(await triggers().start(trigger.id, { branch: 'dev' }, 'ann', never)).toMatchObject({
          source: { ref: 'refs/heads/dev' },
        });
        expect(
          await triggers().start(trigger.id, { ref: { kind: 'tag', name: 'v1' } }, 'ann', never),
        ).toMatchObject({ tags: ['v1'] });
      });

      it.each(['--upload-pack=x', 'a b', 'a\nb', 'a..b', '', '-x', 'a:b'])('refuses %j', async (commit) => {
        const { trigger } = await site.custom();
        await expect(start(trigger, commit)).rejects.toMatchObject({ name: 'TriggerError' });
      });

      it('refuses while it is switched off', async () => {
        const { trigger } = await site.custom();
        expect(await triggers().setEnabled(trigger.id, false)).toMatchObject({
          enabled: false,
          disabledReason: 'user_toggled',
          disabledAt: site.clock.now(),
        });
        await expect(start(trigger, 'main')).rejects.toMatchObject({ code: 'disabled' });
      });
    });

    describe('that fail again and again', () => {
      const round = async () => await site.open.background.failures.round();

      it('are switched off, once, with a notice and a record, and come back with their count begun anew', async () => {
        const { trigger } = await site.custom();
        await fail(trigger, [failed, failed]);
        await round();
        expect(await triggers().find(siteRepository, trigger.id)).toMatchObject({ enabled: true });
        await fail(trigger, [failed]);
        await Promise.all([round(), round()]);
        expect(await triggers().find(siteRepository, trigger.id)).toMatchObject({
          enabled: false,
          disabledReason: 'successive_build_failures',
        });
        const notices = await site.open.notices.list(siteRepository, 10);
        expect(notices).toMatchObject([
          {
            triggerId: trigger.id,
            kind: 'trigger-disabled',
            message: expect.stringContaining('3 builds failed'),
          },
        ]);
        expect(
          (await site.audit.records({ limit: 10 })).filter(({ action }) => action === 'trigger.disable'),
        ).toMatchObject([
          {
            actor: { kind: 'system' },
            target: { kind: 'trigger', name: trigger.id },
            detail: { reason: 'successive_build_failures', count: 3 },
          },
        ]);
        expect(site.counted.filter((each) => each.startsWith('disabled'))).toHaveLength(1);
        expect(await triggers().setEnabled(trigger.id, true)).toMatchObject({ enabled: true });
        expect(await site.open.notices.list(siteRepository, 10)).toEqual([]);
        await round();
        await fail(trigger, [failed, failed]);
        await round();
        expect(await triggers().find(siteRepository, trigger.id)).toMatchObject({ enabled: true });
      });

      it('stay on when a build succeeds in between, and what is cancelled does not count', async () => {
        const { trigger } = await site.custom();
        await fail(trigger, [
          failed,
          failed,
          { kind: 'complete', image: { digest: `sha256:${'0'.repeat(64)}` as never, size: 1 } },
          failed,
          failed,
        ]);
        await site.queue.cancel((await start(trigger, 'main')).id, 'ann');
        await round();
        expect(await triggers().find(siteRepository, trigger.id)).toMatchObject({ enabled: true });
        await fail(trigger, [failed]);
        await round();
        expect(await triggers().find(siteRepository, trigger.id)).toMatchObject({ enabled: false });
      });

      it('for reasons of ours are switched off earlier', async () => {
        const { trigger } = await site.custom();
        await fail(trigger, [broken, broken]);
        await round();
        expect(await triggers().find(siteRepository, trigger.id)).toMatchObject({
          disabledReason: 'successive_build_internal_errors',
        });
      });

      it('are spoken of until somebody says that it is known', async () => {
        const { trigger } = await site.custom();
        await fail(trigger, [failed, failed, failed]);
        await round();
        const [notice] = await site.open.notices.list(siteRepository, 10);
        expect(
          await site.open.notices.dismiss({ namespace: 'other', name: 'app' }, notice?.id ?? '', 'ann'),
        ).toBe(false);
        expect(await site.open.notices.dismiss(siteRepository, notice?.id ?? '', 'ann')).toBe(true);
        expect(await site.open.notices.dismiss(siteRepository, notice?.id ?? '', 'ann')).toBe(false);
        expect(await site.open.notices.list(siteRepository, 10)).toEqual([]);
      });
    });

    describe('with a schedule', () => {
      const hour = 3_600_000;
      const strike = async () => await site.open.background.cron.round();

      it('build when it is due, once, however many look', async () => {
        const { trigger } = await site.custom({
          cron: [
            { schedule: '0 * * * *', branch: 'dev' },
            { schedule: '0 0 1 1 *', branch: 'main' },
          ],
        });
        await strike();
        await site.settle();
        expect(await triggers().builds(trigger.id, 10)).toEqual([]);
        await site.clock.advance(hour);
        await Promise.all([strike(), strike(), strike()]);
        await strike();
        await site.settle();
        expect(await triggers().builds(trigger.id, 10)).toMatchObject([
          { source: { ref: 'refs/heads/dev' }, tags: ['dev'], push: true },
        ]);
        expect(await triggers().deliveries(trigger.id, 10)).toMatchObject([
          { by: 'cron', ref: 'refs/heads/dev', event: '0 * * * *' },
        ]);
      });

      it('keep each other from nothing: one that cannot be carried out says so, and has its next time', async () => {
        const cron = [{ schedule: '0 * * * *', branch: 'dev' }];
        const bad = await site.custom({ cron });
        const good = await site.custom({ cron });
        // Before anybody else's, and as it may have been stored once.
        await site.database.sql
          .updateTable('triggers')
          .set({
            config_json: JSON.stringify({ ...bad.trigger.config, cron: [{ ...cron[0], branch: 'x\0y' }] }),
          })
          .where('id', '=', bad.trigger.id)
          .execute();
        for (let times = 1; times <= 2; times += 1) {
          await site.clock.advance(hour);
          await strike();
          await site.settle();
          expect(await triggers().builds(good.trigger.id, 10)).toHaveLength(times);
        }
        // SQLite takes what PostgreSQL does not.
        if (site.database.dialect === 'postgres') {
          expect(await triggers().deliveries(bad.trigger.id, 10)).toMatchObject(
            [1, 2].map(() => ({
              by: 'cron',
              outcome: { kind: 'failed', reason: expect.stringMatching(/Save its configuration again/) },
            })),
          );
          expect(site.counted.filter((each) => each.startsWith('error'))).toHaveLength(2);
        }
      });

      it('make up once for what came due while nobody looked', async () => {
        const { trigger } = await site.custom({ cron: [{ schedule: '0 * * * *', branch: 'dev' }] });
        await site.clock.advance(50 * hour);
        await strike();
        await strike();
        expect(await triggers().deliveries(trigger.id, 100)).toHaveLength(1);
        await site.clock.advance(hour);
        await strike();
        expect(await triggers().deliveries(trigger.id, 100)).toHaveLength(2);
      });

      it('do nothing while they are switched off, and go on afterwards', async () => {
        const { trigger } = await site.custom({ cron: [{ schedule: '0 * * * *', branch: 'dev' }] });
        await triggers().setEnabled(trigger.id, false);
        await site.clock.advance(5 * hour);
        await strike();
        await triggers().setEnabled(trigger.id, true);
        await strike();
        expect(await triggers().deliveries(trigger.id, 100)).toEqual([]);
        await site.clock.advance(hour);
        await strike();
        expect(await triggers().deliveries(trigger.id, 100)).toHaveLength(1);
      });
    });

    it('build nothing of what was delivered before they were switched off', async () => {
      const { trigger, token } = await site.custom();
      await triggers().deliver(trigger.id, push('refs/heads/main', info('x')), token);
      await triggers().setEnabled(trigger.id, false);
      await site.settle();
      expect(await triggers().deliveries(trigger.id, 10)).toMatchObject([{ outcome: { kind: 'refused' } }]);
      expect(await triggers().builds(trigger.id, 10)).toEqual([]);
    });

    it('of a custom repository have nobody to ask', async () => {
      const { trigger } = await site.custom();
      expect(await triggers().fieldValues(trigger.id, 'refs', {}, never)).toBeUndefined();
      await expect(triggers().namespaces(trigger.id, never)).rejects.toMatchObject({ code: 'bad-config' });
      expect(await triggers().analyze(trigger.id, config, { username: 'ann' }, never)).toEqual({
        status: 'analyzed',
        faults: [],
      });
      expect(
        await triggers().analyze(
          trigger.id,
          { ...config, context: '/x', tag_templates: [''] },
          { username: 'ann' },
          never,
        ),
      ).toMatchObject({
        status: 'error',
        message: expect.stringContaining('not below the context'),
        faults: [expect.any(String)],
      });
    });
  });
}
