import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LoginLimiter } from '../../src/account/login-limiter.ts';
import { PasswordHasher } from '../../src/account/password-hash.ts';
import { SignIn } from '../../src/account/sign-in.ts';
import { SqlAccounts } from '../../src/account/sql-accounts.ts';
import { SqlSessions } from '../../src/account/sql-sessions.ts';
import { type Clock, systemClock } from '../../src/base/clock.ts';
import { composeApi } from '../../src/bin/compose-api.ts';
import { composeManager, type ManagerOptions, type ManagerParts } from '../../src/bin/compose-manager.ts';
import { composeRegistries } from '../../src/bin/compose-registries.ts';
import { composeRegistry } from '../../src/bin/compose-registry.ts';
import { composeStore } from '../../src/bin/compose-store.ts';
import { composeTriggers } from '../../src/bin/compose-triggers.ts';
import { freePort } from '../../src/bin/free-port.ts';
import { managerMetrics } from '../../src/bin/manager-metrics.ts';
import { FolderBlobStore } from '../../src/blob/folder-blob-store.ts';
import { Database } from '../../src/db/database.ts';
import type { Schema } from '../../src/db/schema.ts';
import { SecretBox } from '../../src/db/secret-box.ts';
import { DummyExecutor, type DummyExecutorOptions } from '../../src/executor/dummy-executor.ts';
import type { WorkerOrder } from '../../src/executor/executor.ts';
import type { LogEntry } from '../../src/log/log-store.ts';
import { defaultSettings, type ManagerSettings } from '../../src/manager/settings.ts';
import type { WorkerIdentity } from '../../src/manager/worker-sessions.ts';
import type { Build, BuildRequest } from '../../src/model/build.ts';
import { isFinal } from '../../src/model/phase.ts';
import type { Tag } from '../../src/model/tag.ts';
import { RedisOrchestrator } from '../../src/orchestrator/redis-orchestrator.ts';
import type { EnqueueOptions } from '../../src/queue/build-queue.ts';
import { OciClient } from '../../src/registry/oci-client.ts';
import { loadSigningKey } from '../../src/registry/signing-key.ts';
import { createOnePort } from '../../src/rpc/one-port.ts';
import { newTokenKey, TokenKeySet } from '../../src/rpc/token-keys.ts';
import { WorkerTokens } from '../../src/rpc/tokens.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { openServerLog } from '../../src/telemetry/server-log.ts';
import { gitHosts } from '../../src/trigger/host/hosts.ts';
import { UrlSigner } from '../../src/upload/url-signer.ts';
import { type OpenScratch, scratchFile } from '../harness/scratch-database.ts';

const quick: ManagerSettings = {
  ...defaultSettings,
  allowedWorkerCount: 8,
  poll: 50,
  retryDelay: 20,
  startDelay: 30,
  capacityDelay: 30,
  cancelGrace: 300,
  settleTime: 200,
};

/** What a test, being the worker, was started with. */
export interface StartedAttempt {
  readonly order: WorkerOrder;
  readonly identity: WorkerIdentity;
  /** The registration token. */
  readonly token: string;
}

export type Rows = Readonly<Record<string, readonly string[]>>;

/** Everything that a worker could change. */
const watched = [
  'builds',
  'jobs',
  'attempts',
  'queue_clocks',
  'queue_turns',
  'build_secrets',
  'git_host_keys',
  'log_heads',
  'log_chunks',
  'log_tails',
  'registry_pushes',
] as const satisfies readonly (keyof Schema)[];

export type Rig = Awaited<ReturnType<typeof openRig>>;

/**
 * The product, put together by its own functions and served on one port, with two things left to the test: it is the
 * worker of every attempt, and it has the keys.
 */
export async function openRig({
  open = scratchFile,
  settings,
  worker,
  clock = systemClock,
}: {
  readonly open?: OpenScratch;
  /** Of everything that is ours. */
  readonly clock?: Clock;

  readonly settings?: Partial<ManagerSettings>;
  /** What workers do by themselves; otherwise the test does it for them. */
  readonly worker?: Pick<DummyExecutorOptions, 'work' | 'behave'>;
} = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'slipway-protocol-'));
  const scratch = await open();
  const { database } = scratch;
  const port = await freePort('127.0.0.1');
  const host = `127.0.0.1:${port}`;
  const url = `http://${host}`;
  const logger = openServerLog(join(folder, 'server.log'));
  const blobs = new FolderBlobStore({ folder: join(folder, 'blobs') });
  await blobs.start();
  const keys = {
    secretBox: new SecretBox({ key: randomBytes(32) }),
    signer: new UrlSigner(randomBytes(32), clock),
  };
  const { queue, log, uploads, audit, retention, hostKeys, links } = composeStore({
    ...keys,
    database,
    blobs,
    clock,
    logger,
  });
  await queue.start();
  await log.start();
  const accounts = new SqlAccounts({ database, passwords: new PasswordHasher(), clock });
  const signIn = new SignIn(accounts, new LoginLimiter(database, clock));
  const publicOrigin = (_incoming: IncomingMessage) => url;
  const issuer = 'slipway';
  await mkdir(join(folder, 'registry'));
  const registry = composeRegistry({
    database,
    accounts,
    signIn,
    attempts: queue,
    key: await loadSigningKey(join(folder, 'keys'), clock),
    issuer,
    folder: join(folder, 'registry'),
    url,
    registryHost: host,
    publicOrigin,
    clock,
    logger,
  });
  const external = composeRegistries({
    database,
    secretBox: keys.secretBox,
    allowPrivate: [],
    source: registry.client,
    clock,
  });
  const keyPem = newTokenKey();
  const workerTokens = new WorkerTokens({
    keys: new TokenKeySet([keyPem]),
    issuer,
    audience: '127.0.0.1',
    clock,
    times: queue,
  });
  const orders: WorkerOrder[] = [];
  const exits = new Map<string, (exitCode: number) => void>();
  const byTest: Pick<DummyExecutorOptions, 'work' | 'behave'> = {
    work: (order, signal) =>
      new Promise((resolve) => {
        orders.push(order);
        exits.set(order.attemptId, (exitCode) => resolve({ exitCode }));
        signal.addEventListener('abort', () => resolve({ exitCode: 0 }), { once: true });
      }),
  };
  const metrics = new Metrics();
  const newExecutor = () => new DummyExecutor({ clock, ...(worker ?? byTest) });
  const prefix = `${randomBytes(6).toString('hex')}:`;
  const newOrchestrator = async () => {
    const redis = new URL(process.env.SLIPWAY_TEST_REDIS ?? '');
    const server = { host: redis.hostname, port: Number(redis.port), database: 0 };
    return await RedisOrchestrator.open({ server, prefix, clock });
  };
  const manage = (
    server: string,
    own: Pick<ManagerOptions, 'queue' | 'log' | 'executor' | 'orchestrator'>,
  ): ManagerParts =>
    composeManager({
      name: `manager-${randomBytes(6).toString('hex')}`,
      ...own,
      ...registry,
      hostKeys,
      links: { packageUrl: async () => undefined },
      workerTokens,
      worker: { server, serverTls: false, registryHost: host },
      site: { registryHost: host, registryInsecure: true, maxSourceBytes: 1e9, allowedPrivateHosts: [] },
      clock,
      settings: { ...quick, ...settings },
      logger,
      metrics: managerMetrics(metrics),
    });
  const executor = newExecutor();
  const orchestrator = await newOrchestrator();
  const parts = manage(host, { queue, log, executor, orchestrator });
  const joined: (() => Promise<void>)[] = [];
  const triggers = composeTriggers({
    database,
    secretBox: keys.secretBox,
    queue,
    audit,
    accounts,
    hosts: gitHosts({}),
    registryHost: host,
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
    publicOrigin,
    clock,
    logger,
    options: {
      version: '0.0.0-test',
      registryHost: host,
      buildSupport: true,
      readerBuildLogs: false,
      https: false,
    },
  });
  const door = createOnePort({ grpc: parts.rpc, http: api.server, log: logger });
  await registry.embedded.start();
  await api.start();
  await door.listen({ host: '127.0.0.1', port });
  await parts.manager.start();

  const rig = {
    host,
    url,
    queue,
    hostKeys,
    log,
    executor,
    database,
    /** Of all managers together. */
    metrics,
    registry: registry.registry,
    workerTokens,
    /** Of worker tokens: private key in PEM, issuer, audience. */
    signing: { keyPem, issuer, audience: '127.0.0.1' },

    /** Another manager on the same database, with connections, an executor and a port of its own. */
    async join(): Promise<{ readonly host: string }> {
      const database = await Database.open(scratch.options);
      const store = composeStore({ ...keys, database, blobs, clock, logger });
      await store.queue.start();
      await store.log.start();
      const ownPort = await freePort('127.0.0.1');
      const ownHost = `127.0.0.1:${ownPort}`;
      const own = { ...store, executor: newExecutor(), orchestrator: await newOrchestrator() };
      const another = manage(ownHost, own);
      const ownDoor = createOnePort({ grpc: another.rpc, log: logger });
      await ownDoor.listen({ host: '127.0.0.1', port: ownPort });
      await another.manager.start();
      joined.push(async () => {
        await another.stop(0);
        await ownDoor.stop(0);
        await another.rpc.stop(0);
        await own.executor.close();
        await own.orchestrator.close();
        await store.log.stop();
        await store.queue.stop();
        await database.stop();
      });
      return { host: ownHost };
    },

    async enqueue(changes: Partial<BuildRequest> = {}, options: EnqueueOptions = {}): Promise<Build> {
      const request: BuildRequest = {
        repository: { namespace: 'team', name: `app-${randomBytes(6).toString('hex')}` },
        source: { kind: 'archive', url: 'https://sources.example/app.tar.gz' },
        context: '/',
        dockerfilePath: '/Dockerfile',
        tags: ['latest' as Tag],
        displayName: 'test',
        platforms: [''],
        buildArgs: {},
        labels: {},
        noCache: false,
        push: true,
        priority: 0,
        ...changes,
      };
      return await queue.enqueue(request, options);
    },

    /** The build's attempt of this epoch, once its worker is started and the manager has written that down. */
    async started({ id }: Build, epoch = 1): Promise<StartedAttempt> {
      return await until(`attempt ${epoch} of build ${id}`, async () => {
        for (const order of orders) {
          const attempt = await queue.attempt(order.attemptId);
          if (attempt?.buildId !== id || attempt.epoch !== epoch || attempt.worker === undefined) continue;
          const identity = { buildId: id, jobId: attempt.jobId, attemptId: attempt.id, epoch };
          return { order, identity, token: order.token };
        }
        return undefined;
      });
    },

    /** The worker's process ends so. */
    exit({ identity }: StartedAttempt, exitCode: number): void {
      exits.get(identity.attemptId)?.(exitCode);
    },

    jobToken(identity: WorkerIdentity): Promise<string> {
      return workerTokens.sign('build_job_token', identity, 600);
    },

    async build({ id }: Build): Promise<Build> {
      const build = await queue.build(id);
      if (build === undefined) throw new Error(`build ${id} is gone`);
      return build;
    },

    /** The build once it is final and its log is closed. */
    async final({ id }: Build): Promise<Build & { readonly entries: readonly LogEntry[] }> {
      const entries: LogEntry[] = [];
      const limit = AbortSignal.timeout(30_000);
      for await (const page of log.tail(id, 0, limit)) entries.push(...page.entries);
      if (limit.aborted) throw new Error('the log was never closed');
      const build = await queue.build(id);
      if (build === undefined || !isFinal(build.phase)) throw new Error(`not final: ${build?.phase}`);
      return { ...build, entries };
    },

    /** All rows that a worker could change, to be compared. */
    async rows(): Promise<Rows> {
      const all: Record<string, readonly string[]> = {};
      for (const table of watched) {
        const rows = await database.sql.selectFrom(table).selectAll().execute();
        all[table] = rows.map((row) => JSON.stringify(row)).sort();
      }
      return all;
    },

    /** A registry client with a worker's credentials. */
    registryClient(password: string): OciClient {
      return new OciClient({
        endpoint: { kind: 'network', host, security: 'http' },
        credentials: { kind: 'password', username: '$token', password },
        clock,
      });
    },

    async [Symbol.asyncDispose]() {
      for (const leave of joined.splice(0)) await leave();
      await parts.stop(0);
      api.endStreams();
      await door.stop(0);
      await parts.rpc.stop(0);
      await api.stop();
      await registry.gateway.stop();
      await registry.embedded.stop();
      await executor.close();
      await orchestrator.close();
      await log.stop();
      await queue.stop();
      await scratch[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
  return rig;
}

/** Looks until there is something; throws with `what` when there never is. */
export async function until<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
  for (const end = Date.now() + 30_000; ; await sleep(10)) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    if (Date.now() > end) throw new Error(`waited in vain for: ${what}`);
  }
}
