import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { LoginLimiter } from '../../src/account/login-limiter.ts';
import { PasswordHasher } from '../../src/account/password-hash.ts';
import { SignIn } from '../../src/account/sign-in.ts';
import { SqlAccounts } from '../../src/account/sql-accounts.ts';
import { SqlSessions } from '../../src/account/sql-sessions.ts';
import { systemClock as clock } from '../../src/base/clock.ts';
import { composeApi } from '../../src/bin/compose-api.ts';
import { composeManager } from '../../src/bin/compose-manager.ts';
import { composeRegistries } from '../../src/bin/compose-registries.ts';
import { composeRegistry } from '../../src/bin/compose-registry.ts';
import { composeStore } from '../../src/bin/compose-store.ts';
import { composeTriggers } from '../../src/bin/compose-triggers.ts';
import { freePort } from '../../src/bin/free-port.ts';
import { fallbackMetrics, managerMetrics } from '../../src/bin/manager-metrics.ts';
import { watchParts } from '../../src/bin/watch-parts.ts';
import { FolderBlobStore } from '../../src/blob/folder-blob-store.ts';
import { Database } from '../../src/db/database.ts';
import { SecretBox } from '../../src/db/secret-box.ts';
import { DummyExecutor } from '../../src/executor/dummy-executor.ts';
import type { WorkerOrder } from '../../src/executor/executor.ts';
import { type FailoverEntry, FailoverExecutor } from '../../src/executor/failover.ts';
import { defaultSettings, type ManagerSettings } from '../../src/manager/settings.ts';
import { MemoryOrchestrator } from '../../src/orchestrator/memory-orchestrator.ts';
import { loadSigningKey } from '../../src/registry/signing-key.ts';
import { ManagerLink } from '../../src/rpc/manager-link.ts';
import { createOnePort } from '../../src/rpc/one-port.ts';
import { newTokenKey, TokenKeySet } from '../../src/rpc/token-keys.ts';
import { WorkerTokens } from '../../src/rpc/tokens.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { gitHosts } from '../../src/trigger/host/hosts.ts';
import { UrlSigner } from '../../src/upload/url-signer.ts';
import { runAgent } from '../../src/worker/agent.ts';
import { DummyEngine } from '../../src/worker/engine/dummy.ts';
import { Workspace } from '../../src/worker/workspace.ts';

export interface WholeServerOptions {
  /** Executors that are asked before the one that runs the workers. */
  readonly before?: readonly FailoverEntry[];
  readonly settings?: Partial<ManagerSettings>;
  /** Private hosts that users may lead us to. */
  readonly allowPrivate?: readonly string[];
}

/**
 * All of a server in this process, put together as the product does it: database, queue, manager, REST, gRPC and
 * registry on one port. Only the workers are special: agents with the dummy engine, in this process too.
 */
export async function startWholeServer({
  before = [],
  settings = {},
  allowPrivate = [],
}: WholeServerOptions = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'slipway-whole-'));
  const logged: string[] = [];
  const logger = pino({ level: 'debug' }, { write: (line: string) => logged.push(line) });
  const port = await freePort('127.0.0.1');
  const host = `127.0.0.1:${port}`;
  const url = `http://${host}`;
  const database = await Database.open({ provider: 'sqlite', file: join(folder, 'slipway.db') });
  const blobs = new FolderBlobStore({ folder: join(folder, 'blobs') });
  await blobs.start();
  await mkdir(join(folder, 'registry'));
  const secretBox = new SecretBox({ key: randomBytes(32) });
  const { queue, log, uploads, audit, retention, hostKeys, links } = composeStore({
    database,
    blobs,
    secretBox,
    signer: new UrlSigner(randomBytes(32), clock),
    clock,
    logger,
  });
  await queue.start();
  await log.start();
  const metrics = new Metrics();
  const accounts = new SqlAccounts({ database, passwords: new PasswordHasher(), clock });
  const signIn = new SignIn(accounts, new LoginLimiter(database, clock));
  const publicOrigin = () => url;
  const registry = composeRegistry({
    database,
    accounts,
    signIn,
    attempts: queue,
    onStale: () => metrics.epochsRefused.inc({ reason: 'registry' }),
    key: await loadSigningKey(join(folder, 'keys'), clock),
    issuer: 'slipway',
    folder: join(folder, 'registry'),
    url,
    registryHost: host,
    publicOrigin,
    clock,
    logger,
  });
  const external = composeRegistries({ database, secretBox, allowPrivate, source: registry.client, clock });
  const orchestrator = new MemoryOrchestrator({ clock });

  const work = async (order: WorkerOrder, signal: AbortSignal) => {
    const link = new ManagerLink({ server: order.server, clock, log: () => {}, heartbeatEvery: 500 });
    const { end } = await runAgent(
      {
        link,
        registrationToken: order.token,
        capabilities: {
          version: '1',
          logBatches: true,
          pushesByDigest: true,
          engine: 'dummy',
          platform: 'linux/amd64',
        },
        loadEngine: async () => new DummyEngine({ clock }),
        makeWorkspace: () => Workspace.create(undefined, folder),
        keepWorkspace: false,
        clock,
        log: () => {},
      },
      signal,
    );
    return { exitCode: end.kind === 'complete' ? 0 : 1 };
  };
  const executor = new FailoverExecutor({
    entries: [...before, { executor: new DummyExecutor({ name: 'dummy', clock, work }) }],
    onFallback: fallbackMetrics(metrics),
  });
  const all = { ...defaultSettings, allowedWorkerCount: 4, ...settings };
  const parts = composeManager({
    name: 'manager-1',
    queue,
    log,
    orchestrator,
    executor,
    ...registry,
    ...external,
    hostKeys,
    links: {
      packageUrl: async (identity, uploadId) => {
        const path = await uploads.packageUrl(uploadId, identity, all.machineMaxTime);
        return path === undefined ? undefined : new URL(path, url).toString();
      },
    },
    workerTokens: new WorkerTokens({
      keys: new TokenKeySet([newTokenKey()]),
      issuer: 'slipway',
      audience: '127.0.0.1',
      clock,
      times: queue,
    }),
    worker: { server: host, serverTls: false, registryHost: host },
    site: {
      registryHost: host,
      registryInsecure: true,
      maxSourceBytes: 1e9,
      allowedPrivateHosts: allowPrivate,
    },
    clock,
    settings: all,
    logger,
    metrics: managerMetrics(metrics),
  });
  metrics.live.watchManager(() => parts.manager.supervising);
  const executors = ['dummy', ...before.map((entry) => entry.executor.name)];
  watchParts({ metrics, database, executors, orchestrator, archiveLogs: false, clock });
  const triggers = composeTriggers({
    database,
    secretBox,
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
    allowPrivate,
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
  triggers.start();
  await accounts.createUser({ username: 'kim', password: 'correct horse', superuser: true });
  const { token } = await accounts.createToken('kim', {
    name: 'test',
    scopes: ['repo:read', 'repo:write', 'repo:admin', 'org:admin', 'user:admin', 'super:user'],
  });

  const call = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const response = await fetch(new URL(path, url), {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const json = (text.startsWith('{') ? JSON.parse(text) : {}) as Record<string, unknown>;
    return { status: response.status, text, json };
  };

  return {
    url,
    host,
    folder,
    logged,
    database,
    accounts,
    queue,
    blobs,
    audit,
    metrics,
    parts,
    orchestrator,
    registry,
    external,
    call,
    /** Builds a Dockerfile of these lines, waits for the end, and gives the view of it. */
    async build(
      repository: string,
      lines: readonly string[],
      {
        headers,
        onAsked,
        ...fields
      }: {
        readonly headers?: Record<string, string>;
        readonly push?: boolean;
        readonly docker_tags?: readonly string[];
        /** Told the address of the build as soon as it was asked for. */
        readonly onAsked?: (path: string) => void;
      } = {},
    ): Promise<Record<string, unknown>> {
      const drop = await call('POST', '/api/v1/filedrop', { mimeType: 'text/plain' });
      await fetch(String(drop.json.url), { method: 'PUT', body: ['FROM scratch', ...lines, ''].join('\n') });
      const path = `/api/v1/repository/kim/${repository}/build`;
      const asked = await call('POST', path, { file_id: drop.json.file_id, ...fields }, headers);
      if (asked.status !== 201) throw new Error(`the build was refused: ${asked.text}`);
      onAsked?.(`${path}/${asked.json.id}`);
      // The stream of the log ends when the build has.
      await call('GET', `${path}/${asked.json.id}/logs/stream`);
      return (await call('GET', `${path}/${asked.json.id}`)).json;
    },
    async [Symbol.asyncDispose]() {
      await triggers.stop();
      await parts.stop(0);
      api.endStreams();
      await door.stop();
      await parts.rpc.stop();
      await api.stop();
      await registry.gateway.stop();
      await registry.embedded.stop();
      await executor.close();
      await orchestrator.close();
      await log.stop();
      await queue.stop();
      await database.stop();
      await blobs.stop?.();
      await rm(folder, { recursive: true });
    },
  };
}

export type WholeServer = Awaited<ReturnType<typeof startWholeServer>>;
