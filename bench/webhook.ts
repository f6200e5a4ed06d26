import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'kysely';
import { Database } from '../src/db/database.ts';
import { GithubApi } from '../test/fakes/github-api.ts';
import { startPostgres } from '../test/services/postgres.ts';
import { serviceFolder } from '../test/services/service.ts';
import { Child } from './manager/child.ts';
import { PostgresLoad } from './manager/postgres-load.ts';
import { scratchDatabase } from './queue/contender.ts';
import { type Figure, percentile, report } from './report.ts';
import type { FromServer, SenderOptions, Sent, ServerOptions, Target, ToServer } from './webhook/messages.ts';

/**
 * Pushes: 200 deliveries a second for 30 seconds to nine triggers of four repositories, in an open loop from a process of
 * its own. Of custom triggers half get what a hook sends, with their token, and half a payload as large as GitHub's,
 * signed. One of 20 goes to a trigger at GitHub, which the server tells of each of those builds: more than GitHub lets one
 * account do. It is the fake of the tests, in this process. The server is put together as `serve` does it, on a PostgreSQL
 * that flushes to disk. All of them share this machine.
 *
 * Times count from when a delivery was due to its whole answer. Afterwards the database is asked: every delivery that was
 * accepted must have become exactly one build.
 */
const rate = Number(process.env.BENCH_RATE ?? 200);
const seconds = Number(process.env.BENCH_SECONDS ?? 30);
const warmUp = Number(process.env.BENCH_WARM_UP ?? 3);
/** A folder: the server's profile is written there. */
const profile = process.env.BENCH_PROFILE;
const repositories = 4;
const githubEvery = 20;
const count = rate * (seconds + warmUp);
/** Seconds for what waits after the last delivery. */
const patience = 120;

const cleanUp = new AsyncDisposableStack();
try {
  const postgres = cleanUp.use(
    await startPostgres({
      fsync: 'on',
      synchronous_commit: 'on',
      full_page_writes: 'on',
      shared_preload_libraries: 'pg_stat_statements',
      shared_buffers: '256MB',
    }),
  );
  const folder = await serviceFolder('bench-webhook');
  cleanUp.defer(() => rm(folder, { recursive: true, force: true }));
  const scratch = cleanUp.use(await scratchDatabase(postgres.url));
  const github = cleanUp.use(await new GithubApi().start());
  github.state.addUser('kim', 'good-token');

  const options: ServerOptions = { databaseUrl: scratch.url, folder, github: github.url };
  const server = new Child<ToServer, FromServer>('../webhook/server-process.ts', options, [
    // As the launcher starts a server.
    '--max-semi-space-size=8',
    ...(profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]),
  ]);
  cleanUp.defer(async () => await server.stop({ kind: 'stop' }));
  const { url, token } = await server.take('ready');
  const targets: Target[] = [];
  for (let n = 0; n < repositories; n += 1) targets.push(...(await setUp(n)));
  targets.push(await setUpGithub());

  const load = await PostgresLoad.open(postgres.url);
  cleanUp.defer(async () => await load.stop());
  const before = await server.ask({ kind: 'usage' }, 'usage');
  const database0 = await load.cpu();
  const given: SenderOptions = { targets, githubEvery, rate, seconds, warmUp };
  const sender = new Child<{ kind: 'stop' }, Sent>('../webhook/sender-process.ts', given);
  const sent = await sender.take('sent');
  await sender.stop({ kind: 'stop' });
  const drained = performance.now();
  const counts = await settled(scratch.url);
  const drain = performance.now() - drained;
  const after = await server.ask({ kind: 'usage' }, 'usage');
  const databaseCpu = (await load.cpu()) - database0;

  const accepted = sent.statuses['200'] ?? 0;
  process.stdout.write(`answers: ${JSON.stringify(sent.statuses)}\n`);
  const exactly = (value: number): Pick<Figure, 'limit'> => ({ limit: { kind: 'at-least', value } });
  report('webhook', [
    { name: 'rate', value: sent.times.length / seconds, unit: '/s' },
    { name: 'p50', value: percentile(sent.times, 50), unit: 'ms' },
    { name: 'p99', value: percentile(sent.times, 99), unit: 'ms', limit: { kind: 'at-most', value: 100 } },
    { name: 'max', value: percentile(sent.times, 100), unit: 'ms' },
    { name: 'sender late', value: sent.late, unit: 'ms' },
    { name: 'accepted', value: accepted, unit: 'of all', ...exactly(count) },
    { name: 'queued deliveries', value: counts.queued, unit: '', ...exactly(accepted) },
    { name: 'builds', value: counts.builds, unit: '', ...exactly(accepted) },
    {
      name: 'builds too many',
      value: counts.builds - accepted,
      unit: '',
      limit: { kind: 'at-most', value: 0 },
    },
    {
      name: 'builds of no delivery of their own',
      value: counts.builds - counts.distinct,
      unit: '',
      limit: { kind: 'at-most', value: 0 },
    },
    { name: 'queued after', value: drain / 1000, unit: 's' },
    { name: 'cpu server', value: ((after.usage.cpu - before.usage.cpu) * 1000) / count, unit: 'ms each' },
    { name: 'cpu database', value: (databaseCpu * 1000) / count, unit: 'ms each' },
  ]);

  async function call(path: string, body: unknown) {
    const response = await fetch(`${url}/api/v1/repository${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as {
      id: string;
      config: { credentials: { name: string; value: string }[] };
    };
  }

  async function setUpCustom(name: string, kind: 'token' | 'signed'): Promise<Target> {
    const { id } = await call(`/kim/${name}/trigger/`, { service: 'custom-git' });
    const { config } = await call(`/kim/${name}/trigger/${id}/activate`, {
      config: { build_source: `ssh://git@git.example.com/kim/${name}.git` },
    });
    const webhook = new URL(
      config.credentials.find((each) => each.name === 'Webhook Endpoint URL')?.value ?? '',
    );
    const secret = webhook.password;
    webhook.username = '';
    webhook.password = '';
    return { kind, url: webhook.href, secret };
  }

  /** A repository with a custom trigger of each kind, set up as people do it. */
  async function setUp(n: number): Promise<readonly Target[]> {
    const name = `app-${n}`;
    await call('', { namespace: 'kim', repository: name, visibility: 'private', description: '' });
    return [await setUpCustom(name, 'token'), await setUpCustom(name, 'signed')];
  }

  async function setUpGithub(): Promise<Target> {
    const repository = github.state.addRepository('kim/app', { kim: 'admin' });
    github.state.addUser('ada', 'another-token');
    const commits = Array.from({ length: Math.ceil(count / githubEvery) }, (_, n) =>
      repository.commit('main', { message: `${n}`, files: { Dockerfile: `FROM scratch\n# ${n}\n` } }),
    );
    const { id } = await call('/kim/app-0/trigger/', { service: 'github', token: 'good-token' });
    await call(`/kim/app-0/trigger/${id}/activate`, { config: { build_source: 'kim/app' } });
    const [hook] = [...repository.hooks.values()];
    if (hook?.secret === undefined) throw new Error('no webhook was installed');
    return { kind: 'github', url: hook.url, secret: hook.secret, commits };
  }
} finally {
  await cleanUp.disposeAsync();
}

/** What the database has when nothing waits any more. */
async function settled(url: string): Promise<{ queued: number; builds: number; distinct: number }> {
  const database = await Database.open({ provider: 'postgres', url });
  try {
    for (let waited = 0; ; waited += 1) {
      const { rows } = await sql<{
        waiting: string;
        queued: string;
        builds: string;
        distinct_builds: string;
      }>`
        select
          (select count(*) from trigger_deliveries where outcome = 'waiting') as waiting,
          (select count(*) from trigger_deliveries where outcome = 'queued') as queued,
          (select count(*) from builds) as builds,
          (select count(distinct build_id) from trigger_deliveries where outcome = 'queued') as distinct_builds
      `.execute(database.sql);
      const [row] = rows;
      if (row === undefined) throw new Error('the database counted nothing');
      if (Number(row.waiting) === 0 || waited >= patience)
        return {
          queued: Number(row.queued),
          builds: Number(row.builds),
          distinct: Number(row.distinct_builds),
        };
      await sleep(1000);
    }
  } finally {
    await database.stop();
  }
}
