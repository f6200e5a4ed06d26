import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { newTokenKey } from '../src/rpc/token-keys.ts';
import { startPostgres } from '../test/services/postgres.ts';
import { startRedis } from '../test/services/redis.ts';
import { serviceFolder } from '../test/services/service.ts';
import { Child } from './manager/child.ts';
import type {
  FromHost,
  FromManager,
  HostOptions,
  ManagerOptions,
  ToHost,
  ToManager,
} from './manager/messages.ts';
import { PostgresLoad } from './manager/postgres-load.ts';
import { type Figure, percentile, report } from './report.ts';

/**
 * Whole lives of builds, from the queue to the end of their logs, on PostgreSQL that flushes to disk and Redis: every
 * manager is a process, workers are functions of two further processes, each with a connection of its own, that speak
 * gRPC over loopback. Builds push nothing. Everything runs on the cores of this machine at once, the database included.
 *
 * `throughput_N`: builds a second with N managers, from the first enqueue to the last end. `cpu_N`: milliseconds of
 * processor time a build, all processes together, which says what a less busy machine would do.
 *
 * `delay_p99`: 1,000 builds run at once on one manager and each writes ten lines a second; one follower a build reads its
 * log by the store's tail in the manager's process. From the moment a line is written to the moment it is read.
 */
const builds = Number(process.env.BENCH_BUILDS ?? 2_000);
const running = Number(process.env.BENCH_RUNNING ?? 1_000);
const measured = 20_000;
const only = process.argv[2];
const profile = process.env.BENCH_PROFILE;

type Manager = Child<ToManager, FromManager>;
type Host = Child<ToHost, FromHost>;

const durable = { fsync: 'on', synchronous_commit: 'on', full_page_writes: 'on' };

async function cluster(
  managers: number,
  script: HostOptions['script'],
  allowedWorkerCount: number,
  work: (parts: {
    readonly managers: readonly Manager[];
    readonly hosts: readonly Host[];
    readonly load: PostgresLoad;
  }) => Promise<void>,
): Promise<void> {
  const folder = await serviceFolder('bench');
  await using postgres = await startPostgres({
    ...durable,
    shared_preload_libraries: 'pg_stat_statements',
    shared_buffers: '256MB',
  });
  await using redis = await startRedis();
  const load = await PostgresLoad.open(postgres.url);
  const paths = [join(folder, 'a.sock'), join(folder, 'b.sock')];
  const hosts = paths.map(
    (socket): Host =>
      new Child(
        './worker-host.ts',
        { socket, script } satisfies HostOptions,
        profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`],
      ),
  );
  const all: Manager[] = [];
  try {
    await Promise.all(hosts.map((host) => host.take('ready')));
    const tokenKey = newTokenKey();
    for (let n = 1; n <= managers; n += 1) {
      const options: ManagerOptions = {
        name: `m${n}`,
        databaseUrl: postgres.url,
        redisPort: redis.port,
        hosts: paths,
        tokenKey,
        allowedWorkerCount,
      };
      // As the launcher starts a server.
      const nodeOptions = ['--max-semi-space-size=8'];
      if (profile !== undefined) nodeOptions.push('--cpu-prof', `--cpu-prof-dir=${profile}`);
      const manager: Manager = new Child('./manager-process.ts', options, nodeOptions);
      all.push(manager);
      await manager.take('ready');
    }
    await work({ managers: all, hosts, load });
  } finally {
    for (const manager of all) await manager.stop({ kind: 'stop' });
    for (const host of hosts) await host.stop({ kind: 'stop' });
    await load.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function finished(managers: readonly Manager[], wanted: number): Promise<void> {
  for (;;) {
    const sums: Record<string, number> = {};
    for (const manager of managers) {
      const { phases } = await manager.take('finished');
      for (const [phase, count] of Object.entries(phases)) sums[phase] = (sums[phase] ?? 0) + count;
    }
    const { complete = 0, ...others } = sums;
    if (Object.keys(others).length > 0) throw new Error(`builds ended otherwise: ${JSON.stringify(others)}`);
    if (complete >= wanted) return;
  }
}

async function cpuOf(managers: readonly Manager[], hosts: readonly Host[], load: PostgresLoad) {
  const sum = async (children: readonly Child<{ kind: 'usage' }, FromManager | FromHost>[]) => {
    const all = await Promise.all(children.map((child) => child.ask({ kind: 'usage' }, 'usage')));
    return all.reduce((total, { usage }) => total + usage.cpu, 0);
  };
  return {
    manager: await sum(managers as unknown as Child<{ kind: 'usage' }, FromManager>[]),
    workers: await sum(hosts as unknown as Child<{ kind: 'usage' }, FromHost>[]),
    postgres: await load.cpu(),
  };
}

async function lifecycles(count: number): Promise<Figure[]> {
  const figures: Figure[] = [];
  await cluster(count, { kind: 'lifecycle' }, 200, async ({ managers, hosts, load }) => {
    const share = (total: number): Promise<unknown> =>
      Promise.all(
        managers.map((manager) =>
          manager.ask({ kind: 'enqueue', count: total / count, namespaces: 50 }, 'enqueued'),
        ),
      );
    const warm = 400;
    await share(warm);
    await finished(managers, warm);
    const before = await cpuOf(managers, hosts, load);
    const statements = await load.statements();
    const begun = performance.now();
    void share(builds);
    await finished(managers, warm + builds);
    const seconds = (performance.now() - begun) / 1000;
    const after = await cpuOf(managers, hosts, load);
    const each = (part: keyof typeof after): number => ((after[part] - before[part]) * 1000) / builds;
    const all = each('manager') + each('workers') + each('postgres');
    figures.push(
      {
        name: `throughput ${count}`,
        value: builds / seconds,
        unit: 'builds/s',
        limit: { kind: 'at-least', value: 100 },
      },
      { name: `cpu ${count}`, value: all, unit: 'ms/build' },
      { name: `cpu ${count} managers`, value: each('manager'), unit: 'ms/build' },
      { name: `cpu ${count} workers`, value: each('workers'), unit: 'ms/build' },
      { name: `cpu ${count} postgres`, value: each('postgres'), unit: 'ms/build' },
      {
        name: `statements ${count}`,
        value: ((await load.statements()) - statements) / builds,
        unit: '/build',
      },
    );
    if (profile !== undefined) {
      for (const { query, calls, ms } of await load.costliest(25)) {
        process.stderr.write(
          `${ms.toFixed(0)} ms ${calls} × ${query.replaceAll(/\s+/g, ' ').slice(0, 160)}\n`,
        );
      }
    }
  });
  return figures;
}

async function followed(): Promise<Figure[]> {
  const figures: Figure[] = [];
  await cluster(1, { kind: 'chatter' }, running, async ({ managers, hosts, load }) => {
    const [manager] = managers;
    if (manager === undefined) throw new TypeError('there is a manager');
    await manager.ask({ kind: 'enqueue', count: running, namespaces: 50 }, 'enqueued');
    await manager.ask({ kind: 'follow' }, 'following');
    const states = async () => await Promise.all(hosts.map((host) => host.ask({ kind: 'usage' }, 'usage')));
    const sum = (all: readonly { building: number; lines: number }[], what: 'building' | 'lines'): number =>
      all.reduce((total, each) => total + each[what], 0);
    for (let all = await states(); sum(all, 'building') < running; all = await states()) {
      const [failed] = all.flatMap((each) => each.failed);
      if (failed !== undefined) throw new Error(failed);
      await sleep(200);
    }
    // They have all just registered: that is not what is measured here.
    await sleep(3_000);
    const before = await cpuOf(managers, hosts, load);
    const lines = sum(await states(), 'lines');
    manager.tell({ kind: 'measure' });
    const begun = performance.now();
    await sleep(measured);
    const { usage, delays } = await manager.ask({ kind: 'usage' }, 'usage');
    const seconds = (performance.now() - begun) / 1000;
    const written = (sum(await states(), 'lines') - lines) / seconds;
    const after = await cpuOf(managers, hosts, load);
    figures.push(
      { name: 'delay p50', value: percentile(delays, 50), unit: 'ms' },
      {
        name: 'delay p99',
        value: percentile(delays, 99),
        unit: 'ms',
        limit: { kind: 'at-most', value: 500 },
      },
      {
        name: 'manager memory',
        value: usage.peak / 1e6,
        unit: 'MB',
        limit: { kind: 'at-most', value: 600 },
      },
      { name: 'lines written', value: written, unit: '/s' },
      { name: 'lines read', value: delays.length / seconds, unit: '/s' },
      { name: 'cores manager', value: (after.manager - before.manager) / seconds, unit: 'cores' },
      { name: 'cores workers', value: (after.workers - before.workers) / seconds, unit: 'cores' },
      { name: 'cores postgres', value: (after.postgres - before.postgres) / seconds, unit: 'cores' },
    );
    for (const host of hosts) host.tell({ kind: 'release' });
    await finished(managers, running);
  });
  return figures;
}

const figures: Figure[] = [];
if (only === undefined || only === '1') figures.push(...(await lifecycles(1)));
if (only === undefined || only === '2') figures.push(...(await lifecycles(2)));
if (only === undefined || only === 'follow') figures.push(...(await followed()));
report('manager', figures);
