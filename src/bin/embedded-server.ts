import { randomBytes } from 'node:crypto';
import { chown, mkdir, readFile, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { availableParallelism, hostname as machineName } from 'node:os';
import { join } from 'node:path';
import { AccountAuthorizer } from '../account/authorizer.ts';
import { LoginLimiter } from '../account/login-limiter.ts';
import { PasswordHasher } from '../account/password-hash.ts';
import { SignIn } from '../account/sign-in.ts';
import { SqlAccounts } from '../account/sql-accounts.ts';
import { createApi } from '../api/server.ts';
import { systemClock as clock } from '../base/clock.ts';
import { FolderBlobStore } from '../blob/folder-blob-store.ts';
import { writeLogin } from '../cli/profile.ts';
import { Database } from '../db/database.ts';
import { SecretBox } from '../db/secret-box.ts';
import { EgressGuard } from '../egress/egress-guard.ts';
import { EgressPolicy } from '../egress/egress-policy.ts';
import { DiskKeeper } from '../executor/disk-keeper.ts';
import { LocalExecutor } from '../executor/local-executor.ts';
import { SqlLogStore } from '../log/sql-log-store.ts';
import { AttemptEnd } from '../manager/attempt-end.ts';
import { BuildEnd } from '../manager/build-end.ts';
import { BuildManager } from '../manager/build-manager.ts';
import { Publisher } from '../manager/publisher.ts';
import { defaultSettings, type ManagerSettings } from '../manager/settings.ts';
import { WorkerSessionService } from '../manager/worker-session-service.ts';
import { MemoryOrchestrator } from '../orchestrator/memory-orchestrator.ts';
import { SqlBuildQueue } from '../queue/sql-build-queue.ts';
import { BuildCredentials } from '../registry/build-credential.ts';
import { cachedTag } from '../registry/cached-tag.ts';
import { embeddedClient } from '../registry/embedded-client.ts';
import { EmbeddedRegistry } from '../registry/embedded-registry.ts';
import { RegistryGateway } from '../registry/gateway.ts';
import { OciRegistry } from '../registry/oci-registry.ts';
import { publicOrigin } from '../registry/public-origin.ts';
import { loadSigningKey } from '../registry/signing-key.ts';
import { SqlPushHistory } from '../registry/sql-push-history.ts';
import { TokenEndpoint } from '../registry/token-endpoint.ts';
import { TokenService } from '../registry/token-service.ts';
import { createOnePort } from '../rpc/one-port.ts';
import { RpcServer } from '../rpc/server.ts';
import { newTokenKey, TokenKeySet } from '../rpc/token-keys.ts';
import { WorkerTokens } from '../rpc/tokens.ts';
import { checkAccountReach } from '../setup/account-reach.ts';
import { type DataFolder, openDataFolder } from '../setup/data-folder.ts';
import { checkOwnAccount } from '../setup/own-account.ts';
import { buildPackages } from '../setup/package-list.ts';
import { ensurePackages } from '../setup/packages.ts';
import { type ProgramView, viewProgram } from '../setup/program-view.ts';
import { SetupError } from '../setup/setup-error.ts';
import { ensureWorkerAccount, existingWorkerAccount, type WorkerAccount } from '../setup/worker-account.ts';
import { blobStoreCheck, diskCheck, queueCheck } from '../telemetry/health-check.ts';
import { Metrics } from '../telemetry/metrics.ts';
import { openServerLog } from '../telemetry/server-log.ts';
import { UploadSweeper } from '../upload/upload-sweeper.ts';
import { Uploads } from '../upload/uploads.ts';
import { UrlSigner } from '../upload/url-signer.ts';
import type { CleanPolicy } from '../worker/engine/engine.ts';
import type { ProcessEnvironment } from './environment.ts';
import { freePort } from './free-port.ts';
import { loadOrMake, loadSecretKey } from './keys.ts';
import { managerMetrics } from './manager-metrics.ts';
import { beginLife } from './manager-name.ts';

export interface EmbeddedServerOptions {
  readonly data: string;
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
  /** host[:port] clients know the server by. */
  readonly hostname?: string;
  readonly workers?: number;
  /** Milliseconds running builds may go on after `stop`. */
  readonly drain: number;
  /** Install packages and make accounts where that is needed and allowed. */
  readonly setup: boolean;
  /** Bytes. */
  readonly uploadLimit?: number;
  readonly logLimit?: number;
  /** Builds of one namespace that may wait; more are refused. Absent: any number. */
  readonly maxQueued?: number;
  /** Milliseconds. */
  readonly retryDelay?: number;
  readonly allowPrivate?: readonly string[];
  /** Told what is done, one line at a time. */
  readonly report: (line: string) => void;
}

export interface EmbeddedServer {
  readonly url: string;
  /** host[:port], as in image names. */
  readonly registryHost: string;
  /** The administrator's, for the client on this machine. */
  readonly token: string;
  /** Only at the first start. */
  readonly adminPassword: string | undefined;
  writeProfile(file: string): Promise<void>;
  /** Drains, then stops everything in the reverse order of its start. Safe to call twice. */
  stop(): Promise<void>;
}

const administrator = 'admin';
const issuer = 'slipway';
/** Layers unused for a week go, and sooner the oldest ones while less than a tenth of the disk is free. */
const cleanPolicy: CleanPolicy = { unusedFor: 7 * 24 * 3_600_000, minimumFree: 0.1 };
const cleanEvery = 10 * 60_000;

/**
 * The whole of Slipway in one process on one machine: SQLite, workers as child processes, docker-registry as a child.
 * This is where the objects are made and given to each other; nothing else does that.
 */
export async function startEmbeddedServer(
  environment: ProcessEnvironment,
  options: EmbeddedServerOptions,
): Promise<EmbeddedServer> {
  const { report } = options;
  // What was started is stopped in the reverse order, also when a later part does not start.
  const stops: (() => Promise<void> | void)[] = [];
  const stopAll = async () => {
    for (let stop = stops.pop(); stop !== undefined; stop = stops.pop()) await stop();
  };
  try {
    await ensurePackages(buildPackages, { report, install: options.setup && environment.root });
    const account = environment.root ? await workerAccount(options) : undefined;
    if (!environment.root) await checkOwnAccount({ report });

    // Before anything is made: a port that is taken leaves no half-made data folder behind.
    if (options.port !== 0) await expectFree(options.host, options.port);
    const folder = await openDataFolder(options.data);
    stops.push(() => folder.release());
    if (account !== undefined) await checkAccountReach({ account, paths: [folder.workers] });
    const program = await programView(environment, folder, account);
    const logger = openServerLog(join(folder.root, 'server.log'));
    const port = options.port === 0 ? await freePort(options.host) : options.port;
    const local = options.host === '0.0.0.0' || options.host === '::' ? '127.0.0.1' : options.host;
    const registryHost =
      options.hostname ?? (local === options.host ? `${local}:${port}` : `${machineName()}:${port}`);
    const url = `http://${options.hostname ?? `${local}:${port}`}`;

    const database = await Database.open({ provider: 'sqlite', file: folder.database });
    stops.push(() => database.stop());
    const secretBox = new SecretBox({ key: await loadSecretKey(folder.keys, 'database-secret-key') });
    const signer = new UrlSigner(await loadSecretKey(folder.keys, 'url-signing-key'), clock);
    const queue = new SqlBuildQueue(database, {
      secretBox,
      clock,
      onError: (error) => logger.error({ err: error }, 'the queue lost its connection'),
    });
    await queue.start();
    stops.push(() => queue.stop());
    const log = new SqlLogStore(database, {
      clock,
      ...(options.logLimit === undefined ? {} : { limit: options.logLimit }),
    });
    await log.start();
    stops.push(() => log.stop());
    const blobs = new FolderBlobStore({ folder: folder.blobs });
    await blobs.start();
    const uploads = new Uploads({
      database,
      blobs,
      signer,
      clock,
      ...(options.uploadLimit === undefined ? {} : { limit: options.uploadLimit }),
    });
    const sweeper = new UploadSweeper({
      uploads,
      clock,
      onError: (error) => logger.error({ err: error }, 'removing unused uploads failed; it is tried again'),
    });
    const metrics = new Metrics();

    const accounts = new SqlAccounts({ database, passwords: new PasswordHasher(), clock });
    const signIn = new SignIn(accounts, new LoginLimiter(clock));

    const origin = (incoming: IncomingMessage) =>
      publicOrigin(incoming, { trustForwarded: false, fallback: url });

    // The registry: a child behind our gateway, with our tokens.
    const key = await loadSigningKey(folder.keys, clock);
    const identity = { key, issuer, service: 'slipway-registry', clock };
    const tokens = new TokenService(identity);
    const buildCredentials = new BuildCredentials(identity);
    const embedded = new EmbeddedRegistry({
      ...identity,
      folder: folder.registry,
      realm: `${url}/v2/auth`,
      onEvent: ({ kind, ...event }) => {
        const level = kind === 'exited' || kind === 'start-failed' ? 'error' : 'info';
        logger[level]({ ...event, ...('error' in event ? { err: event.error } : {}) }, `registry: ${kind}`);
      },
    });
    const history = new SqlPushHistory(database, clock);
    const onPush = (push: Parameters<typeof history.record>[0]) => history.record(push);
    const gateway = new RegistryGateway({
      socketPath: embedded.socketPath,
      tokens,
      attempts: queue,
      clock,
      publicOrigin: origin,
      onPush,
      onFault: (error) => logger.error({ err: error }, 'the registry gateway failed'),
    });
    const registry = new OciRegistry({
      client: embeddedClient({ socketPath: embedded.socketPath, name: registryHost, tokens, clock }),
      pusher: 'slipway',
      onPush,
    });
    const tokenEndpoint = new TokenEndpoint({
      tokens,
      buildCredentials,
      authorizer: new AccountAuthorizer(accounts, signIn),
      attempts: queue,
      clock,
    });

    // The manager and its workers.
    const settings: ManagerSettings = {
      ...defaultSettings,
      allowedWorkerCount: options.workers ?? Math.max(2, Math.floor(availableParallelism() / 2)),
      ...(options.retryDelay === undefined ? {} : { retryDelay: options.retryDelay }),
    };
    const lives = await beginLife(folder.run);
    const orchestrator = new MemoryOrchestrator({ clock });
    stops.push(() => orchestrator.close());
    const workerTokens = new WorkerTokens({
      keys: new TokenKeySet([await loadOrMake(folder.keys, 'worker-token.key.pem', newTokenKey)]),
      issuer,
      audience: new URL(url).hostname,
      clock,
    });
    const workerHome = join(folder.workers, 'home');
    await mkdir(workerHome, { recursive: true, mode: 0o700 });
    if (account !== undefined) await chown(workerHome, account.uid, account.gid);
    const workerEnvironment = {
      PATH: environment.path,
      HOME: workerHome,
      SLIPWAY_STATE_DIR: workerHome,
      NODE_COMPILE_CACHE: join(workerHome, 'node-cache'),
      ...environment.proxies,
      ...environment.worker,
    };
    const executor = new LocalExecutor({
      command: [...program.command, program.pathOf('src/bin/worker.ts')],
      commandDropsPrivileges: program.dropsPrivileges,
      environment: workerEnvironment,
      workersFolder: folder.workers,
      recordsFolder: join(folder.run, 'workers'),
      token: 'stdin',
      clock,
      ...(account === undefined ? {} : { account }),
    });
    stops.push(() => executor.close());
    const measured = managerMetrics(metrics, executor.name);
    const end = new BuildEnd({ log, clock, logger, metrics: measured });
    const publisher = new Publisher({ queue, registry, end, clock, settings, logger });
    const attemptEnd = new AttemptEnd({
      queue,
      orchestrator,
      end,
      publisher,
      clock,
      settings,
      logger,
      metrics: measured,
    });
    const allowPrivate = options.allowPrivate ?? [];
    const sessions = new WorkerSessionService({
      queue,
      log,
      orchestrator,
      registry,
      cachedTag: async ({ repository, requested }, signal) =>
        await cachedTag(
          { repository: `${repository.namespace}/${repository.name}`, requested },
          { registry, history },
          signal,
        ),
      attemptEnd,
      buildEnd: end,
      links: {
        packageUrl: async (_identity, uploadId) => {
          const path = await uploads.packageUrl(uploadId, settings.machineMaxTime);
          return path === undefined ? undefined : new URL(path, `http://${local}:${port}`).toString();
        },
        // Triggers bring keys; builds that are asked for by hand have none.
        privateKey: async () => undefined,
      },
      credentials: {
        issue: async ({ identity: worker, repository, push, expiresAt, asker }) => {
          const grant = {
            buildId: worker.buildId,
            jobId: worker.jobId,
            attemptId: worker.attemptId,
            epoch: worker.epoch,
            worker: push.kind === 'by-digest' ? ('slipway' as const) : ('reference' as const),
            tags: push.kind === 'tags' ? push.tags : [],
            ...(asker === undefined ? {} : { asker }),
          };
          const path = `${repository.namespace}/${repository.name}`;
          return {
            pullToken: await buildCredentials.issue({
              grant,
              repository: path,
              actions: ['pull'],
              expiresAt,
            }),
            pushToken: await buildCredentials.issue({
              grant,
              repository: path,
              actions: ['pull', 'push'],
              expiresAt,
            }),
          };
        },
      },
      site: {
        registryHost,
        registryInsecure: true,
        maxSourceBytes: 10 * 1024 ** 3,
        allowedPrivateHosts: allowPrivate,
      },
      clock,
      settings,
      metrics: measured,
    });
    const manager = new BuildManager({
      name: lives.name,
      formerNames: lives.former,
      queue,
      log,
      orchestrator,
      executor,
      sessions,
      attemptEnd,
      buildEnd: end,
      publisher,
      tokens: {
        issue: async (worker, lifetime) =>
          await workerTokens.sign('build_job_registration', worker, lifetime),
      },
      worker: { server: `${local}:${port}`, serverTls: false, registryHost },
      clock,
      settings,
      logger,
      metrics: measured,
    });

    // The doors.
    const api = createApi({
      accounts,
      signIn,
      queue,
      logs: log,
      uploads,
      egress: new EgressGuard(
        new EgressPolicy({
          allowHosts: allowPrivate.filter((host) => !host.includes('/')),
          allowCidrs: allowPrivate.filter((host) => host.includes('/')),
        }),
      ),
      metrics,
      health: {
        instance: [
          { name: 'database', check: async () => void (await queue.counts()) },
          { name: 'registry', check: async (signal) => void (await registry.tags('slipway/health', signal)) },
          diskCheck(folder.root),
          blobStoreCheck(blobs),
          queueCheck(queue),
        ],
        endToEnd: [
          { name: 'database', check: async () => void (await queue.counts()) },
          { name: 'registry', check: async (signal) => void (await registry.tags('slipway/health', signal)) },
        ],
      },
      registry: { tokens: tokenEndpoint, handle: (request, response) => gateway.handle(request, response) },
      clock,
      logger,
      options: {
        version: await versionOf(environment),
        registryHost,
        publicOrigin: origin,
        readerBuildLogs: false,
        ...(options.maxQueued === undefined ? {} : { maxQueuedPerNamespace: options.maxQueued }),
        https: false,
      },
    });
    const rpc = new RpcServer({ sessions, tokens: workerTokens, log: logger });
    const door = createOnePort({ grpc: rpc, http: api.server, log: logger });
    await embedded.start();
    stops.push(() => embedded.stop());
    stops.push(() => gateway.stop());
    await api.start();
    stops.push(() => api.stop());
    stops.push(() => rpc.stop());
    await door.listen({ host: options.host, port }).catch((cause: NodeJS.ErrnoException) => {
      throw cause.code === 'EADDRINUSE' || cause.code === 'EACCES' || cause.code === 'EADDRNOTAVAIL'
        ? portError(options.host, port, cause)
        : cause;
    });
    stops.push(async () => {
      api.endStreams();
      await door.stop();
    });
    const { token, password } = await firstAdministrator(accounts, folder.keys);
    await manager.start();
    const diskKeeper = new DiskKeeper({
      command: [...program.command, program.pathOf('src/bin/keep-disk.ts')],
      commandDropsPrivileges: program.dropsPrivileges,
      environment: { ...workerEnvironment, SLIPWAY_CLEAN_POLICY: JSON.stringify(cleanPolicy) },
      ...(account === undefined ? {} : { account }),
      idle: async () => {
        const { queued, running } = await queue.counts();
        return queued + running === 0;
      },
      clock,
      every: cleanEvery,
      onReport: (report) => logger.info({ report }, 'looked after the disk of the build engine'),
      onError: (error) => logger.warn({ err: error }, 'cleaning the store of the build engine failed'),
    });
    // Other engines keep no store of ours.
    if ((environment.worker.BUILD_ENGINE ?? 'auto') !== 'dummy') diskKeeper.start();
    sweeper.start();
    stops.push(async () => {
      await sweeper.stop();
      await diskKeeper.stop();
      await manager.drain(options.drain);
      await manager.stop();
      await publisher.stop();
      await sessions.stop();
    });
    return {
      url,
      registryHost,
      token,
      adminPassword: password,
      writeProfile: (file) => writeLogin(file, url, { username: administrator, token }),
      stop: stopAll,
    };
  } catch (error) {
    await stopAll();
    throw error;
  }
}

async function workerAccount({ setup, report }: EmbeddedServerOptions): Promise<Omit<WorkerAccount, 'home'>> {
  return setup ? await ensureWorkerAccount({ report }) : await existingWorkerAccount();
}

/** Workers run the same Node.js and the same sources as the server. */
async function programView(
  { installation }: ProcessEnvironment,
  folder: DataFolder,
  account: Omit<WorkerAccount, 'home'> | undefined,
): Promise<ProgramView> {
  if (account !== undefined)
    return await viewProgram({
      account,
      installation,
      node: process.execPath,
      folder: join(folder.workers, 'view'),
    });
  return {
    command: [process.execPath, '--disable-warning=ExperimentalWarning'],
    pathOf: (program) => join(installation, program),
    dropsPrivileges: false,
  };
}

async function expectFree(host: string, port: number): Promise<void> {
  await freePort(host, port).catch((cause: NodeJS.ErrnoException) => {
    throw portError(host, port, cause);
  });
}

function portError(host: string, port: number, cause: NodeJS.ErrnoException): SetupError {
  const why =
    cause.code === 'EADDRINUSE'
      ? 'something else listens there already'
      : cause.code === 'EACCES'
        ? 'this user may not listen there'
        : 'this machine has no such address';
  return new SetupError(
    'port-taken',
    `Cannot listen on ${host}:${port}: ${why}. Choose another with --port or --host.`,
    cause,
  );
}

/**
 * The administrator and the token of the client on this machine. The token's file is part of the data folder: whoever
 * can read that folder is the administrator anyway.
 */
async function firstAdministrator(
  accounts: SqlAccounts,
  keys: string,
): Promise<{ token: string; password: string | undefined }> {
  let password: string | undefined;
  if (!(await accounts.anyUser())) {
    password = randomBytes(15).toString('base64url');
    await accounts.createUser({ username: administrator, password, superuser: true });
  }
  const file = join(keys, 'local-client-token');
  const stored = await readFile(file, 'utf8').catch(() => undefined);
  if (stored !== undefined && (await accounts.verifyToken(stored.trim())) !== undefined)
    return { token: stored.trim(), password };
  // Missing, or revoked: the client on this machine gets a new one.
  await rm(file, { force: true });
  const { token } = await accounts.createToken(administrator, {
    name: `command line on ${machineName()}`,
    scopes: ['repo:read', 'repo:write', 'repo:admin', 'user:admin', 'super:user'],
  });
  await loadOrMake(keys, 'local-client-token', () => `${token}\n`);
  return { token, password };
}

async function versionOf({ installation }: ProcessEnvironment): Promise<string> {
  const { version } = JSON.parse(await readFile(join(installation, 'package.json'), 'utf8')) as {
    version: string;
  };
  return version;
}
