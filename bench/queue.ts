import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startPostgres } from '../test/services/postgres.ts';
import { serviceFolder } from '../test/services/service.ts';
import { atOnce, type Contender, type Draining, execute, scratchDatabase } from './queue/contender.ts';
import { GraphileContender } from './queue/graphile-contender.ts';
import { PgBossContender } from './queue/pg-boss-contender.ts';
import { SlipwayContender } from './queue/slipway-contender.ts';
import { type Figure, median, percentile, report } from './report.ts';

/**
 * The queue on PostgreSQL and SQLite, next to graphile-worker and pg-boss on the same PostgreSQL server (which flushes
 * to disk), all in this process. Each contender has two databases: an empty one, and one with `waiting` jobs of 1,000
 * namespaces. Rounds of all contenders take turns, and the middle round counts, so that a busy machine is
 * unfair to all alike.
 *
 * `enqueue`: jobs a second, one call each, 64 at once. `claim`: jobs a second claimed and completed: `one` by 64 loops
 * that take one at a time, as builds end one by one in a manager that has many, and that is what is judged; `batch` by 2
 * loops that take 16 and complete them together (graphile-worker: by 64 and 32 workers). `p50`, `p99`: milliseconds from the call
 * that enqueues to a worker that has the job, woken by NOTIFY, 50 a second after some
 * that are not counted.
 *
 * What waits is put in by `enqueue` for Slipway, and by their own bulk calls for the others. Slipway's waiting builds may
 * all be claimed while latency is measured, save that urgent ones come first; the others' are not due then, since
 * their workers would take them, and are made due after it.
 */
const waiting = Number(process.env.BENCH_WAITING ?? 100_000);
const jobs = Number(process.env.BENCH_JOBS ?? 1_000);
const rounds = Number(process.env.BENCH_ROUNDS ?? 3);
const only = process.argv[2];

const ways: Readonly<Record<string, Draining>> = {
  one: { loops: 64, batch: 1 },
  batch: { loops: 2, batch: 16 },
};

interface Entry {
  readonly contender: Contender;
  /** With that many jobs waiting. */
  readonly waiting: number;
  readonly seen: Map<string, number[]>;
}

const cleanUp = new AsyncDisposableStack();
const entries: Entry[] = [];

async function enter(open: (name: string) => Promise<Contender>, name: string): Promise<void> {
  if (only !== undefined && !only.split(',').includes(name)) return;
  for (const count of [0, waiting]) {
    const contender = cleanUp.use(await open(name));
    if (count > 0) {
      const begun = performance.now();
      await contender.preload(count, 1_000);
      const took = (performance.now() - begun) / 1000;
      process.stdout.write(`${name}: ${count} wait, put in within ${took.toFixed(1)} s\n`);
    }
    entries.push({ contender, waiting: count, seen: new Map() });
  }
}

async function round({ contender, seen }: Entry, draining: boolean): Promise<void> {
  const keep = (what: string, ...values: number[]) => seen.set(what, [...(seen.get(what) ?? []), ...values]);
  if (!draining) {
    await contender.latencies(30, 50);
    const times = await contender.latencies(150, 50);
    keep('p50', percentile(times, 50));
    keep('p99', percentile(times, 99));
    keep('times', ...times);
    return;
  }
  for (const [way, how] of Object.entries(ways)) {
    const cpu = process.cpuUsage();
    const begun = performance.now();
    await atOnce(jobs, 64, (n) => contender.enqueue(`active-${n % 100}`));
    keep('enqueue', (jobs * 1000) / (performance.now() - begun));
    const enqueued = process.cpuUsage(cpu);
    keep('enqueue cpu', (enqueued.user + enqueued.system) / 1000 / jobs);
    const before = process.cpuUsage();
    keep(`claim ${way}`, (jobs * 1000) / (await contender.drain(jobs, how)));
    const used = process.cpuUsage(before);
    keep(`claim ${way} cpu`, (used.user + used.system) / 1000 / jobs);
  }
}

try {
  const postgres = cleanUp.use(
    await startPostgres({ fsync: 'on', synchronous_commit: 'on', full_page_writes: 'on' }),
  );
  const folder = await serviceFolder('bench-queue');
  cleanUp.defer(() => rm(folder, { recursive: true, force: true }));
  const onServer = async () => cleanUp.use(await scratchDatabase(postgres.url)).url;
  let files = 0;
  await enter(
    async (name) => SlipwayContender.open(name, { provider: 'postgres', url: await onServer() }),
    'slipway',
  );
  await enter(async (name) => {
    files += 1;
    return SlipwayContender.open(name, { provider: 'sqlite', file: join(folder, `${files}.db`) });
  }, 'slipway-sqlite');
  await enter(async () => PgBossContender.open(await onServer()), 'pg-boss');
  await enter(async () => GraphileContender.open(await onServer()), 'graphile-worker');
  // What was put in is still on its way to the disk for half a minute, and a commit that meets it there waits for tens of
  // milliseconds, whichever contender it is that has its turn then.
  await execute(postgres.url, 'checkpoint');
  await promisify(execFile)('sync');
  // Latency first: what the others have waiting is made due by the first drain.
  for (const draining of [false, true]) {
    for (let n = 0; n < rounds; n += 1) {
      for (const entry of entries) {
        const begun = performance.now();
        await round(entry, draining);
        const took = ((performance.now() - begun) / 1000).toFixed(1);
        const what = draining ? 'enqueued, claimed and completed' : 'latencies';
        process.stdout.write(`${entry.contender.name} with ${entry.waiting} waiting: ${what} in ${took} s\n`);
      }
    }
  }
  report('queue', figures());
} finally {
  await cleanUp.disposeAsync();
}

function middle(name: string, count: number, what: string): number | undefined {
  const seen = entries
    .find((entry) => entry.contender.name === name && entry.waiting === count)
    ?.seen.get(what);
  return seen === undefined ? undefined : median(seen);
}

function figures(): Figure[] {
  const all = entries.flatMap(({ contender: { name }, waiting: count, seen }): Figure[] => {
    const own = name.startsWith('slipway');
    const label = (what: string) => `${name} ${what} ${count}`;
    const rate = (what: string, unit = '/s'): Figure => ({
      name: label(what),
      value: median(seen.get(what) ?? []),
      unit,
    });
    const boss = middle('pg-boss', count, 'claim one');
    const atLeast = (value: number | undefined): Pick<Figure, 'limit'> =>
      name === 'slipway' && value !== undefined ? { limit: { kind: 'at-least', value } } : {};
    return [
      rate('enqueue'),
      { ...rate('claim one'), ...atLeast(boss) },
      rate('claim batch'),
      { name: label('p50'), value: median(seen.get('p50') ?? []), unit: 'ms' },
      {
        name: label('p99'),
        value: percentile(seen.get('times') ?? [], 99),
        unit: 'ms',
        ...(own ? { limit: { kind: 'at-most', value: 50 } as const } : {}),
      },
      rate('enqueue cpu', 'ms/job'),
      rate('claim one cpu', 'ms/job'),
      rate('claim batch cpu', 'ms/job'),
    ];
  });
  const ratios = ['slipway', 'slipway-sqlite'].flatMap((name): Figure[] => {
    const [few, many] = [middle(name, 0, 'p99'), middle(name, waiting, 'p99')];
    if (few === undefined || many === undefined) return [];
    const limit = { kind: 'at-most', value: 1.5 } as const;
    return [{ name: `${name} p99 ${waiting} to 0`, value: many / few, unit: 'times', limit }];
  });
  return [...all, ...ratios];
}
