import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { GetObjectCommandOutput, S3Client } from '@aws-sdk/client-s3';
import { BlobError } from './blob-error.ts';
import { checkBlobKey } from './blob-key.ts';
import { BlobSource } from './blob-source.ts';
import type { BlobRange, BlobStore, StoredBlob } from './blob-store.ts';
import { fromS3, isBeyondEnd, isMissing, type S3Place } from './s3-error.ts';

export interface S3BlobStoreOptions {
  readonly bucket: string;
  /** In front of every key; without slashes at the ends, may be empty. */
  readonly prefix: string;
  /** `http(s)://host[:port]`; absent: AWS finds it by the region. */
  readonly endpoint?: string;
  readonly region: string;
  /** `endpoint/bucket/key` instead of `bucket.endpoint/key`. */
  readonly pathStyle: boolean;
  /** Absent: the usual AWS chain (environment, profile, instance). */
  readonly credentials?: { readonly accessKey: string; readonly secretKey: string };
  /** Tries of one request in all; 5 unless given. Waits in between grow. */
  readonly tries?: number;
  /** Bytes of the first parts that a blob is sent in; 8 MiB unless given, 5 MiB at least. */
  readonly partSize?: number;
}

type Sdk = typeof import('@aws-sdk/client-s3');

const mebibyte = 1024 * 1024;

/** After so many parts they double, so that 10,000 of them hold 5 TiB, the most S3 has in one object. */
const partsOfOneSize = 1_000;

/**
 * Blobs in a bucket of S3, of Ceph's RADOS gateway, or of Google Cloud Storage through its S3-compatible API with HMAC
 * keys. A blob that fits into one part is sent in one request, a longer one as a multipart upload, which appears when
 * it is completed. One part is sent while the next one is filled, and no more is taken from the source meanwhile.
 *
 * The SDK is loaded by `open`, so that a server without S3 does not pay for it.
 */
export class S3BlobStore implements BlobStore, AsyncDisposable {
  readonly #sdk: Sdk;
  readonly #client: S3Client;
  readonly #prefix: string;
  readonly #place: S3Place;
  readonly #partSize: number;

  private constructor(sdk: Sdk, options: S3BlobStoreOptions) {
    const {
      bucket,
      prefix,
      endpoint,
      region,
      pathStyle,
      credentials,
      tries = 5,
      partSize = 8 * mebibyte,
    } = options;
    this.#sdk = sdk;
    this.#prefix = prefix === '' ? '' : `${prefix}/`;
    this.#place = { bucket, at: endpoint ?? region };
    this.#partSize = Math.max(5 * mebibyte, partSize);
    this.#client = new sdk.S3Client({
      region,
      forcePathStyle: pathStyle,
      maxAttempts: tries,
      retryMode: 'standard',
      // Only AWS knows the newer checksums; MD5, which we send ourselves, is known everywhere.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: { connectionTimeout: 5_000, socketTimeout: 60_000 },
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(credentials === undefined
        ? {}
        : { credentials: { accessKeyId: credentials.accessKey, secretAccessKey: credentials.secretKey } }),
    });
  }

  static async open(options: S3BlobStoreOptions): Promise<S3BlobStore> {
    return new S3BlobStore(await import('@aws-sdk/client-s3'), options);
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    this.#client.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async put(
    key: string,
    source: Readable,
    { limit, signal }: { readonly limit: number; readonly signal?: AbortSignal },
  ): Promise<StoredBlob> {
    const Key = this.#keyOf(key);
    const pieces = new BlobSource(source, limit, signal);
    const over = new AbortController();
    const ended = signal === undefined ? over.signal : AbortSignal.any([over.signal, signal]);
    const parts = partsOf(pieces, this.#partSize);
    try {
      signal?.throwIfAborted();
      const first = await parts.next();
      const next = first.done === true ? first : await parts.next();
      if (next.done === true) await this.#putWhole(Key, first.value ?? Buffer.alloc(0), ended);
      else await this.#putParts(Key, [first.value ?? Buffer.alloc(0), next.value], parts, ended);
      return pieces.stored();
    } catch (thrown) {
      over.abort();
      source.destroy();
      await parts.return(undefined).catch(() => {});
      if (signal?.aborted) throw signal.reason;
      throw fromS3(thrown, this.#place);
    }
  }

  async get(
    key: string,
    range: BlobRange = {},
  ): Promise<{ readonly size: number; readonly stream: Readable } | undefined> {
    const Key = this.#keyOf(key);
    const { start = 0, end } = range;
    try {
      if (end !== undefined && end <= start) return await this.#nothingOf(Key);
      const answer = await this.#request(Key, start, end);
      const size = sizeOf(answer);
      const stop = Math.min(end ?? size, size);
      return { size, stream: this.#resumed(Key, answer, start, stop) };
    } catch (thrown) {
      if (isMissing(thrown)) return undefined;
      if (isBeyondEnd(thrown)) return await this.#nothingOf(Key);
      throw fromS3(thrown, this.#place);
    }
  }

  async remove(key: string): Promise<void> {
    const Key = this.#keyOf(key);
    try {
      await this.#client.send(new this.#sdk.DeleteObjectCommand({ Bucket: this.#place.bucket, Key }));
    } catch (thrown) {
      // Google answers so; S3 does not mind.
      if (isMissing(thrown)) return;
      throw fromS3(thrown, this.#place);
    }
  }

  #keyOf(key: string): string {
    checkBlobKey(key);
    return `${this.#prefix}${key}`;
  }

  async #putWhole(Key: string, bytes: Uint8Array, abortSignal: AbortSignal): Promise<void> {
    const { PutObjectCommand } = this.#sdk;
    await this.#client.send(
      new PutObjectCommand({ Bucket: this.#place.bucket, Key, Body: bytes, ContentMD5: md5(bytes) }),
      { abortSignal },
    );
  }

  async #putParts(
    Key: string,
    first: readonly Uint8Array[],
    rest: AsyncGenerator<Uint8Array>,
    abortSignal: AbortSignal,
  ): Promise<void> {
    const { CreateMultipartUploadCommand, UploadPartCommand } = this.#sdk;
    const { CompleteMultipartUploadCommand, AbortMultipartUploadCommand } = this.#sdk;
    const Bucket = this.#place.bucket;
    const created = await this.#client.send(new CreateMultipartUploadCommand({ Bucket, Key }), {
      abortSignal,
    });
    const upload = { Bucket, Key, UploadId: created.UploadId };
    const Parts: { PartNumber: number; ETag: string | undefined }[] = [];
    let sending: Promise<void> | undefined;
    const send = async (bytes: Uint8Array): Promise<void> => {
      const PartNumber = Parts.length + 1;
      const part = { PartNumber, ETag: undefined as string | undefined };
      Parts.push(part);
      const command = new UploadPartCommand({ ...upload, PartNumber, Body: bytes, ContentMD5: md5(bytes) });
      part.ETag = (await this.#client.send(command, { abortSignal })).ETag;
    };
    try {
      for await (const bytes of chained(first, rest)) {
        await sending;
        sending = send(bytes);
        // It is awaited a part later; what it throws until then is not lost.
        sending.catch(() => {});
      }
      await sending;
      await this.#client.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } }), {
        abortSignal,
      });
    } catch (thrown) {
      await sending?.catch(() => {});
      await this.#client.send(new AbortMultipartUploadCommand(upload)).catch(() => {});
      throw thrown;
    }
  }

  async #request(
    Key: string,
    start: number,
    end: number | undefined,
    etag?: string,
  ): Promise<GetObjectCommandOutput> {
    const ranged = start > 0 || end !== undefined;
    return await this.#client.send(
      new this.#sdk.GetObjectCommand({
        Bucket: this.#place.bucket,
        Key,
        ...(ranged ? { Range: `bytes=${start}-${end === undefined ? '' : end - 1}` } : {}),
        ...(etag === undefined ? {} : { IfMatch: etag }),
      }),
    );
  }

  /** The bytes of an answer; when its connection breaks, the rest is asked for, up to three times in a row. */
  #resumed(Key: string, first: GetObjectCommandOutput, start: number, end: number): Readable {
    let body = bodyOf(first);
    const request = (at: number) => this.#request(Key, at, end, first.ETag);
    const place = this.#place;
    async function* bytes(): AsyncGenerator<Uint8Array> {
      let failures = 0;
      for (let at = start; at < end; ) {
        try {
          for await (const piece of body as AsyncIterable<Uint8Array>) {
            at += piece.byteLength;
            failures = 0;
            yield piece;
          }
          if (at >= end) return;
          throw new BlobError('unavailable', `The answer for a blob ended ${end - at} bytes too early.`);
        } catch (thrown) {
          failures += 1;
          if (failures > 3) throw fromS3(thrown, place);
          body = bodyOf(
            await request(at).catch((again: unknown) => {
              throw fromS3(again, place);
            }),
          );
        }
      }
    }
    const stream = Readable.from(bytes(), { objectMode: false });
    // A generator that was never read from does not hear that it is over.
    stream.once('close', () => body.destroy());
    return stream;
  }

  /** No bytes of a blob, but its size. */
  async #nothingOf(Key: string): Promise<{ readonly size: number; readonly stream: Readable } | undefined> {
    try {
      const command = new this.#sdk.HeadObjectCommand({ Bucket: this.#place.bucket, Key });
      const { ContentLength = 0 } = await this.#client.send(command);
      return { size: ContentLength, stream: Readable.from([]) };
    } catch (thrown) {
      if (isMissing(thrown)) return undefined;
      throw fromS3(thrown, this.#place);
    }
  }
}

/** The pieces joined to parts, all but the last one as large as they should be. */
async function* partsOf(pieces: AsyncIterable<Uint8Array>, partSize: number): AsyncGenerator<Uint8Array> {
  let size = partSize;
  let made = 0;
  let held: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of pieces) {
    for (let at = 0; at < piece.byteLength; ) {
      const taken = piece.subarray(at, at + size - bytes);
      held.push(taken);
      bytes += taken.byteLength;
      at += taken.byteLength;
      if (bytes < size) continue;
      yield Buffer.concat(held);
      held = [];
      bytes = 0;
      made += 1;
      if (made % partsOfOneSize === 0) size *= 2;
    }
  }
  if (bytes > 0) yield Buffer.concat(held);
}

async function* chained(
  first: readonly Uint8Array[],
  rest: AsyncGenerator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield* first;
  yield* rest;
}

function bodyOf({ Body }: GetObjectCommandOutput): Readable {
  if (Body instanceof Readable) return Body;
  throw new BlobError('unavailable', 'The object store answered without the bytes of a blob.');
}

function sizeOf({ ContentRange, ContentLength }: GetObjectCommandOutput): number {
  const whole = /\/(\d+)$/.exec(ContentRange ?? '')?.[1];
  return whole === undefined ? (ContentLength ?? 0) : Number(whole);
}

function md5(bytes: Uint8Array): string {
  return createHash('md5').update(bytes).digest('base64');
}
