import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { type FolderStorage, formatRegistryConfig, type S3Storage } from './registry-config.ts';

function storageOf(storage: FolderStorage | S3Storage, shared: boolean): unknown {
  const config = formatRegistryConfig({
    storage,
    shared,
    socketPath: '/run/registry.sock',
    certificateFile: '/keys/token.pem',
    realm: 'https://builds.example.com/v2/auth',
    service: 'slipway-registry',
    issuer: 'slipway',
    httpSecret: 'secret',
  });
  return (parse(config) as { storage: unknown }).storage;
}

test('a folder of one process: what was seen of a blob may be remembered', () => {
  expect(storageOf({ kind: 'folder', folder: '/data' }, false)).toMatchObject({
    filesystem: { rootdirectory: '/data' },
    cache: { blobdescriptor: 'inmemory' },
    delete: { enabled: true },
  });
});

test('a folder of several processes: nothing is remembered, for another one may remove it', () => {
  const storage = storageOf({ kind: 'folder', folder: '/shared' }, true);
  expect(storage).toMatchObject({ filesystem: { rootdirectory: '/shared' } });
  expect(storage).not.toHaveProperty('cache');
});

test('a bucket behind an endpoint; clients are never sent there', () => {
  expect(
    storageOf(
      {
        kind: 's3',
        bucket: 'images',
        region: 'us-east-1',
        endpoint: 'http://127.0.0.1:9000',
        prefix: 'slipway/registry',
        credentials: { accessKey: 'AK', secretKey: 'SK: #' },
      },
      true,
    ),
  ).toMatchObject({
    s3: {
      bucket: 'images',
      region: 'us-east-1',
      regionendpoint: 'http://127.0.0.1:9000',
      secure: false,
      rootdirectory: '/slipway/registry',
      accesskey: 'AK',
      secretkey: 'SK: #',
    },
    redirect: { disable: true },
  });
});

test('a bucket found by its region, with whatever credentials the machine has', () => {
  const storage = storageOf({ kind: 's3', bucket: 'images', region: 'eu-central-1', prefix: '' }, true) as {
    s3: object;
  };
  expect(storage.s3).toEqual({ bucket: 'images', region: 'eu-central-1', rootdirectory: '/' });
});
