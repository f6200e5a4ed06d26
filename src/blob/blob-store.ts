import type { Readable } from 'node:stream';

export interface StoredBlob {
  /** Bytes. */
  readonly size: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

/** Which bytes are wanted: from `start` (0 unless given) to before `end` (the size unless given). */
export interface BlobRange {
  readonly start?: number;
  readonly end?: number;
}

/**
 * Large immutable bytes by key (uploads, archived logs). A key is made of `[a-z0-9-]` parts joined by `/`.
 * A blob is there entirely or not at all, and durable when `put` returns.
 */
export interface BlobStore {
  /**
   * Throws BlobError `too-large` as soon as more than `limit` bytes came, `disk-full` when there is no room. `source`
   * is destroyed when it was not read to its end.
   */
  put(
    key: string,
    source: Readable,
    options: { readonly limit: number; readonly signal?: AbortSignal },
  ): Promise<StoredBlob>;
  /** Undefined when there is none. `size` is the whole blob's, whatever range is wanted. */
  get(
    key: string,
    range?: BlobRange,
  ): Promise<{ readonly size: number; readonly stream: Readable } | undefined>;
  remove(key: string): Promise<void>;
}
