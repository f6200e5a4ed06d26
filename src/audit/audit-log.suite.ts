import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { OpenScratch, ScratchDatabase } from '../../test/harness/scratch-database.ts';
import { ManualClock } from '../base/clock.ts';
import type { AuditEvent } from './audit-log.ts';
import { AuditRetention } from './audit-retention.ts';
import { SqlAuditLog } from './sql-audit-log.ts';

const cancelled: AuditEvent = {
  actor: { kind: 'user', name: 'kim', tokenId: 'token-1' },
  action: 'build.cancel',
  target: { kind: 'build', name: 'build-1', namespace: 'team' },
  result: 'done',
  address: '192.0.2.7',
  userAgent: 'slipway/1',
  requestId: 'request-1',
  detail: { repository: 'team/web', tags: ['a', 'b'], tries: 2, forced: false },
};

/** What an audit log must do, on every database. */
export function auditLogSuite(name: string, openScratch: OpenScratch): void {
  describe(name, () => {
    let scratch: ScratchDatabase;
    let clock: ManualClock;
    let audit: SqlAuditLog;

    beforeEach(async () => {
      scratch = await openScratch();
      clock = new ManualClock();
      audit = new SqlAuditLog({ database: scratch.database, clock });
    });
    afterEach(async () => await scratch[Symbol.asyncDispose]());

    const actionsOf = async (query: Partial<Parameters<typeof audit.records>[0]>) =>
      (await audit.records({ limit: 100, ...query })).map(({ action }) => action);

    test('a record is read as it was written, with its time', async () => {
      const at = clock.now();
      await audit.write(cancelled);
      expect(await audit.records({ limit: 10 })).toEqual([{ ...cancelled, number: expect.any(Number), at }]);
    });

    test('every kind of actor and result is kept', async () => {
      const actors: readonly AuditEvent['actor'][] = [
        { kind: 'anonymous' },
        { kind: 'user', name: 'kim' },
        { kind: 'robot', name: 'team+ci' },
        { kind: 'worker', name: 'attempt-1' },
        { kind: 'system', name: 'audit-retention' },
      ];
      for (const actor of actors) {
        for (const result of ['done', 'refused', 'failed'] as const)
          await audit.write({ actor, action: 'thing.do', result, reason: 'why' });
      }
      const found = await audit.records({ limit: 100 });
      expect(found).toHaveLength(15);
      expect([...new Set(found.map(({ actor }) => JSON.stringify(actor)))].sort()).toEqual(
        actors.map((actor) => JSON.stringify(actor)).sort(),
      );
      expect(await actionsOf({ actorKind: 'robot' })).toHaveLength(3);
      expect(await actionsOf({ actorKind: 'robot', result: 'refused' })).toHaveLength(1);
    });

    test('records that come at once are all there, in the order they came', async () => {
      await Promise.all(
        Array.from(
          { length: 1_200 },
          async (_, at) => await audit.write({ ...cancelled, action: `a.${at}` }),
        ),
      );
      const found = await actionsOf({ limit: 2_000 });
      expect(found).toEqual(Array.from({ length: 1_200 }, (_, at) => `a.${1_199 - at}`));
    });

    test('filters: actor, action and its beginning, target, namespace, time, all together', async () => {
      const start = clock.now();
      const write = async (action: string, actor: string, target: string, namespace: string) => {
        await audit.write({
          ...cancelled,
          action,
          actor: { kind: 'user', name: actor },
          target: { kind: 'repository', name: target, namespace },
        });
        await clock.advance(1_000);
      };
      await write('build.request', 'kim', 'team/web', 'team');
      await write('build.cancel', 'lee', 'team/web', 'team');
      await write('repository.create', 'kim', 'lee/app', 'lee');
      await write('buildings.count', 'kim', 'x', 'x');
      expect(await actionsOf({ actor: 'kim', namespace: 'team' })).toEqual(['build.request']);
      expect(await actionsOf({ action: 'build.cancel' })).toEqual(['build.cancel']);
      expect(await actionsOf({ action: 'build.*' })).toEqual(['build.cancel', 'build.request']);
      expect(await actionsOf({ target: 'lee/app' })).toEqual(['repository.create']);
      expect(await actionsOf({ since: start + 1_000, until: start + 3_000 })).toEqual([
        'repository.create',
        'build.cancel',
      ]);
      expect(await actionsOf({ actor: 'kim', action: 'build.cancel' })).toEqual([]);
      expect(await actionsOf({ actor: "kim' or '1'='1", action: '%' })).toEqual([]);
    });

    test('pages by number, and none is shown twice though more are written meanwhile', async () => {
      for (let at = 0; at < 7; at += 1) await audit.write({ ...cancelled, action: `a.${at}` });
      const seen: string[] = [];
      let before: number | undefined;
      for (;;) {
        const page = await audit.records({ limit: 3, ...(before === undefined ? {} : { before }) });
        if (page.length === 0) break;
        seen.push(...page.map(({ action }) => action));
        before = page.at(-1)?.number;
        await audit.write({ ...cancelled, action: 'late.one' });
      }
      expect(seen).toEqual(['a.6', 'a.5', 'a.4', 'a.3', 'a.2', 'a.1', 'a.0']);
    });

    test('the database refuses to change a record', async () => {
      await audit.write(cancelled);
      await expect(
        sql`update audit_records set actor = 'somebody else'`.execute(scratch.database.sql),
      ).rejects.toThrow(/cannot be changed/);
      expect((await audit.records({ limit: 10 }))[0]?.actor).toEqual(cancelled.actor);
    });

    test('whatever text comes is stored, bounded, without control characters', async () => {
      await audit.write({
        ...cancelled,
        userAgent: `\u0000\u001b[31m\ud800${'x'.repeat(5_000)}`,
        detail: { long: 'y'.repeat(5_000), list: Array.from({ length: 100 }, () => 'z'.repeat(400)) },
      });
      const [record] = await audit.records({ limit: 1 });
      expect(record?.userAgent).toHaveLength(500);
      expect(record?.userAgent).not.toMatch(/\p{Cc}/u);
      expect(JSON.stringify(record?.detail).length).toBeLessThan(4_100);
    });

    test('a write that fails is told to whoever waits for it', async () => {
      const broken = await openScratch();
      const unwritten = new SqlAuditLog({ database: broken.database, clock });
      await sql`drop table audit_records`.execute(broken.database.sql);
      const [one, two] = await Promise.allSettled([unwritten.write(cancelled), unwritten.write(cancelled)]);
      await broken[Symbol.asyncDispose]();
      expect([one.status, two.status]).toEqual(['rejected', 'rejected']);
    });

    test('old records go after their time, and a record says so', async () => {
      const retention = new AuditRetention({ audit, clock, keep: 10_000, every: 1_000, onError: () => {} });
      for (let at = 0; at < 4; at += 1) {
        await audit.write({ ...cancelled, action: `a.${at}` });
        await clock.advance(4_000);
      }
      await retention.sweep();
      expect(await actionsOf({})).toEqual(['audit.prune', 'a.3', 'a.2']);
      const [pruned] = await audit.records({ limit: 1 });
      expect(pruned).toMatchObject({
        actor: { kind: 'system', name: 'audit-retention' },
        detail: { removed: 2 },
      });
      await retention.sweep();
      expect(await actionsOf({})).toHaveLength(3);
    });
  });
}
