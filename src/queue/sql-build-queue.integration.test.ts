import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import { scratchPostgres } from '../../test/harness/scratch-database.ts';
import { SecretBox } from '../db/secret-box.ts';
import { buildQueueSuite, request } from './build-queue.suite.ts';
import { buildQueueProperties } from './build-queue-properties.suite.ts';
import { SqlBuildQueue } from './sql-build-queue.ts';

buildQueueSuite('PostgreSQL', scratchPostgres);
buildQueueProperties('PostgreSQL', scratchPostgres, 10);

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
