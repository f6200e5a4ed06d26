import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../src/base/clock.ts';
import type { Executor, WorkerOrder } from '../src/executor/executor.ts';
import { LocalExecutor } from '../src/executor/local-executor.ts';
import { processesMarked } from '../src/executor/process-table.ts';
import { attemptMarker } from '../src/executor/worker-environment.ts';
import { newAttemptId, newBuildId } from '../src/model/ids.ts';
import { ApiProxy } from '../test/kubernetes/api-proxy.ts';
import { buildBinaries } from '../test/kubernetes/binaries.ts';
import { account, Cluster, patiently } from '../test/kubernetes/cluster.ts';
import { type Figure, percentile, report } from './report.ts';

/**
 * Workers on a real Kubernetes control plane (etcd, API server, controllers and scheduler on this machine; pods are
 * faked), and as processes of this machine.
 *
 * `create`, `adopt`, `delete`: workers a second, 32 asked for at once; adopting is done by an executor that begins anew.
 * `calls`: everything the executor's account called, looks included, by the API server's audit log, a build.
 * `noticed`: milliseconds from the moment the cluster knows that a pod has ended (here: a process is killed) until
 * `onGone` tells so, its log and events read. `without watch`: the same while watches are refused.
 */
const jobs = Number(process.env.BENCH_JOBS ?? 500);
const deaths = Number(process.env.BENCH_DEATHS ?? 100);
const atOnce = 32;
const never = new AbortController().signal;

function order(token: string): WorkerOrder {
  return {
    buildId: newBuildId(),
    attemptId: newAttemptId(),
    epoch: 1,
    namespace: 'team',
    platform: '',
    triesLeft: 2,
    token,
    server: '127.0.0.1:1',
    serverTls: false,
    registryHost: '127.0.0.1:1',
    maxLifetime: 600_000,
  };
}

async function each<T>(items: readonly T[], act: (item: T) => Promise<unknown>): Promise<number> {
  const from = performance.now();
  const rest = [...items];
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let item = rest.shift(); item !== undefined; item = rest.shift()) await act(item);
    }),
  );
  return items.length / ((performance.now() - from) / 1000);
}

/** Kills one after the other, and gives the milliseconds until each is told of. */
async function noticed(
  executor: Executor,
  orders: readonly WorkerOrder[],
  kill: (one: WorkerOrder) => Promise<unknown>,
): Promise<number[]> {
  const killed = new Map<string, number>();
  const seen: number[] = [];
  const end = executor.onGone(({ attemptId }) => {
    const at = killed.get(attemptId);
    if (at !== undefined) seen.push(performance.now() - at);
  });
  for (const one of orders) {
    await kill(one);
    killed.set(one.attemptId, performance.now());
    await sleep(50);
  }
  await patiently(() => {
    if (seen.length < orders.length)
      throw new Error(`${seen.length} of ${orders.length} deaths were told of`);
  });
  end();
  return seen;
}

async function onKubernetes(): Promise<Figure[]> {
  const built = await buildBinaries({ report: (line) => console.log(line) });
  if ('missing' in built) throw new Error(built.missing);
  await using cluster = await Cluster.start();
  await using proxy = await ApiProxy.open(cluster.plane);
  const settings = { name: 'bench' };
  const called = () => cluster.plane.audit().filter(({ user }) => user === account);
  const orders = Array.from({ length: jobs }, () => order('run'));

  const first = cluster.executor({ settings, server: proxy.host });
  const workers = new Map<WorkerOrder, string>();
  const created = await each(orders, async (one) => workers.set(one, (await first.start(one, never)).worker));
  await first.close();

  const second = cluster.executor({ settings, server: proxy.host });
  const from = performance.now();
  await second.adopt(async () => true);
  const adopted = (await second.running()).length / ((performance.now() - from) / 1000);
  const single = called().filter(({ verb }) => verb !== 'watch' && verb !== 'list').length;

  // Deaths are measured while all the others run.
  await patiently(
    async () => {
      const statuses = await Promise.all([...workers.values()].map((worker) => second.status(worker)));
      const waiting = statuses.filter(({ kind }) => kind !== 'running').length;
      if (waiting > 0) throw new Error(`${waiting} workers do not run yet`);
    },
    { timeout: 300_000, interval: 500 },
  );
  const looks = called().filter(({ verb }) => verb === 'list').length;
  const end = (one: WorkerOrder) => cluster.set(one, { kind: 'failed', exitCode: 1 });
  const watched = await noticed(second, orders.slice(0, deaths), end);
  proxy.refuse(({ watch }) => watch, 500, {}, 1_000_000);
  proxy.cutWatches();
  const unwatched = await noticed(second, orders.slice(deaths, 2 * deaths), end);

  const before = called().length;
  const deleted = await each([...workers.values()], (worker) => second.stop(worker, never));
  const deletions = called().length - before;
  const calls = (single + looks + deletions) / jobs;
  return [
    { name: 'kubernetes: create', value: created, unit: 'jobs/s' },
    { name: 'kubernetes: adopt', value: adopted, unit: 'jobs/s' },
    { name: 'kubernetes: delete', value: deleted, unit: 'jobs/s' },
    { name: 'kubernetes: calls', value: calls, unit: 'a build', limit: { kind: 'at-most', value: 6 } },
    ...latencies('kubernetes: noticed', watched, 3_000),
    ...latencies('kubernetes: noticed without watch', unwatched),
  ];
}

/** Without a limit they are shown and not judged. */
function latencies(name: string, seen: readonly number[], limit?: number): Figure[] {
  const p99 = { name: `${name} p99`, value: percentile(seen, 99), unit: 'ms' };
  return [
    { name: `${name} p50`, value: percentile(seen, 50), unit: 'ms' },
    limit === undefined ? p99 : { ...p99, limit: { kind: 'at-most', value: limit } },
  ];
}

async function onThisMachine(): Promise<Figure[]> {
  const folder = await mkdtemp(join(tmpdir(), 'slipway-bench-'));
  const executor = new LocalExecutor({
    command: ['/usr/bin/sleep', '600'],
    environment: { PATH: '/usr/bin:/bin' },
    workersFolder: join(folder, 'workers'),
    recordsFolder: join(folder, 'records'),
    token: 'environment',
    clock: systemClock,
  });
  try {
    const orders = Array.from({ length: deaths }, () => order('local'));
    const workers: string[] = [];
    const started = await each(orders, async (one) =>
      workers.push((await executor.start(one, never)).worker),
    );
    const seen = await noticed(executor, orders, async ({ attemptId }) => {
      for (const pid of processesMarked(join(folder, 'workers', attemptId), attemptMarker(attemptId)))
        process.kill(pid, 'SIGKILL');
    });
    for (const worker of workers) await executor.stop(worker, never);
    return [
      { name: 'local: start', value: started, unit: 'jobs/s' },
      ...latencies('local: noticed', seen, 1_000),
    ];
  } finally {
    await executor.close();
    await rm(folder, { recursive: true, force: true });
  }
}

report('executor', [...(await onThisMachine()), ...(await onKubernetes())]);
