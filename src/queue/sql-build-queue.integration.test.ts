import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import { scratchPostgres } from '../../test/harness/scratch-database.ts';
import { Database } from '../db/database.ts';
import { SecretBox } from '../db/secret-box.ts';
import { buildQueueSuite, request } from './build-queue.suite.ts';
import { buildQueueProperties } from './build-queue-properties.suite.ts';
import { postgresStatements } from './postgres-statements.ts';
import { SqlBuildQueue } from './sql-build-queue.ts';

buildQueueSuite('PostgreSQL', scratchPostgres);
buildQueueProperties('PostgreSQL', scratchPostgres, 10);

describe('two managers on PostgreSQL', () => {
  it('start every build once and never one too many, woken by NOTIFY alone', async () => {
    await using scratch = await scratchPostgres();
    await using second = await Database.open(scratch.options);
    const options = { secretBox: new SecretBox({ key: randomBytes(32) }) };
    await using front = new SqlBuildQueue(scratch.database, options);
    await using one = new SqlBuildQueue(scratch.database, options);
    await using other = new SqlBuildQueue(second, options);
    const [total, capacity] = [60, 5];
    const started: string[] = [];
    let most = 0;
    let done = 0;
    const { promise: all, resolve, reject } = Promise.withResolvers<void>();
    /** It claims when it hears of something, and never looks by itself. */
    const manage = async (queue: SqlBuildQueue, manager: string) => {
      const work = async () => {
        for (const { id, epoch, buildId } of await queue.claim({
          manager,
          limit: 3,
          capacity,
          lease: 60_000,
        })) {
          started.push(buildId);
          most = Math.max(most, (await front.counts()).running);
          expect(await queue.finish(id, epoch, { kind: 'complete' }, 0)).toMatchObject({ kind: 'final' });
          done += 1;
          if (done === total) resolve();
        }
      };
      queue.onChange(({ kind }) => {
        if (kind === 'queued' || kind === 'finished') work().catch(reject);
      });
      await queue.start();
    };
    await manage(one, 'm1');
    await manage(other, 'm2');
    const builds = await Promise.all(
      Array.from({ length: total }, (_, n) =>
        front.enqueue(request(`ns-${n % 7}/app-${n}`, { push: false })),
      ),
    );
    await all;
    expect(started.toSorted()).toEqual(builds.map(({ id }) => id).toSorted());
    expect(most).toBeLessThanOrEqual(capacity);
    expect(await front.counts()).toEqual({ queued: 0, running: 0, ownerless: 0 });
  });
});

describe('newest only on PostgreSQL', () => {
  it.each([
    ['one platform', []],
    ['several platforms', ['linux/amd64', 'linux/arm64']],
  ])('leaves a build for %s that is claimed in between', async (_, platforms) => {
    await using scratch = await scratchPostgres();
    await using second = await Database.open(scratch.options);
    const options = { secretBox: new SecretBox({ key: randomBytes(32) }) };
    await using queue = new SqlBuildQueue(scratch.database, options);
    await using other = new SqlBuildQueue(second, options);
    const newestOnly = { newestOnly: 'main' };
    const old = await queue.enqueue(request('team/app', { platforms }), newestOnly);
    const { lockFreeBuilds } = postgresStatements;
    let claimed = 0;
    // Between what was read of the builds that wait and their locks.
    postgresStatements.lockFreeBuilds = async (...given) => {
      postgresStatements.lockFreeBuilds = lockFreeBuilds;
      claimed = (await other.claim({ manager: 'm2', limit: 1, capacity: 9, lease: 60_000 })).length;
      return await lockFreeBuilds(...given);
    };
    try {
      await queue.enqueue(request('team/app', { platforms }), newestOnly);
    } finally {
      postgresStatements.lockFreeBuilds = lockFreeBuilds;
    }
    expect(claimed).toBe(1);
    const build = await queue.build(old.id);
    expect(build).toMatchObject({ desired: 'run' });
    expect(build).not.toHaveProperty('finishedAt');
    expect(build).not.toHaveProperty('supersededBy');
  });
});

describe('changes of the queue on PostgreSQL', () => {
  it('are heard again after the connection was lost, by every manager', async () => {
    await using scratch = await scratchPostgres();
    const options = { secretBox: new SecretBox({ key: randomBytes(32) }) };
    const lost = Promise.withResolvers<unknown>();
    await using listening = new SqlBuildQueue(scratch.database, { ...options, onError: lost.resolve });
    await using writing = new SqlBuildQueue(scratch.database, options);
    await listening.start();
    const heard = new Set<string>();
    const wakes = new Set<() => void>();
    listening.onChange(({ buildId }) => {
      heard.add(buildId);
      for (const wake of wakes) wake();
    });
    await sql`select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'slipway listen' and datname = current_database()`.execute(
      scratch.database.sql,
    );
    expect(await lost.promise).toMatchObject({ code: 'unavailable' });
    // Hints may be lost while the connection is made again, so builds are made until one is heard of.
    for (let n = 0; heard.size === 0; n += 1) {
      const woken = new Promise<void>((resolve) => wakes.add(resolve));
      await writing.enqueue(request(`team/app-${n}`));
      await Promise.race([woken, new Promise((resolve) => setTimeout(resolve, 50))]);
    }
    expect(heard.size).toBe(1);
  });
});
