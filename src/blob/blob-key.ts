import { BlobError } from './blob-error.ts';

const keyPattern = /^[a-z0-9-]+(?:\/[a-z0-9-]+)*$/;

/** Throws BlobError `bad-key` unless the key keeps the rules of BlobStore. */
export function checkBlobKey(key: string): void {
  if (!keyPattern.test(key) || key.length > 512 || key.split('/').some((part) => part.length > 200)) {
    throw new BlobError(
      'bad-key',
      `${JSON.stringify(key.slice(0, 100))} is no key of a blob: it is made of parts of a-z, 0-9 and - joined by /.`,
    );
  }
}
