import { join } from 'node:path';
import { unreachable } from '../base/unreachable.ts';
import type { StorageConfig, StorageEngine, StoragePlace } from './config.ts';
import type { CheckedConfig } from './schema.ts';
import { Secret } from './secret.ts';

type CheckedEngine = NonNullable<CheckedConfig['DISTRIBUTED_STORAGE_CONFIG']>[string];

export function resolveStorage(config: CheckedConfig, dataFolder: string): StorageConfig {
  const engines: Readonly<Record<string, StorageEngine>> =
    config.DISTRIBUTED_STORAGE_CONFIG === undefined
      ? { local: { provider: 'folder', folder: join(dataFolder, 'storage') } }
      : Object.fromEntries(
          Object.entries(config.DISTRIBUTED_STORAGE_CONFIG).map(([name, engine]) => [
            name,
            resolveEngine(engine),
          ]),
        );
  const preferred = config.DISTRIBUTED_STORAGE_PREFERENCE[0] ?? Object.keys(engines)[0] ?? '';
  const place = (name: string, path: string): StoragePlace => {
    const engine = engines[name];
    // The rules have refused a name that is not there.
    if (engine === undefined) throw new TypeError(`no storage engine ${name}`);
    return { name, engine, path: trimSlashes(path) };
  };
  return {
    images: place(preferred, ''),
    uploads: place(config.USERFILES_LOCATION ?? preferred, config.USERFILES_PATH),
    logArchive: place(config.LOG_ARCHIVE_LOCATION ?? preferred, config.LOG_ARCHIVE_PATH),
    archiveLogs: config.SLIPWAY.LOG.ARCHIVE,
  };
}

function resolveEngine([type, settings]: CheckedEngine): StorageEngine {
  switch (type) {
    case 'LocalStorage':
      return { provider: 'folder', folder: settings.storage_path };
    case 'S3Storage': {
      const { s3_access_key: accessKey, s3_secret_key: secretKey, host, port, is_secure: secure } = settings;
      const endpoint =
        settings.endpoint_url?.replace(/\/$/, '') ??
        (host === undefined ? undefined : endpointOf(host, port, secure));
      return {
        provider: 's3',
        service: 's3',
        bucket: settings.s3_bucket,
        prefix: trimSlashes(settings.storage_path),
        endpoint,
        region: settings.s3_region ?? settings.region ?? regionOf(endpoint) ?? 'us-east-1',
        // Only AWS has a name for every bucket.
        pathStyle: endpoint !== undefined && !/\.amazonaws\.com(\.cn)?$/.test(new URL(endpoint).hostname),
        credentials:
          accessKey === undefined || secretKey === undefined
            ? undefined
            : { accessKey, secretKey: new Secret(secretKey) },
      };
    }
    case 'GoogleCloudStorage':
      return {
        provider: 's3',
        service: 'gcs',
        bucket: settings.bucket_name,
        prefix: trimSlashes(settings.storage_path),
        endpoint: 'https://storage.googleapis.com',
        region: 'auto',
        pathStyle: true,
        credentials: { accessKey: settings.access_key, secretKey: new Secret(settings.secret_key) },
      };
    case 'RadosGWStorage':
    case 'RHOCSStorage':
    case 'IBMCloudStorage':
      return {
        provider: 's3',
        service: 'radosgw',
        bucket: settings.bucket_name,
        prefix: trimSlashes(settings.storage_path),
        endpoint: endpointOf(settings.hostname, settings.port, settings.is_secure),
        region: 'us-east-1',
        pathStyle: true,
        credentials: { accessKey: settings.access_key, secretKey: new Secret(settings.secret_key) },
      };
    default:
      return unreachable(type);
  }
}

function endpointOf(host: string, port: number | undefined, secure: boolean): string {
  return `${secure ? 'https' : 'http'}://${host}${port === undefined ? '' : `:${port}`}`;
}

/** `s3.eu-central-1.amazonaws.com` says where it is. */
function regionOf(endpoint: string | undefined): string | undefined {
  return /\/\/s3[.-]([a-z0-9-]+)\.amazonaws\.com/.exec(endpoint ?? '')?.[1];
}

function trimSlashes(path: string): string {
  return path.replace(/^\/+|\/+$/g, '');
}
