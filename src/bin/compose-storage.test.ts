import { expect, test } from 'vitest';
import type { StorageEngine } from '../config/config.ts';
import { Secret } from '../config/secret.ts';
import { registryStorage } from './compose-storage.ts';

const bucket = {
  provider: 's3',
  bucket: 'images',
  prefix: 'quay',
  region: 'auto',
  pathStyle: true,
  endpoint: 'https://storage.googleapis.com',
  credentials: { accessKey: 'AK', secretKey: new Secret('SK') },
} as const;

function storageOf(engine: StorageEngine) {
  return registryStorage({ name: 'main', engine, path: '' });
}

test('images in Google Cloud Storage go through the proxy, those in a RADOS gateway do not', () => {
  const place = {
    bucket: 'images',
    prefix: 'quay/registry',
    region: 'auto',
    endpoint: 'https://storage.googleapis.com',
    credentials: { accessKey: 'AK', secretKey: 'SK' },
  };
  expect(storageOf({ ...bucket, service: 'gcs' })).toEqual({ kind: 'google', ...place });
  expect(storageOf({ ...bucket, service: 'radosgw' })).toEqual({ kind: 's3', ...place });
});
