import { createServer } from 'node:http';
import { systemClock } from '../../src/base/clock.ts';
import { composeManager } from '../../src/bin/compose-manager.ts';
import { Database } from '../../src/db/database.ts';
import { SecretBox } from '../../src/db/secret-box.ts';
import { DummyExecutor } from '../../src/executor/dummy-executor.ts';
import { SqlLogStore } from '../../src/log/sql-log-store.ts';
import { noMetrics } from '../../src/manager/manager-metrics.ts';
import { defaultSettings } from '../../src/manager/settings.ts';
import { MemoryOrchestrator } from '../../src/orchestrator/memory-orchestrator.ts';
import { SqlBuildQueue } from '../../src/queue/sql-build-queue.ts';
import type { Registry } from '../../src/registry/registry.ts';
import { createOnePort } from '../../src/rpc/one-port.ts';
import { newTokenKey, TokenKeySet } from '../../src/rpc/token-keys.ts';
import { WorkerTokens } from '../../src/rpc/tokens.ts';
import { usageNow } from '../manager/messages.ts';
import type { FromServer, ServerOptions, ToServer } from './messages.ts';

/** The product's port, sessions, queue and log store, with attempts whose workers have registered. */
const options = JSON.parse(process.argv[2] ?? '') as ServerOptions;
const say = (message: FromServer): void => void process.send?.(message);
const quiet = (): void => {};
const logger = { debug: quiet, info: quiet, warn: quiet, error: quiet };
const unused = async (): Promise<never> => {
  throw new Error('nothing is pushed here');
};
const registry: Registry = {
  publish: unused,
  digestOf: unused,
  tags: unused,
  imageSize: unused,
  delete: unused,
};

const database = await Database.open(
  options.databaseUrl === undefined
    ? { provider: 'sqlite', file: options.file ?? '' }
    : { provider: 'postgres', url: options.databaseUrl },
);
const queue = new SqlBuildQueue(database, { secretBox: new SecretBox({ key: Buffer.alloc(32, 7) }) });
const log = new SqlLogStore(database, { limit: Number.POSITIVE_INFINITY });
await queue.start();
await log.start();
const orchestrator = new MemoryOrchestrator({ clock: systemClock });
const executor = new DummyExecutor({ clock: systemClock, work: unused });
const workerTokens = new WorkerTokens({
  keys: new TokenKeySet([newTokenKey()]),
  issuer: 'bench',
  audience: 'localhost',
  clock: systemClock,
});
const parts = composeManager({
  name: 'bench',
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
  worker: { server: '', serverTls: false, registryHost: '' },
  site: { registryHost: '', registryInsecure: true, maxSourceBytes: 1e9, allowedPrivateHosts: [] },
  clock: systemClock,
  settings: { ...defaultSettings, allowedWorkerCount: options.attempts },
  logger,
  metrics: noMetrics,
});
// The manager itself is not started: nobody supervises, so nothing but the calls costs anything.
const tokens: string[] = [];
for (let n = 0; n < options.attempts; n += 1) {
  await queue.enqueue({
    repository: { namespace: 'bench', name: `app-${n}` as never },
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
}
const claimed = new Set<string>();
while (claimed.size < options.attempts) {
  const attempts = await queue.claim({
    manager: 'bench',
    limit: 100,
    capacity: 100_000,
    lease: 3_600_000,
  });
  for (const { id, jobId, buildId, epoch } of attempts) {
    claimed.add(id);
    await queue.register(id, epoch, { capabilities: {} });
    tokens.push(await workerTokens.sign('build_job_token', { buildId, jobId, attemptId: id, epoch }, 3_600));
  }
}
const door = createOnePort({ grpc: parts.rpc, http: createServer(), log: logger });
const { port } = await door.listen({ host: '127.0.0.1', port: 0 });

process.on('disconnect', () => process.exit(1));
process.on('message', (message: ToServer) => {
  void (async () => {
    if (message.kind === 'usage') {
      const { sum } = await database.sql
        .selectFrom('log_heads')
        .select((select) => select.fn.sum<number | null>('total').as('sum'))
        .executeTakeFirstOrThrow();
      say({ kind: 'usage', usage: usageNow(), entries: Number(sum ?? 0) });
      return;
    }
    await parts.rpc.stop(0);
    await door.stop(0);
    await parts.stop(0);
    await executor.close();
    await log.stop();
    await queue.stop();
    await orchestrator.close();
    await database.stop();
    process.disconnect();
  })();
});
say({ kind: 'ready', address: `127.0.0.1:${port}`, tokens });
