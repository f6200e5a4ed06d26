import { randomBytes } from 'node:crypto';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Kysely, PostgresDialect as PlainPg, sql } from 'kysely';
import { Client, Pool } from 'pg';
import { describe, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { request } from '../queue/build-queue.suite.ts';
import { SqlBuildQueue } from '../queue/sql-build-queue.ts';
import { Database, type DatabaseOptions } from './database.ts';
import { first } from './migrations/0001-first.ts';
import { managers } from './migrations/0002-managers.ts';
import { archives } from './migrations/0003-archives.ts';
import { audit } from './migrations/0004-audit.ts';
import { loggedStages } from './migrations/0005-logged-stages.ts';
import { appendFunction } from './migrations/0006-append-function.ts';
import { registrations } from './migrations/0007-registrations.ts';
import { columnTypes } from './migrations.ts';
import { SecretBox } from './secret-box.ts';
import { SqliteDialect } from './sqlite-dialect.ts';

const steps = {
  '0001-first': first,
  '0002-managers': managers,
  '0003-archives': archives,
  '0004-audit': audit,
  '0005-logged-stages': loggedStages,
  '0006-append-function': appendFunction,
  '0007-registrations': registrations,
};

async function old(
  dialect: 'sqlite' | 'postgres',
): Promise<{ db: Kysely<unknown>; options: DatabaseOptions }> {
  if (dialect === 'sqlite') {
    const file = join(await mkdtemp(join(tmpdir(), 'slipway-up-')), 'x.db');
    return {
      db: new Kysely({ dialect: new SqliteDialect({ file }) }),
      options: { provider: 'sqlite', file },
    };
  }
  const server = process.env.SLIPWAY_TEST_POSTGRES ?? '';
  const name = `up_${randomBytes(6).toString('hex')}`;
  const c = new Client({ connectionString: server });
  await c.connect();
  await c.query(`create database ${name}`);
  await c.end();
  const url = new URL(server);
  url.pathname = `/${name}`;
  return {
    db: new Kysely({ dialect: new PlainPg({ pool: new Pool({ connectionString: url.href }) }) }),
    options: { provider: 'postgres', url: url.href },
  };
}

describe.each(['sqlite', 'postgres'] as const)('from 0007 on %s', (dialect) => {
  test('with attempts that run, wait and are to be tried again', async () => {
    const { db, options } = await old(dialect);
    for (const up of Object.values(steps)) await up(db, columnTypes[dialect], dialect);
    await sql`create table schema_migrations (name varchar(255) not null primary key, timestamp varchar(255) not null)`.execute(
      db,
    );
    await sql`create table schema_migrations_lock (id varchar(255) not null primary key, is_locked integer not null default 0)`.execute(
      db,
    );
    await sql`insert into schema_migrations_lock (id, is_locked) values ('migration_lock', 0)`.execute(db);
    for (const name of Object.keys(steps))
      await sql`insert into schema_migrations values (${name}, ${new Date().toISOString()})`.execute(db);
    const clock = new ManualClock();
    const now = clock.now();
    const ids = {
      run: crypto.randomUUID(),
      sched: crypto.randomUUID(),
      retry: crypto.randomUUID(),
      wait: crypto.randomUUID(),
      publish: crypto.randomUUID(),
    };
    const body = JSON.stringify(request());
    for (const [kind, id] of Object.entries(ids)) {
      const admitted = 1;
      const started = kind === 'wait' ? null : now - 1000;
      const phase = {
        run: 'building',
        sched: 'build-scheduled',
        retry: 'waiting',
        wait: 'waiting',
        publish: 'pushing',
      }[kind];
      await sql`insert into builds (id, namespace, repository, priority, request_json, phase, admitted, created_at, started_at, publisher, publish_until)
        values (${id}, 'team', ${kind}, 0, ${body}, ${phase}, ${admitted}, ${now - 2000}, ${started}, ${kind === 'publish' ? 'old' : null}, ${kind === 'publish' ? now + 60000 : null})`.execute(
        db,
      );
      await sql`insert into jobs (id, build_id, ordinal, platform, tries_left, attempt_id) values (${`j-${id}`}, ${id}, 0, '', 2, ${`a-${id}`})`.execute(
        db,
      );
      const running = kind === 'run' || kind === 'sched';
      const state =
        kind === 'run' ? 'building' : kind === 'sched' ? 'scheduled' : kind === 'publish' ? 'done' : 'queued';
      await sql`insert into attempts (id, job_id, build_id, epoch, state, namespace, priority, ready, turn, available_at, queued_at, manager, lease_until, scheduled_at, registered_at, worker, executor, outcome_json, done_at)
        values (${`a-${id}`}, ${`j-${id}`}, ${id}, 1, ${state}, 'team', 0, ${state === 'queued' ? 1 : 0}, 1, ${kind === 'retry' ? now + 30_000 : now}, ${now - 1000},
          ${state === 'queued' ? null : 'old'}, ${running ? now + 300_000 : null}, ${state === 'queued' ? null : now - 500}, ${kind === 'run' ? now - 400 : null},
          ${kind === 'run' ? 'w' : null}, ${kind === 'run' ? 'local' : null}, ${kind === 'publish' ? JSON.stringify({ kind: 'complete' }) : null}, ${kind === 'publish' ? now - 10 : null})`.execute(
        db,
      );
    }
    await sql`insert into managers (name, beats, joined_at) values ('old', 5, ${now - 5000})`.execute(db);
    await db.destroy();

    const database = await Database.open(options);
    let mono = 0;
    const queue = new SqlBuildQueue(database, {
      secretBox: new SecretBox({ key: randomBytes(32) }),
      clock,
      monotonic: () => mono,
    });
    await queue.start();
    expect(await queue.counts()).toEqual({ queued: 2, running: 2, ownerless: 0 });
    const claimed = await queue.claim({ manager: 'new', limit: 5, capacity: 10, lease: 300_000 });
    expect(claimed.map(({ buildId }) => buildId)).toEqual([ids.wait]);
    await clock.advance(30_000);
    const later = await queue.claim({ manager: 'new', limit: 5, capacity: 10, lease: 300_000 });
    expect(later.map(({ buildId }) => buildId)).toEqual([ids.retry]);
    const all = [];
    for (let i = 0; i < 12; i++) {
      const taken = await queue.beat('new', 300_000);
      all.push(
        ...taken.attempts.map(({ buildId }) => buildId as string),
        ...taken.unpublished.map((id) => `p ${id}`),
        ...(taken.retried ? [`r${taken.retried}`] : []),
      );
      mono += 500;
    }
    expect(all.sort()).toEqual([`p ${ids.publish}`, 'r1', ids.run].sort());
    const [a] = await queue.supervised('new');
    const [waited] = claimed;
    const [retried] = later;
    if (waited === undefined || retried === undefined) throw new Error('nothing was claimed');
    expect(await queue.finish(waited.id, 1, { kind: 'complete' }, 0)).toMatchObject({ kind: 'publish' });
    expect(a).toBeDefined();
    expect(await queue.release(retried.id, 1, clock.now() + 1000)).toBe(true);
    const again = await queue.claim({ manager: 'new', limit: 5, capacity: 10, lease: 300_000 });
    expect(again.map(({ buildId, epoch }) => [buildId, epoch])).toEqual([[ids.sched, 2]]);
    await queue.stop();
    await database.stop();
  });
});
