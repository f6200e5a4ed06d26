import { stringify } from 'yaml';
import type { GoogleBucket } from './google/bucket-client.ts';

export interface FolderStorage {
  readonly kind: 'folder';
  /** Absolute. */
  readonly folder: string;
}

export interface S3Storage {
  readonly kind: 's3';
  readonly bucket: string;
  readonly region: string;
  /** `http(s)://host[:port]`; absent: AWS finds it by the region. */
  readonly endpoint?: string;
  /** Below which all is kept; may be empty. */
  readonly prefix: string;
  /** Absent: the usual AWS chain. */
  readonly credentials?: { readonly accessKey: string; readonly secretKey: string };
  /** More settings of docker-registry's driver. */
  readonly settings?: Readonly<Record<string, string | number>>;
}

/** Google Cloud Storage by its S3-compatible API; docker-registry needs a proxy in front of it. */
export interface GoogleStorage extends GoogleBucket {
  readonly kind: 'google';
  /** Below which all is kept; may be empty. */
  readonly prefix: string;
}

/** Where images are kept. Several registry processes may keep theirs in the same place. */
export type RegistryStorage = FolderStorage | S3Storage | GoogleStorage;

/** What the registry process has to be told. Paths are absolute. */
export interface RegistryConfig {
  readonly storage: FolderStorage | S3Storage;
  /** Other processes write to that storage too, so what was seen there once may be gone. */
  readonly shared: boolean;
  readonly socketPath: string;
  /** PEM of the certificate that token signatures are traced to. */
  readonly certificateFile: string;
  readonly realm: string;
  readonly service: string;
  readonly issuer: string;
  /** Signs the state of uploads in progress; stays the same, so that they survive a restart. */
  readonly httpSecret: string;
}

/** The text of a configuration file of docker-registry 2.8. */
export function formatRegistryConfig(config: RegistryConfig): string {
  return stringify({
    version: 0.1,
    log: { level: 'warn', accesslog: { disabled: true } },
    storage: {
      ...storageDriver(config.storage),
      delete: { enabled: true },
      ...(config.shared ? {} : { cache: { blobdescriptor: 'inmemory' } }),
      maintenance: { uploadpurging: { enabled: true, age: '24h', interval: '6h', dryrun: false } },
    },
    http: {
      net: 'unix',
      addr: config.socketPath,
      secret: config.httpSecret,
      relativeurls: true,
      draintimeout: '10s',
    },
    auth: {
      token: {
        realm: config.realm,
        service: config.service,
        issuer: config.issuer,
        rootcertbundle: config.certificateFile,
      },
    },
    health: { storagedriver: { enabled: true, interval: '10s', threshold: 3 } },
    // Layers that live elsewhere (base images of Windows) may be referred to; the registry never fetches them.
    validation: { manifests: { urls: { allow: ['^https://'] } } },
  });
}

/** Layers are streamed through us in every case: clients may not reach the bucket. */
function storageDriver(storage: FolderStorage | S3Storage): object {
  if (storage.kind === 'folder') return { filesystem: { rootdirectory: storage.folder } };
  const { bucket, region, endpoint, prefix, credentials, settings } = storage;
  return {
    s3: {
      bucket,
      region,
      rootdirectory: `/${prefix}`,
      ...(endpoint === undefined
        ? {}
        : { regionendpoint: endpoint, secure: endpoint.startsWith('https:'), forcepathstyle: true }),
      ...(credentials === undefined
        ? {}
        : { accesskey: credentials.accessKey, secretkey: credentials.secretKey }),
      ...settings,
    },
    redirect: { disable: true },
  };
}
