import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { LoginLimiter } from '../account/login-limiter.ts';
import { PasswordHasher } from '../account/password-hash.ts';
import { SignIn } from '../account/sign-in.ts';
import { SqlAccounts } from '../account/sql-accounts.ts';
import type { SuperuserRule } from '../account/sql-personal-tokens.ts';
import { SqlSessions } from '../account/sql-sessions.ts';
import { systemClock as clock } from '../base/clock.ts';
import type { Config } from '../config/config.ts';
import { defaultSettings } from '../manager/settings.ts';
import { MemoryOrchestrator } from '../orchestrator/memory-orchestrator.ts';
import { publicOrigin } from '../registry/public-origin.ts';
import { TlsFiles } from '../rpc/tls-files.ts';
import { TokenKeySet } from '../rpc/token-keys.ts';
import { WorkerTokens } from '../rpc/tokens.ts';
import { openDataFolder } from '../setup/data-folder.ts';
import { Metrics } from '../telemetry/metrics.ts';
import { openServerLog } from '../telemetry/server-log.ts';
import { UrlSigner } from '../upload/url-signer.ts';
import { clusterKeys } from './cluster-keys.ts';
import { composeApi } from './compose-api.ts';
import { composeExecutors, runnableExecutorsOf } from './compose-executors.ts';
import { composeGitHosts } from './compose-git-hosts.ts';
import { composeLogins } from './compose-logins.ts';
import { composeManager } from './compose-manager.ts';
import { composeOrchestrator } from './compose-orchestrator.ts';
import { composeRegistries } from './compose-registries.ts';
import { composeRegistry } from './compose-registry.ts';
import { composeBlobStore, registryStorage } from './compose-storage.ts';
import { composeStore } from './compose-store.ts';
import { composeTriggers } from './compose-triggers.ts';
import { Doors } from './doors.ts';
import type { ProcessEnvironment } from './environment.ts';
import { freePort } from './free-port.ts';
import { expectFree } from './listen-error.ts';
import { hintsOver } from './log-hints.ts';
import { fallbackMetrics, managerMetrics } from './manager-metrics.ts';
import { beginLife } from './manager-name.ts';
import { openDatabase, secretBoxOf } from './open-database.ts';
import { prepareMachine } from './prepare-machine.ts';
import { TrustedProxies } from './trusted-proxies.ts';
import { versionOf } from './version.ts';
import { watchParts } from './watch-parts.ts';
import { workerAuthorities } from './worker-authorities.ts';

export interface ClusterServerOptions {
  /** Install packages and make the account of the workers where that is needed and allowed. */
  readonly setup: boolean;
  /** Told what is done, one line at a time. */
  readonly report: (line: string) => void;
}

export interface ClusterServer {
  /** Of this life of this manager. */
  readonly name: string;
  /** What it listens on, for a person. */
  readonly doors: readonly string[];
  /** Drains, hands over, then stops everything in the reverse order of its start. Safe to call twice. */
  stop(): Promise<void>;
}

const issuer = 'slipway';

/**
 * One of any number of equal servers on one database. What they share is in the database, in the storage and in Redis;
 * what is this one's own (registry process, local workers) is in its data folder. This is where the objects are made
 * and given to each other; nothing else does that.
 */
export async function startClusterServer(
  environment: ProcessEnvironment,
  config: Config,
  { setup, report }: ClusterServerOptions,
): Promise<ClusterServer> {
  const { site, listen, limits } = config;
  const executorEntries = runnableExecutorsOf(config.manager?.executors ?? []);
  // What was started is stopped in the reverse order, also when a later part does not start.
  const stops: (() => Promise<void> | void)[] = [];
  const stopAll = async () => {
    for (let stop = stops.pop(); stop !== undefined; stop = stops.pop()) await stop();
  };
  try {
    const locals = executorEntries.filter((entry) => entry.type === 'local');
    const account = await prepareMachine(environment, locals, { setup, report });
    if (listen.port !== 0) await expectFree({ host: listen.address, port: listen.port }, portSetting);
    const folder = await openDataFolder(config.dataFolder);
    stops.push(() => folder.release());
    const logger = openServerLog(join(folder.root, 'server.log'));
    const port = listen.port === 0 ? await freePort(listen.address) : listen.port;
    const tls = listen.tls === undefined ? undefined : new TlsFiles({ ...listen.tls, clock, log: logger });

    const database = await openDatabase(config.database, logger);
    stops.push(() => database.stop());
    const secretBox = await secretBoxOf(config, folder);
    const keys = await clusterKeys(database, secretBox, clock);
    const orchestrator =
      config.manager === undefined
        ? new MemoryOrchestrator({ clock })
        : await composeOrchestrator(config.manager.orchestrator, { clock, logger });
    stops.push(() => orchestrator.close());
    const blobs = await composeBlobStore(config.storage.uploads);
    stops.push(() => blobs.stop());
    const archives = await composeBlobStore(config.storage.logArchive);
    stops.push(() => archives.stop());
    const { queue, log, uploads, sweeper, audit, auditRetention, retention, hostKeys, links, storeKeepers } =
      composeStore({
        database,
        blobs,
        archives,
        archiveLogs: config.storage.archiveLogs,
        ...(config.retention.builds === undefined ? {} : { keepBuilds: config.retention.builds }),
        ...(config.retention.logs === undefined ? {} : { keepLogs: config.retention.logs }),
        keepAudit: config.retention.audit,
        secretBox,
        signer: new UrlSigner(keys.urls, clock),
        uploadLimit: limits.upload,
        logLimit: limits.log,
        logTail: limits.logTail,
        hints: hintsOver(orchestrator),
        clock,
        logger,
      });
    await queue.start();
    stops.push(() => queue.stop());
    await log.start();
    stops.push(() => log.stop());
    const metrics = new Metrics();

    const named = new Set(config.features.superUsers ? config.superUsers : []);
    const isSuperuser: SuperuserRule = (username, stored) =>
      config.features.superUsers && (stored || named.has(username));
    const passwords = new PasswordHasher();
    const accounts = new SqlAccounts({ database, passwords, clock, isSuperuser });
    const signIn = new SignIn(accounts, new LoginLimiter(database, clock));
    const sessions = new SqlSessions({ database, clock, times: config.logins.session, isSuperuser });
    const logins = composeLogins(config.logins, {
      database,
      secretBox,
      accounts,
      passwords,
      superUsers: config.superUsers,
      siteUrl: site.url,
      clock,
    });
    const proxies = new TrustedProxies(site.trustedProxies);
    const publicOriginOf = (incoming: IncomingMessage) =>
      publicOrigin(incoming, {
        trustForwarded: proxies.trusts(incoming.socket.remoteAddress),
        fallback: site.url,
        tlsInFront: site.externalTls && site.scheme === 'https',
      });
    const registry = composeRegistry({
      database,
      accounts,
      signIn,
      attempts: queue,
      onStale: () => metrics.epochsRefused.inc({ reason: 'registry' }),
      key: keys.registry,
      issuer,
      folder: folder.registry,
      storage: registryStorage(config.storage.images),
      url: site.url,
      registryHost: site.hostname,
      readOnly: config.features.readOnly,
      publicOrigin: publicOriginOf,
      clock,
      logger,
    });
    const external = composeRegistries({
      database,
      secretBox,
      allowPrivate: site.allowPrivate,
      source: registry.client,
      clock,
    });
    watchParts({
      metrics,
      database,
      executors: executorEntries.map(({ name }) => name),
      orchestrator,
      archiveLogs: config.storage.archiveLogs,
      clock,
    });
    const triggers = composeTriggers({
      database,
      secretBox,
      queue,
      audit,
      accounts,
      registryHost: site.hostname,
      url: site.url,
      ...config.triggers,
      hosts: composeGitHosts(config.triggers.hosts, clock),
      readOnly: config.features.readOnly || !config.features.build,
      ...(limits.queuedPerNamespace === undefined
        ? {}
        : { maxQueuedPerNamespace: limits.queuedPerNamespace }),
      metrics,
      clock,
      logger,
    });
    const api = composeApi({
      accounts,
      signIn,
      sessions,
      ...(logins === undefined ? {} : { logins }),
      audit,
      queue,
      log,
      uploads,
      retention,
      triggers,
      hostKeys,
      links,
      blobs,
      archives,
      registry,
      ...external,
      orchestrator,
      metrics,
      disk: folder.root,
      allowPrivate: site.allowPrivate,
      publicOrigin: publicOriginOf,
      clock,
      logger,
      options: {
        version: await versionOf(environment.installation),
        registryHost: site.hostname,
        buildSupport: config.features.build,
        readOnly: config.features.readOnly,
        readerBuildLogs: config.features.readerBuildLogs,
        ...(limits.queuedPerNamespace === undefined
          ? {}
          : { maxQueuedPerNamespace: limits.queuedPerNamespace }),
        https: site.scheme === 'https',
        directLogin: config.logins.direct,
        ...(site.trustedProxies.length === 0 ? {} : { trustedProxies: site.trustedProxies }),
      },
    });

    const lives = await beginLife(folder.run);
    const authorities = await workerAuthorities(folder, tls);
    const building = await composeBuilding();
    const doors = new Doors({
      grpc: building?.rpc ?? { accept: (connection) => connection.destroy() },
      http: api.server,
      host: listen.address,
      port,
      ...(building === undefined || listen.grpcPort === undefined ? {} : { grpcPort: listen.grpcPort }),
      ...(building === undefined || listen.grpcTlsPort === undefined
        ? {}
        : { grpcTlsPort: listen.grpcTlsPort }),
      ...(tls === undefined ? {} : { tls }),
      portTls: listen.portTls,
      onCertificate: authorities.renew,
      setting: portSetting,
      log: logger,
    });
    await registry.embedded.start();
    stops.push(() => registry.embedded.stop());
    stops.push(() => registry.gateway.stop());
    await api.start();
    stops.push(() => api.stop());
    stops.push(async () => await building?.rpc.stop());
    await doors.listen();
    stops.push(async () => {
      api.endStreams();
      // Together: workers are told to go elsewhere while other answers end.
      await Promise.all([doors.stop(), building?.rpc.stop()]);
    });
    await building?.start();
    sweeper.start();
    storeKeepers.start();
    auditRetention.start();
    if (config.features.build && !config.features.readOnly) triggers.start();
    stops.push(async () => {
      await triggers.stop();
      await sweeper.stop();
      await auditRetention.stop();
      await building?.stop();
      await storeKeepers.stop();
    });
    return { name: lives.name, doors: doors.said, stop: stopAll };

    /** Where local workers find this server itself. A certificate is for the name that clients use. */
    function ownAddress(): { readonly server: string; readonly tls: boolean; readonly origin: string } {
      const address = isAny(listen.address) ? '127.0.0.1' : listen.address;
      const host = address.includes(':') ? `[${address}]` : address;
      if (!listen.portTls) return { server: `${host}:${port}`, tls: false, origin: `http://${host}:${port}` };
      if (listen.grpcPort !== undefined)
        return { server: `${host}:${listen.grpcPort}`, tls: false, origin: site.url };
      const { hostname, port: named } = new URL(site.url);
      return { server: `${hostname}:${named === '' ? 443 : named}`, tls: true, origin: site.url };
    }

    /** Undefined: this server takes requests and serves images, and others build. */
    async function composeBuilding() {
      if (config.manager === undefined) return undefined;
      const settings = { ...defaultSettings, ...config.manager.settings };
      const own = ownAddress();
      const measured = managerMetrics(metrics);
      const { executor, diskKeepers } = await composeExecutors(executorEntries, {
        environment,
        folder,
        ...(account === undefined ? {} : { account }),
        workerEnvironment: authorities.variables,
        kubernetes: { site: site.hostname, allowedWorkers: settings.allowedWorkerCount },
        onFallback: fallbackMetrics(metrics),
        clock,
        logger,
      });
      stops.push(() => executor.close());
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
            const origin = config.workers.server === undefined ? own.origin : site.url;
            return path === undefined ? undefined : new URL(path, origin).toString();
          },
        },
        workerTokens: new WorkerTokens({
          keys: new TokenKeySet([keys.workerToken]),
          issuer,
          audience: config.workers.audience,
          clock,
        }),
        worker: {
          server: config.workers.server ?? own.server,
          serverTls: config.workers.server === undefined ? own.tls : config.workers.tls,
          registryHost: site.hostname,
        },
        site: {
          registryHost: site.hostname,
          registryInsecure: site.scheme === 'http',
          maxSourceBytes: limits.source,
          allowedPrivateHosts: site.allowPrivate,
        },
        clock,
        settings,
        logger,
        metrics: measured,
      });
      metrics.live.watchManager(() => parts.manager.supervising);
      const keepers = diskKeepers(queue);
      const { drain } = config.manager;
      return {
        rpc: parts.rpc,
        async start() {
          await parts.manager.start();
          for (const keeper of keepers) keeper.start();
        },
        async stop() {
          await Promise.all(keepers.map((keeper) => keeper.stop()));
          await parts.stop(drain);
        },
      };
    }
  } catch (error) {
    await stopAll();
    throw error;
  }
}

const portSetting = 'the listen settings of the configuration';

function isAny(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}
