import type { BlobStore } from './blob-store.ts';
import { FolderBlobStore } from './folder-blob-store.ts';
import { S3BlobStore, type S3BlobStoreOptions } from './s3-blob-store.ts';

export type BlobStoreOptions =
  | {
      readonly provider: 'folder';
      readonly folder: string;
      /** Other processes use the folder at the same time. */
      readonly shared?: boolean;
    }
  | ({ readonly provider: 's3' } & S3BlobStoreOptions);

export interface OpenBlobStore extends BlobStore {
  stop(): Promise<void>;
}

/** A store that is ready for use. Throws BlobError when its folder cannot be made. */
export async function openBlobStore(options: BlobStoreOptions): Promise<OpenBlobStore> {
  const store =
    options.provider === 'folder' ? new FolderBlobStore(options) : await S3BlobStore.open(options);
  await store.start();
  return store;
}
