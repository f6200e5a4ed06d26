import { randomBytes } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { availableParallelism, hostname as machineName } from 'node:os';
import { join } from 'node:path';
import { LoginLimiter } from '../account/login-limiter.ts';
import { PasswordHasher } from '../account/password-hash.ts';
import { SignIn } from '../account/sign-in.ts';
import { SqlAccounts } from '../account/sql-accounts.ts';
import { SqlSessions } from '../account/sql-sessions.ts';
import type { AuditLog } from '../audit/audit-log.ts';
import { systemClock as clock } from '../base/clock.ts';
import { FolderBlobStore } from '../blob/folder-blob-store.ts';
import { writeLogin } from '../cli/profile.ts';
import { Database } from '../db/database.ts';
import { SecretBox } from '../db/secret-box.ts';
import { defaultSettings, type ManagerSettings } from '../manager/settings.ts';
import { MemoryOrchestrator } from '../orchestrator/memory-orchestrator.ts';
import { publicOrigin } from '../registry/public-origin.ts';
import { loadSigningKey } from '../registry/signing-key.ts';
import { TlsFiles } from '../rpc/tls-files.ts';
import { newTokenKey, TokenKeySet } from '../rpc/token-keys.ts';
import { WorkerTokens } from '../rpc/tokens.ts';
import { checkAccountReach } from '../setup/account-reach.ts';
import { openDataFolder } from '../setup/data-folder.ts';
import { checkOwnAccount } from '../setup/own-account.ts';
import { buildPackages } from '../setup/package-list.ts';
import { ensurePackages } from '../setup/packages.ts';
import { ensureWorkerAccount, existingWorkerAccount, type WorkerAccount } from '../setup/worker-account.ts';
import { Metrics } from '../telemetry/metrics.ts';
import { openServerLog } from '../telemetry/server-log.ts';
import { UrlSigner } from '../upload/url-signer.ts';
import { composeApi } from './compose-api.ts';
import { composeGitHosts } from './compose-git-hosts.ts';
import { composeLocalWorkers } from './compose-local-executor.ts';
import { composeManager } from './compose-manager.ts';
import { composeRegistries } from './compose-registries.ts';
import { composeRegistry } from './compose-registry.ts';
import { composeStore } from './compose-store.ts';
import { composeTriggers } from './compose-triggers.ts';
import { Doors } from './doors.ts';
import type { ProcessEnvironment } from './environment.ts';
import { freePort } from './free-port.ts';
import { loadOrMake, loadSecretKey } from './keys.ts';
import { expectFree } from './listen-error.ts';
import { managerMetrics } from './manager-metrics.ts';
import { beginLife } from './manager-name.ts';
import { loadSecretKeys } from './secret-key-files.ts';
import { versionOf } from './version.ts';
import { watchParts } from './watch-parts.ts';
import { workerAuthorities } from './worker-authorities.ts';

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
  /** PEM files; with them everything is TLS. */
  readonly tls?: { readonly certificate: string; readonly key: string };
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
/** Who made what is there before anybody signs in. */
const system = { kind: 'system', name: 'slipway up' } as const;
const portSetting = '--port or --host';
const issuer = 'slipway';
const publicHost = { site: undefined, api: undefined, oauth: undefined };

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
    if (options.port !== 0) await expectFree({ host: options.host, port: options.port }, portSetting);
    const folder = await openDataFolder(options.data);
    stops.push(() => folder.release());
    if (account !== undefined) await checkAccountReach({ account, paths: [folder.workers] });
    const logger = openServerLog(join(folder.root, 'server.log'));
    const port = options.port === 0 ? await freePort(options.host) : options.port;
    const local = options.host === '0.0.0.0' || options.host === '::' ? '127.0.0.1' : options.host;
    const registryHost =
      options.hostname ?? (local === options.host ? `${local}:${port}` : `${machineName()}:${port}`);
    const address = options.hostname ?? `${local}:${port}`;
    const scheme = options.tls === undefined ? 'http' : 'https';
    const url = `${scheme}://${address}`;
    const tls = options.tls === undefined ? undefined : new TlsFiles({ ...options.tls, clock, log: logger });
    // A certificate is for the name that clients use, so with TLS our own workers use it too.
    const ownAddress = tls === undefined ? `${local}:${port}` : withPort(address, 443);

    const database = await Database.open({ provider: 'sqlite', file: folder.database });
    stops.push(() => database.stop());
    const secretBox = new SecretBox(await loadSecretKeys(folder.keys));
    const signer = new UrlSigner(await loadSecretKey(folder.keys, 'url-signing-key'), clock);
    const blobs = new FolderBlobStore({ folder: folder.blobs });
    const { queue, log, uploads, sweeper, audit, auditRetention, retention, hostKeys, links, storeKeepers } =
      composeStore({
        database,
        blobs,
        archives: blobs,
        archiveLogs: true,
        secretBox,
        signer,
        clock,
        logger,
        ...(options.uploadLimit === undefined ? {} : { uploadLimit: options.uploadLimit }),
        ...(options.logLimit === undefined ? {} : { logLimit: options.logLimit }),
      });
    await queue.start();
    stops.push(() => queue.stop());
    await log.start();
    stops.push(() => log.stop());
    await blobs.start();
    const metrics = new Metrics();

    const accounts = new SqlAccounts({ database, passwords: new PasswordHasher(), clock });
    const signIn = new SignIn(accounts, new LoginLimiter(database, clock));
    const sessions = new SqlSessions({ database, clock });
    const publicOriginOf = (incoming: IncomingMessage) =>
      publicOrigin(incoming, { trustForwarded: false, fallback: url });
    const registry = composeRegistry({
      database,
      accounts,
      signIn,
      attempts: queue,
      onStale: () => metrics.epochsRefused.inc({ reason: 'registry' }),
      key: await loadSigningKey(folder.keys, clock),
      issuer,
      folder: folder.registry,
      url,
      registryHost,
      publicOrigin: publicOriginOf,
      clock,
      logger,
    });
    const external = composeRegistries({
      database,
      secretBox,
      allowPrivate: options.allowPrivate ?? [],
      source: registry.client,
      clock,
    });

    const settings: ManagerSettings = {
      ...defaultSettings,
      allowedWorkerCount: options.workers ?? Math.max(2, Math.floor(availableParallelism() / 2)),
      ...(options.retryDelay === undefined ? {} : { retryDelay: options.retryDelay }),
    };
    const lives = await beginLife(folder.run);
    const orchestrator = new MemoryOrchestrator({ clock });
    stops.push(() => orchestrator.close());
    const authorities = await workerAuthorities(folder, tls);
    const { executor, diskKeeper } = await composeLocalWorkers({
      environment,
      workersFolder: folder.workers,
      recordsFolder: join(folder.run, 'workers'),
      workerEnvironment: authorities.variables,
      clock,
      logger,
      ...(account === undefined ? {} : { account }),
    });
    stops.push(() => executor.close());
    const keeper = diskKeeper(queue);
    const allowPrivate = options.allowPrivate ?? [];
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
          return path === undefined ? undefined : new URL(path, `${scheme}://${ownAddress}`).toString();
        },
      },
      workerTokens: new WorkerTokens({
        keys: new TokenKeySet([await loadOrMake(folder.keys, 'worker-token.key.pem', newTokenKey)]),
        issuer,
        audience: new URL(url).hostname,
        clock,
        times: queue,
      }),
      worker: { server: ownAddress, serverTls: tls !== undefined, registryHost },
      site: {
        registryHost,
        registryInsecure: tls === undefined,
        maxSourceBytes: 10 * 1024 ** 3,
        allowedPrivateHosts: allowPrivate,
      },
      clock,
      settings,
      logger,
      metrics: managerMetrics(metrics),
    });
    metrics.live.watchManager(() => parts.manager.supervising);
    watchParts({
      metrics,
      database,
      executors: [executor.name],
      orchestrator,
      archiveLogs: true,
      clock,
    });
    const triggers = composeTriggers({
      database,
      secretBox,
      queue,
      audit,
      accounts,
      // The public services; people bring tokens that they made there.
      hosts: composeGitHosts({ github: publicHost, gitlab: publicHost, bitbucket: publicHost }, clock),
      registryHost,
      url,
      failureThreshold: 100,
      internalErrorThreshold: 5,
      ...(options.maxQueued === undefined ? {} : { maxQueuedPerNamespace: options.maxQueued }),
      metrics,
      clock,
      logger,
    });
    const api = composeApi({
      accounts,
      signIn,
      sessions,
      audit,
      queue,
      log,
      uploads,
      retention,
      triggers,
      hostKeys,
      links,
      blobs,
      registry,
      ...external,
      orchestrator,
      metrics,
      disk: folder.root,
      allowPrivate,
      publicOrigin: publicOriginOf,
      clock,
      logger,
      options: {
        version: await versionOf(environment.installation),
        registryHost,
        buildSupport: true,
        readerBuildLogs: false,
        ...(options.maxQueued === undefined ? {} : { maxQueuedPerNamespace: options.maxQueued }),
        https: tls !== undefined,
      },
    });
    const doors = new Doors({
      grpc: parts.rpc,
      http: api.server,
      host: options.host,
      port,
      ...(tls === undefined ? {} : { tls }),
      portTls: tls !== undefined,
      onCertificate: authorities.renew,
      setting: portSetting,
      log: logger,
    });
    await registry.embedded.start();
    stops.push(() => registry.embedded.stop());
    stops.push(() => registry.gateway.stop());
    await api.start();
    stops.push(() => api.stop());
    stops.push(() => parts.rpc.stop());
    await doors.listen();
    stops.push(async () => {
      api.endStreams();
      await Promise.all([doors.stop(), parts.rpc.stop()]);
    });
    const { token, password } = await firstAdministrator(accounts, audit, folder.keys);
    await parts.manager.start();
    keeper?.start();
    sweeper.start();
    storeKeepers.start();
    auditRetention.start();
    triggers.start();
    stops.push(async () => {
      await triggers.stop();
      await sweeper.stop();
      await auditRetention.stop();
      await keeper?.stop();
      await parts.stop(options.drain);
      await storeKeepers.stop();
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

function withPort(address: string, port: number): string {
  return /:\d+$/.test(address) ? address : `${address}:${port}`;
}

async function workerAccount({ setup, report }: EmbeddedServerOptions): Promise<Omit<WorkerAccount, 'home'>> {
  return setup ? await ensureWorkerAccount({ report }) : await existingWorkerAccount();
}

/**
 * The administrator and the token of the client on this machine. The token's file is part of the data folder: whoever
 * can read that folder is the administrator anyway.
 */
async function firstAdministrator(
  accounts: SqlAccounts,
  audit: AuditLog,
  keys: string,
): Promise<{ token: string; password: string | undefined }> {
  let password: string | undefined;
  if (!(await accounts.anyUser())) {
    password = randomBytes(15).toString('base64url');
    await accounts.createUser({ username: administrator, password, superuser: true });
    await audit.write({
      actor: system,
      action: 'user.create',
      target: { kind: 'user', name: administrator, namespace: administrator },
      result: 'done',
      detail: { superuser: true },
    });
  }
  const file = join(keys, 'local-client-token');
  const stored = await readFile(file, 'utf8').catch(() => undefined);
  if (stored !== undefined && (await accounts.verifyToken(stored.trim())) !== undefined)
    return { token: stored.trim(), password };
  // Missing, or revoked: the client on this machine gets a new one.
  await rm(file, { force: true });
  const { token, view } = await accounts.createToken(administrator, {
    name: `command line on ${machineName()}`,
    scopes: ['repo:read', 'repo:write', 'repo:admin', 'org:admin', 'user:admin', 'super:user'],
  });
  await audit.write({
    actor: system,
    action: 'token.create',
    target: { kind: 'token', name: view.id, namespace: administrator },
    result: 'done',
    detail: { name: view.name, scopes: view.scopes },
  });
  await loadOrMake(keys, 'local-client-token', () => `${token}\n`);
  return { token, password };
}
