import { hkdfSync } from 'node:crypto';
import { dirname, isAbsolute, join } from 'node:path';
import type { Config, DatabaseConfig, ListenConfig, WorkerAddress } from './config.ts';
import { parseDatabaseUri } from './database-uri.ts';
import { resolveLogins } from './resolve-logins.ts';
import { resolveManager } from './resolve-manager.ts';
import { resolveStorage } from './resolve-storage.ts';
import { resolveTriggers } from './resolve-triggers.ts';
import { hasRemoteWorkers, portOf, withoutPort } from './rules.ts';
import type { CheckedConfig } from './schema.ts';
import { Secret } from './secret.ts';

/** What a configuration file cannot say about itself. */
export interface Place {
  /** Of the configuration file. */
  readonly file: string;
  readonly certificateBesideFile: boolean;
  /** Used when SLIPWAY.DATA_FOLDER is not set. */
  readonly dataFolder: string;
}

/** The configuration of a file without faults. */
export function resolveConfig(config: CheckedConfig, place: Place): Config {
  const { SLIPWAY: own } = config;
  const scheme = config.PREFERRED_URL_SCHEME;
  const dataFolder = own.DATA_FOLDER ?? place.dataFolder;
  return deepFreeze<Config>({
    site: {
      hostname: config.SERVER_HOSTNAME,
      url: `${scheme}://${config.SERVER_HOSTNAME}`,
      scheme,
      externalTls: config.EXTERNAL_TLS_TERMINATION,
      trustedProxies: own.TRUSTED_PROXIES,
      allowPrivate: own.ALLOW_PRIVATE,
    },
    listen: resolveListen(config, place),
    workers: resolveWorkers(config),
    dataFolder,
    database: resolveDatabase(config, dataFolder),
    storage: resolveStorage(config, dataFolder),
    features: {
      build: config.FEATURE_BUILD_SUPPORT,
      readOnly: config.REGISTRY_STATE === 'readonly',
      readerBuildLogs: config.FEATURE_READER_BUILD_LOGS,
      superUsers: config.FEATURE_SUPER_USERS,
    },
    manager: resolveManager(config),
    logins: resolveLogins(config),
    limits: {
      queuedPerNamespace: config.DEFAULT_NAMESPACE_MAXIMUM_BUILD_COUNT ?? undefined,
      upload: own.LIMITS.UPLOAD,
      source: own.LIMITS.SOURCE,
      log: own.LOG.LIMIT,
      logTail: own.LOG.TAIL,
    },
    triggers: resolveTriggers(config),
    retention: {
      builds: own.RETENTION.BUILDS ?? undefined,
      logs: own.RETENTION.LOGS ?? undefined,
      audit: own.RETENTION.AUDIT,
    },
    superUsers: config.FEATURE_SUPER_USERS ? config.SUPER_USERS : [],
    secrets: {
      database:
        config.DATABASE_SECRET_KEY === undefined
          ? undefined
          : new Secret(databaseKey(config.DATABASE_SECRET_KEY)),
      formerDatabase: own.FORMER_DATABASE_SECRET_KEYS.map((text) => new Secret(databaseKey(text))),
      session: config.SECRET_KEY === undefined ? undefined : new Secret(config.SECRET_KEY),
    },
  });
}

function resolveListen(config: CheckedConfig, place: Place): ListenConfig {
  const { LISTEN: listen, TLS: given } = config.SLIPWAY;
  const folder = dirname(place.file);
  const tls =
    given.CERTIFICATE !== undefined && given.KEY !== undefined
      ? { certificate: given.CERTIFICATE, key: given.KEY }
      : place.certificateBesideFile
        ? { certificate: join(folder, 'ssl.cert'), key: join(folder, 'ssl.key') }
        : undefined;
  return {
    address: listen.ADDRESS ?? (config.FEATURE_LISTEN_IP_VERSION === 'IPv4' ? '0.0.0.0' : '::'),
    port: listen.PORT,
    grpcPort: listen.ONE_PORT ? undefined : listen.GRPC_PORT,
    grpcTlsPort: listen.ONE_PORT || tls === undefined ? undefined : listen.GRPC_TLS_PORT,
    portTls: config.PREFERRED_URL_SCHEME === 'https' && !config.EXTERNAL_TLS_TERMINATION,
    tls,
  };
}

function resolveWorkers(config: CheckedConfig): WorkerAddress {
  const { SERVER_HOSTNAME: server, BUILDMAN_HOSTNAME: manager, SLIPWAY: own } = config;
  const https = config.PREFERRED_URL_SCHEME === 'https';
  const audience = withoutPort(manager ?? server);
  const { ONE_PORT: onePort, GRPC_PORT: clear, GRPC_TLS_PORT: encrypted } = own.LISTEN;
  if (manager !== undefined && manager !== server) {
    const port = portOf(manager);
    const told = onePort ? undefined : port === clear ? false : port === encrypted ? true : undefined;
    return { server: manager, tls: own.WORKER_TLS ?? told ?? https, audience };
  }
  if (!hasRemoteWorkers(config)) return { server: undefined, tls: own.WORKER_TLS ?? https, audience };
  if (onePort) {
    const address = portOf(server) === undefined ? `${server}:${https ? 443 : 80}` : server;
    return { server: address, tls: own.WORKER_TLS ?? https, audience };
  }
  return { server: `${withoutPort(server)}:${encrypted}`, tls: own.WORKER_TLS ?? true, audience };
}

function resolveDatabase(config: CheckedConfig, dataFolder: string): DatabaseConfig {
  const uri = parseDatabaseUri(config.DB_URI);
  // The rules have refused every other.
  if ('reason' in uri) throw new TypeError(`DB_URI ${uri.reason}`);
  if (uri.provider === 'sqlite')
    return { provider: 'sqlite', file: isAbsolute(uri.file) ? uri.file : join(dataFolder, uri.file) };
  const { url } = uri;
  const args = config.DB_CONNECTION_ARGS ?? {};
  const authority = args.sslrootcert ?? args.ssl?.ca;
  const settings = {
    sslmode: args.sslmode ?? (authority === undefined ? undefined : 'verify-ca'),
    sslrootcert: authority,
    sslcert: args.sslcert,
    sslkey: args.sslkey,
  };
  for (const [key, value] of Object.entries(settings))
    if (value !== undefined) url.searchParams.set(key, value);
  // `allow` tries clear text first, which is what a connection without TLS settings does.
  if (url.searchParams.get('sslmode') === 'allow') url.searchParams.delete('sslmode');
  if (url.searchParams.has('sslmode')) url.searchParams.set('uselibpqcompat', 'true');
  return {
    provider: 'postgres',
    url: new Secret(url.toString()),
    connections: config.SLIPWAY.DATABASE_CONNECTIONS,
  };
}

/** The 32 bytes that seal secrets. The text may be a key already, a UUID, or whatever an administrator typed. */
function databaseKey(text: string): Uint8Array {
  if (/^[0-9a-f]{64}$/i.test(text)) return Uint8Array.from(Buffer.from(text, 'hex'));
  return new Uint8Array(hkdfSync('sha256', Buffer.from(text, 'utf8'), '', 'slipway database secrets', 32));
}

function deepFreeze<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null || value instanceof Secret || Object.isFrozen(value))
    return value;
  for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}
