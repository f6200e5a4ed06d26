import { join, resolve } from 'node:path';
import { type BlobStoreOptions, type OpenBlobStore, openBlobStore } from '../blob/open-blob-store.ts';
import type { StoragePlace } from '../config/config.ts';
import type { RegistryStorage } from '../registry/registry-config.ts';

/** A blob store at a place of DISTRIBUTED_STORAGE_CONFIG, which other managers use too. */
export async function composeBlobStore(place: StoragePlace): Promise<OpenBlobStore> {
  return await openBlobStore(blobStoreOptions(place));
}

function blobStoreOptions({ engine, path }: StoragePlace): BlobStoreOptions {
  if (engine.provider === 'folder')
    return { provider: 'folder', folder: resolve(join(engine.folder, path)), shared: true };
  const { bucket, region, pathStyle, endpoint, credentials } = engine;
  return {
    provider: 's3',
    bucket,
    region,
    pathStyle,
    prefix: joined(engine.prefix, path),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined
      ? {}
      : {
          credentials: { accessKey: credentials.accessKey, secretKey: credentials.secretKey.reveal() },
        }),
  };
}

/** The same place for the images, as the registry process knows it. */
export function registryStorage({ engine, path }: StoragePlace): RegistryStorage {
  if (engine.provider === 'folder')
    return { kind: 'folder', folder: resolve(join(engine.folder, path, 'registry')) };
  const { service, bucket, region, endpoint, credentials } = engine;
  const prefix = joined(joined(engine.prefix, path), 'registry');
  if (service === 'gcs' && endpoint !== undefined && credentials !== undefined) {
    const { accessKey, secretKey } = credentials;
    return {
      kind: 'google',
      bucket,
      region,
      prefix,
      endpoint,
      credentials: { accessKey, secretKey: secretKey.reveal() },
    };
  }
  return {
    kind: 's3',
    bucket,
    region,
    prefix,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined
      ? {}
      : {
          credentials: { accessKey: credentials.accessKey, secretKey: credentials.secretKey.reveal() },
        }),
  };
}

function joined(first: string, second: string): string {
  return [first, second].filter((part) => part !== '').join('/');
}
