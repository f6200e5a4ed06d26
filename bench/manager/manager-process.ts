import { createServer } from 'node:http';
import { systemClock } from '../../src/base/clock.ts';
import { messageOf } from '../../src/base/coded-error.ts';
import { composeManager } from '../../src/bin/compose-manager.ts';
import { hintsOver } from '../../src/bin/log-hints.ts';
import { Database } from '../../src/db/database.ts';
import { SecretBox } from '../../src/db/secret-box.ts';
import { DummyExecutor } from '../../src/executor/dummy-executor.ts';
import { SqlLogStore } from '../../src/log/sql-log-store.ts';
import { noMetrics } from '../../src/manager/manager-metrics.ts';
import { defaultSettings } from '../../src/manager/settings.ts';
import type { BuildId } from '../../src/model/ids.ts';
import { MemoryOrchestrator } from '../../src/orchestrator/memory-orchestrator.ts';
import { RedisOrchestrator } from '../../src/orchestrator/redis-orchestrator.ts';
import { SqlBuildQueue } from '../../src/queue/sql-build-queue.ts';
import type { Registry } from '../../src/registry/registry.ts';
import { createOnePort } from '../../src/rpc/one-port.ts';
import { TokenKeySet } from '../../src/rpc/token-keys.ts';
import { WorkerTokens } from '../../src/rpc/tokens.ts';
import { hostedWorkers } from './hosted-workers.ts';
import { type FromManager, type ManagerOptions, type ToManager, usageNow } from './messages.ts';

/** One manager in a process of its own: the product's parts on one port, but for a registry, for nothing is pushed. */
const options = JSON.parse(process.argv[2] ?? '') as ManagerOptions;
const say = (message: FromManager): void => void process.send?.(message);

const logger = { debug: () => {}, info: () => {}, warn: tell, error: tell };
function tell(fields: object, text: string): void {
  const { err } = fields as { err?: unknown };
  process.stderr.write(`${options.name}: ${text} ${err === undefined ? '' : messageOf(err)}\n`);
}

const unused = async (): Promise<never> => {
  throw new Error('these builds push nothing');
};
const registry: Registry = {
  publish: unused,
  digestOf: unused,
  tags: unused,
  imageSize: unused,
  delete: unused,
};

const database = await Database.open({ provider: 'postgres', url: options.databaseUrl });
const orchestrator =
  options.redisPort === undefined
    ? new MemoryOrchestrator({ clock: systemClock })
    : await RedisOrchestrator.open({
        server: { host: '127.0.0.1', port: options.redisPort, database: 0 },
        prefix: 'bench:',
        clock: systemClock,
      });
const queue = new SqlBuildQueue(database, { secretBox: new SecretBox({ key: Buffer.alloc(32, 7) }) });
const log = new SqlLogStore(database, {
  ...(options.redisPort === undefined ? {} : { hints: hintsOver(orchestrator), poll: 1_000 }),
});
await queue.start();
await log.start();
const workers = hostedWorkers(options.hosts);
const executor = new DummyExecutor({ clock: systemClock, work: workers.work });
const workerTokens = new WorkerTokens({
  keys: new TokenKeySet([options.tokenKey]),
  issuer: 'bench',
  audience: 'localhost',
  clock: systemClock,
});
const phases: Record<string, number> = {};
const site = { server: '', serverTls: false, registryHost: 'localhost' };
const parts = composeManager({
  name: options.name,
  queue,
  log,
  orchestrator,
  executor,
  registry,
  cachedTag: async () => '',
  credentials: { openings: [], issue: async () => ({ pullToken: 'pull', pushToken: 'push' }) },
  hostKeys: { known: async () => [], record: async () => {} },
  links: { packageUrl: async () => undefined },
  workerTokens,
  worker: site,
  site: { registryHost: 'localhost', registryInsecure: true, maxSourceBytes: 1e9, allowedPrivateHosts: [] },
  clock: systemClock,
  settings: { ...defaultSettings, allowedWorkerCount: options.allowedWorkerCount },
  logger,
  metrics: {
    ...noMetrics,
    buildFinished: (phase) => {
      phases[phase] = (phases[phase] ?? 0) + 1;
    },
  },
});
const door = createOnePort({ grpc: parts.rpc, http: createServer(), log: logger });
const { port } = await door.listen({ host: '127.0.0.1', port: 0 });
site.server = `127.0.0.1:${port}`;
await parts.manager.start();

const reporting = setInterval(() => say({ kind: 'finished', phases }), 100);
const made: BuildId[] = [];
let delays: number[] = [];
const reading = new AbortController();

async function enqueue(count: number, namespaces: number): Promise<void> {
  let next = made.length;
  const end = next + count;
  const one = async (): Promise<void> => {
    while (next < end) {
      const n = next++;
      const build = await queue.enqueue({
        repository: { namespace: `team${n % namespaces}`, name: `${options.name}-${n}` as never },
        source: { kind: 'archive', url: 'https://example.com/source.tar.gz' },
        dockerfilePath: '/Dockerfile',
        context: '/',
        tags: ['latest' as never],
        buildArgs: {},
        labels: {},
        platforms: ['linux/amd64'],
        push: false,
        noCache: false,
        displayName: 'bench',
        priority: 0,
      });
      made.push(build.id);
    }
  };
  await Promise.all(Array.from({ length: 64 }, one));
}

/** What a follower waits for a line: from the moment the build wrote it, which stands in the line. */
async function follow(buildId: BuildId): Promise<void> {
  for await (const page of log.tail(buildId, 0, reading.signal)) {
    const now = Date.now();
    for (const { message, type } of page.entries) {
      const written = type === undefined ? Number.parseInt(message, 10) : Number.NaN;
      if (!Number.isNaN(written)) delays.push(now - written);
    }
  }
}

process.on('disconnect', () => process.exit(1));
process.on('message', (message: ToManager) => {
  void answer(message).catch((thrown: unknown) => say({ kind: 'failed', message: messageOf(thrown) }));
});

async function answer(message: ToManager): Promise<void> {
  switch (message.kind) {
    case 'enqueue':
      await enqueue(message.count, message.namespaces);
      say({ kind: 'enqueued' });
      return;
    case 'follow':
      for (const buildId of made) {
        void follow(buildId).catch((thrown: unknown) => say({ kind: 'failed', message: messageOf(thrown) }));
      }
      say({ kind: 'following' });
      return;
    case 'measure':
      delays = [];
      return;
    case 'usage':
      say({ kind: 'usage', usage: usageNow(), delays });
      return;
    case 'stop':
      clearInterval(reporting);
      reading.abort();
      await parts.rpc.stop(0);
      await door.stop(0);
      await parts.stop(0);
      await executor.close();
      await log.stop();
      await queue.stop();
      await orchestrator.close();
      await database.stop();
      workers.close();
      process.disconnect();
  }
}
say({ kind: 'ready', address: site.server });
