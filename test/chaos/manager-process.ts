import { mkdir, readFile, symlink } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { LoginLimiter } from '../../src/account/login-limiter.ts';
import { PasswordHasher } from '../../src/account/password-hash.ts';
import { SignIn } from '../../src/account/sign-in.ts';
import { SqlAccounts } from '../../src/account/sql-accounts.ts';
import { SqlSessions } from '../../src/account/sql-sessions.ts';
import { composeApi } from '../../src/bin/compose-api.ts';
import { composeManager } from '../../src/bin/compose-manager.ts';
import { composeRegistries } from '../../src/bin/compose-registries.ts';
import { composeRegistry } from '../../src/bin/compose-registry.ts';
import { composeStore } from '../../src/bin/compose-store.ts';
import { composeTriggers } from '../../src/bin/compose-triggers.ts';
import { loadOrMake, loadSecretKey } from '../../src/bin/keys.ts';
import { hintsOver } from '../../src/bin/log-hints.ts';
import { managerMetrics } from '../../src/bin/manager-metrics.ts';
import { beginLife } from '../../src/bin/manager-name.ts';
import { FolderBlobStore } from '../../src/blob/folder-blob-store.ts';
import { Database } from '../../src/db/database.ts';
import { SecretBox } from '../../src/db/secret-box.ts';
import { RedisOrchestrator } from '../../src/orchestrator/redis-orchestrator.ts';
import { publicOrigin } from '../../src/registry/public-origin.ts';
import { loadSigningKey } from '../../src/registry/signing-key.ts';
import { createOnePort } from '../../src/rpc/one-port.ts';
import { newTokenKey, TokenKeySet } from '../../src/rpc/token-keys.ts';
import { WorkerTokens } from '../../src/rpc/tokens.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { openServerLog } from '../../src/telemetry/server-log.ts';
import { gitHosts } from '../../src/trigger/host/hosts.ts';
import { UrlSigner } from '../../src/upload/url-signer.ts';
import { FaultyExecutor } from './faulty-executor.ts';
import type { ManagerConfig, ManagerOrder, ProcessReady } from './manager-config.ts';
import { OffsetClock } from './offset-clock.ts';

/**
 * One manager of the fault runner: the product's own parts in a process of their own, but for the clock, which can be
 * set wrong by a message, and the executor, which asks worker hosts and fails as its seed says.
 */
const issuer = 'slipway';

async function serve(config: ManagerConfig): Promise<() => Promise<void>> {
  const { folder, keys, front } = config;
  const clock = new OffsetClock();
  process.on('message', ({ offset }: ManagerOrder) => {
    clock.offset = offset;
  });
  const logger = openServerLog(join(folder, 'server.log'));
  const registryFolder = join(folder, 'registry');
  const run = join(folder, 'run');
  await mkdir(registryFolder, { recursive: true });
  await mkdir(run, { recursive: true });
  await symlink(config.storage, join(registryFolder, 'storage')).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });

  const url = `http://${front}`;
  const database = await Database.open({
    provider: 'postgres',
    url: config.databaseUrl,
    onError: (error) => logger.warn({ err: error }, 'a connection to the database broke'),
  });
  const blobs = new FolderBlobStore({ folder: config.blobs, shared: true });
  const archives = new FolderBlobStore({ folder: config.archives, shared: true });
  const orchestrator = await RedisOrchestrator.open({
    server: { host: '127.0.0.1', port: config.redisPort, database: 0 },
    prefix: 'chaos:',
    clock,
    onState: (state) => logger.info({ state: state.kind }, 'redis'),
    onWarning: (error) => logger.warn({ err: error }, 'Redis does not do all that was asked of it'),
  });
  const secretBox = new SecretBox({ key: await loadSecretKey(keys, 'database-secret-key') });
  const { queue, log, uploads, sweeper, audit, auditRetention, retention, hostKeys, links, storeKeepers } =
    composeStore({
      database,
      blobs,
      archives,
      archiveLogs: true,
      hints: hintsOver(orchestrator),
      secretBox,
      signer: new UrlSigner(await loadSecretKey(keys, 'url-signing-key'), clock),
      clock,
      logger,
    });
  await queue.start();
  await log.start();
  await blobs.start();
  await archives.start();
  const accounts = new SqlAccounts({ database, passwords: new PasswordHasher(), clock });
  const signIn = new SignIn(accounts, new LoginLimiter(database, clock));
  const publicOriginOf = (incoming: IncomingMessage) =>
    publicOrigin(incoming, { trustForwarded: false, fallback: url });
  const registry = composeRegistry({
    database,
    accounts,
    signIn,
    attempts: queue,
    key: await loadSigningKey(keys, clock),
    issuer,
    folder: registryFolder,
    url,
    registryHost: front,
    publicOrigin: publicOriginOf,
    clock,
    logger,
  });
  const external = composeRegistries({
    database,
    secretBox,
    allowPrivate: [],
    source: registry.client,
    clock,
  });
  const lives = await beginLife(run);
  const executor = new FaultyExecutor({
    hosts: config.hosts,
    seed: config.seed,
    numberOf: async (buildId) => Number((await queue.build(buildId))?.labels['chaos.build']),
  });
  const metrics = new Metrics();
  const { settings } = config;
  const parts = composeManager({
    name: lives.name,
    formerNames: lives.former,
    queue,
    log,
    orchestrator,
    executor,
    ...registry,
    ...external,
    hostKeys,
    links: {
      packageUrl: async (identity, uploadId) => {
        const path = await uploads.packageUrl(uploadId, identity, settings.machineMaxTime);
        return path === undefined ? undefined : new URL(path, url).toString();
      },
    },
    workerTokens: new WorkerTokens({
      keys: new TokenKeySet([await loadOrMake(keys, 'worker-token.key.pem', newTokenKey)]),
      issuer,
      audience: new URL(url).hostname,
      clock,
      times: queue,
    }),
    worker: { server: front, serverTls: false, registryHost: front },
    site: {
      registryHost: front,
      registryInsecure: true,
      maxSourceBytes: 10 * 1024 ** 2,
      allowedPrivateHosts: [],
    },
    clock,
    settings,
    logger,
    metrics: managerMetrics(metrics),
  });
  const triggers = composeTriggers({
    database,
    secretBox,
    queue,
    audit,
    accounts,
    hosts: gitHosts({}),
    registryHost: front,
    url,
    failureThreshold: undefined,
    internalErrorThreshold: undefined,
    metrics,
    clock,
    logger,
  });
  const api = composeApi({
    triggers,
    accounts,
    signIn,
    sessions: new SqlSessions({ database, clock }),
    audit,
    queue,
    log,
    uploads,
    retention,
    hostKeys,
    links,
    blobs,
    registry,
    ...external,
    orchestrator,
    metrics,
    disk: folder,
    allowPrivate: [],
    publicOrigin: publicOriginOf,
    clock,
    logger,
    options: {
      version: 'chaos',
      registryHost: front,
      buildSupport: true,
      readerBuildLogs: false,
      https: false,
    },
  });
  const door = createOnePort({ grpc: parts.rpc, http: api.server, log: logger });
  await registry.embedded.start();
  await api.start();
  await door.listen({ host: '127.0.0.1', port: config.port });
  await parts.manager.start();
  sweeper.start();
  storeKeepers.start();
  auditRetention.start();
  const stops: Readonly<Record<string, () => Promise<void>>> = {
    manager: () => parts.stop(0),
    door: async () => {
      api.endStreams();
      await door.stop();
    },
    rpc: () => parts.rpc.stop(),
    api: () => api.stop(),
    gateway: async () => registry.gateway.stop(),
    registry: () => registry.embedded.stop(),
    executor: () => executor.close(),
    keepers: async () => {
      await sweeper.stop();
      await auditRetention.stop();
      await storeKeepers.stop();
    },
    orchestrator: () => orchestrator.close(),
    log: () => log.stop(),
    queue: () => queue.stop(),
    blobs: async () => {
      await archives.stop();
      await blobs.stop();
    },
    database: () => database.stop(),
  };
  return async () => {
    for (const [part, stop] of Object.entries(stops)) {
      console.log(`${new Date().toISOString()} stopping: ${part}`);
      await stop();
    }
  };
}

const [, , file = ''] = process.argv;
const stop = await serve(JSON.parse(await readFile(file, 'utf8')) as ManagerConfig);
process.once('SIGTERM', () => {
  stop().then(
    () => process.exit(0),
    (thrown: unknown) => {
      console.error('the manager could not be stopped in order:', thrown);
      process.exit(1);
    },
  );
});
process.send?.({ ready: true } satisfies ProcessReady);
