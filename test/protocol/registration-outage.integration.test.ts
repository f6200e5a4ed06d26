import { Client } from 'pg';
import { expect, test } from 'vitest';
import { SqlError } from '../../src/db/sql-error.ts';
import { scratchPostgres } from '../harness/scratch-database.ts';
import { openRig } from './rig.ts';
import { type Answer, SharedClient } from './shared-client.ts';

/** A database that is away while a worker asks for its build. */
const away = new SqlError(
  'unavailable',
  'The database cannot be reached (connect ECONNREFUSED 10.1.2.3:5432 db.internal).',
);

function expectNothingTold(shown: unknown): void {
  for (const word of ['10.1.2.3', 'db.internal', 'ECONNREFUSED'])
    expect(JSON.stringify(shown)).not.toContain(word);
}

test('a worker is told to ask again, and gets its build then', async () => {
  await using rig = await openRig();
  const build = await rig.enqueue({ push: false });
  const started = await rig.started(build);
  const { attempt } = rig.queue;
  rig.queue.attempt = async () => await Promise.reject(away);
  using client = new SharedClient(rig.host);
  const answer = await client.register(started.token);
  rig.queue.attempt = attempt;
  expect(answer).toMatchObject({ kind: 'status', code: 'UNAVAILABLE' });
  expectNothingTold(answer);
  const again = await client.register(started.token);
  if (again.kind !== 'reply') throw new Error(again.details);
  expect(await client.setPhase(String(again.reply.job_jwt), 1, 'COMPLETE')).toMatchObject({ kind: 'reply' });
  expect(await rig.final(build)).toMatchObject({ phase: 'complete', jobs: [{ attempts: [{ epoch: 1 }] }] });
});

test('a failure while the build is put together gives the try back, and says nothing of where', async () => {
  await using rig = await openRig();
  const build = await rig.enqueue({ push: false });
  const started = await rig.started(build);
  const { secrets } = rig.queue;
  rig.queue.secrets = async () => await Promise.reject(away);
  using client = new SharedClient(rig.host);
  const answer = await client.register(started.token);
  rig.queue.secrets = secrets;
  expect(answer).toMatchObject({ kind: 'status', code: 'INTERNAL' });
  expectNothingTold(answer);
  rig.exit(started, 1);
  const next = await rig.started(build, 2);
  const seen = await rig.build(build);
  expect(seen.jobs[0]?.attempts[0]?.outcome).toMatchObject({
    kind: 'internal-error',
    refunded: true,
    fault: { code: 'internalerror' },
  });
  await rig.queue.cancel(build.id, 'test');
  rig.exit(next, 1);
  expectNothingTold(await rig.final(build));
});

test('a worker that gives up when the database is restarted has cost no try', async () => {
  const answers: Answer[] = [];
  const rig = await openRig({
    open: scratchPostgres,
    worker: {
      work: async ({ server, token }) => {
        using client = new SharedClient(server);
        const answer =
          answers.length === 0 ? await whileAway(() => client.register(token)) : await client.register(token);
        answers.push(answer);
        // As a worker that knows only the shared protocol does.
        if (answer.kind !== 'reply') return { exitCode: 1 };
        await client.setPhase(String(answer.reply.job_jwt), 1, 'COMPLETE');
        return { exitCode: 0 };
      },
    },
  });
  async function whileAway<T>(work: () => Promise<T>): Promise<T> {
    const name = new URL(rig.database.url ?? '').pathname.slice(1);
    const administrator = new Client({ connectionString: process.env.SLIPWAY_TEST_POSTGRES });
    await administrator.connect();
    try {
      await administrator.query(`alter database ${name} allow_connections false`);
      await administrator.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = $1', [
        name,
      ]);
      return await work();
    } finally {
      await administrator.query(`alter database ${name} allow_connections true`);
      await administrator.end();
    }
  }
  try {
    const build = await rig.final(await rig.enqueue({ push: false }));
    expect(answers[0]).toMatchObject({ kind: 'status', code: 'UNAVAILABLE' });
    const [attempts] = build.jobs.map((job) => job.attempts);
    expect(attempts?.map(({ outcome }) => outcome)).toMatchObject([
      { kind: 'internal-error', refunded: true },
      { kind: 'complete' },
    ]);
  } finally {
    await rig[Symbol.asyncDispose]();
  }
});
