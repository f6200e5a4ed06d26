import { randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { Clock } from '../base/clock.ts';
import type { BlobStore } from '../blob/blob-store.ts';
import type { Database } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import { type AttemptId, newUploadId, type UploadId } from '../model/ids.ts';
import { formatRepositoryName, type RepositoryName } from '../model/repository-name.ts';
import { UploadError } from './upload-error.ts';
import type { SignedQuery, UrlSigner } from './url-signer.ts';

export interface UploadsOptions {
  readonly database: Database;
  readonly blobs: BlobStore;
  readonly signer: UrlSigner;
  readonly clock: Clock;
  /** Bytes an upload may have; 1 GiB unless given. */
  readonly limit?: number;
  /** Milliseconds an upload URL is good for; an hour unless given. */
  readonly urlLifetime?: number;
  /** Milliseconds after which an upload that no build used is removed; a day unless given. */
  readonly unusedLifetime?: number;
  /** Uploads without a build that one user may have; 1000 unless given. */
  readonly unusedPerUser?: number;
}

export interface StoredUpload {
  readonly id: UploadId;
  readonly size: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

/** Whose source it is: a worker that was given up on gets nothing any more. */
export interface PackageHolder {
  readonly attemptId: AttemptId;
  readonly epoch: number;
}

const mediaType = /^[A-Za-z0-9][\w!#$&^.+-]{0,126}\/[A-Za-z0-9][\w!#$&^.+-]{0,126}$/;

/**
 * Files that people hand over to be built.
 *
 * | state   | row                  | may become                                                     |
 * |---------|----------------------|----------------------------------------------------------------|
 * | created | stored_at is null    | stored; removed when it gets too old                           |
 * | stored  | stored_at, sha256    | used; removed when it gets too old                             |
 * | used    | namespace/repository, used_at | removed with the last build it was used for (what a build was made from can be built again) |
 *
 * The bytes of every PUT go to a blob of their own, and the row is moved to `stored` once: of two at the same time one
 * wins whole, and the checksum always is that of the bytes.
 */
export class Uploads {
  readonly #options: Required<UploadsOptions>;

  constructor(options: UploadsOptions) {
    this.#options = {
      limit: 1024 ** 3,
      urlLifetime: 60 * 60_000,
      unusedLifetime: 24 * 60 * 60_000,
      unusedPerUser: 1000,
      ...options,
    };
  }

  /** Bytes an upload may have. */
  get limit(): number {
    return this.#options.limit;
  }

  /** Makes room for a file. `url` is where to PUT it: a path of this server with a signature. */
  async create(username: string, mimeType: string): Promise<{ id: UploadId; url: string }> {
    const { database, signer, clock, limit, urlLifetime, unusedPerUser } = this.#options;
    if (!mediaType.test(mimeType))
      throw new UploadError('bad-type', 'mimeType is not a media type. Send one such as application/gzip.');
    const { count } = await database.sql
      .selectFrom('uploads')
      .select((on) => on.fn.countAll<number>().as('count'))
      .where('username', '=', username)
      .where('namespace', 'is', null)
      .executeTakeFirstOrThrow();
    if (count >= unusedPerUser)
      throw new UploadError(
        'too-many',
        `You have ${count} uploads that no build uses. They are removed after a while; build or wait.`,
      );
    const id = newUploadId();
    await database.sql
      .insertInto('uploads')
      .values({ id, username, mime_type: mimeType, blob_key: '', created_at: clock.now() })
      .execute();
    const url = signer.sign({ method: 'PUT', path: pathOf(id), maxSize: limit, lifetime: urlLifetime });
    return { id, url };
  }

  /** How many bytes a PUT with this URL may bring. Throws UploadError. */
  async mayPut(id: UploadId, query: SignedQuery): Promise<number> {
    const { maxSize } = this.#options.signer.verify('PUT', pathOf(id), query);
    const row = await this.#row(id);
    if (row.stored_at !== null) throw alreadyStored();
    return maxSize;
  }

  /** Stores the bytes. Throws UploadError, BlobError `too-large` or `disk-full`; nothing is left behind then. */
  async put(id: UploadId, source: Readable, limit: number): Promise<StoredUpload> {
    const { blobs, database, clock } = this.#options;
    const key = `uploads/${randomUUID()}`;
    const { size, sha256 } = await blobs.put(key, source, { limit });
    const { numUpdatedRows } = await database.sql
      .updateTable('uploads')
      .set({ blob_key: key, stored_at: clock.now(), size, sha256 })
      .where('id', '=', id)
      .where('stored_at', 'is', null)
      .executeTakeFirst();
    if (numUpdatedRows > 0n) return { id, size, sha256 };
    await blobs.remove(key);
    await this.#row(id);
    throw alreadyStored();
  }

  /**
   * Lets a build use an upload, and ties the upload to its first repository. Only its uploader may use one that no
   * build used yet; one that was used, only who may write the repository it was first built for.
   */
  async use(
    id: UploadId,
    username: string | undefined,
    repository: RepositoryName,
    mayWrite: (repository: RepositoryName) => Promise<boolean>,
  ): Promise<StoredUpload> {
    let row = await this.#row(id);
    if (row.namespace === null) {
      if (row.username !== username) throw forbidden();
      if (row.sha256 === null)
        throw new UploadError(
          'not-stored',
          `The file ${id} was not uploaded yet. PUT its bytes to its URL first.`,
        );
      await this.#options.database.sql
        .updateTable('uploads')
        .set({
          namespace: repository.namespace,
          repository: repository.name,
          used_at: this.#options.clock.now(),
        })
        .where('id', '=', id)
        .where('namespace', 'is', null)
        .execute();
      row = await this.#row(id);
    }
    if (row.namespace === null || row.repository === null || row.sha256 === null) throw unknown(id);
    const first: RepositoryName = { namespace: row.namespace, name: row.repository };
    const same = formatRepositoryName(first) === formatRepositoryName(repository);
    if (!same && !(await mayWrite(first))) throw forbidden();
    // The build that is asked for is not there yet: until it is, this keeps the file from being removed.
    const kept = await this.#options.database.sql
      .updateTable('uploads')
      .set({ used_at: this.#options.clock.now() })
      .where('id', '=', id)
      .executeTakeFirst();
    if (kept.numUpdatedRows === 0n) throw unknown(id);
    return { id, size: row.size ?? 0, sha256: row.sha256 };
  }

  /**
   * A signed path under which the worker of an attempt fetches the file, good for `lifetime` milliseconds and no longer
   * than the attempt. Undefined: the file is gone.
   */
  async packageUrl(id: UploadId, attempt: PackageHolder, lifetime: number): Promise<string | undefined> {
    const row = await this.#find(id);
    if (row === undefined || row.stored_at === null) return undefined;
    return this.#options.signer.sign({ method: 'GET', path: packagePath(id, attempt), maxSize: 0, lifetime });
  }

  /**
   * The bytes from `start` on, for who holds a URL of `packageUrl`; asked with the signature of the path as it came in.
   * `isCurrent` is not asked by strangers. Throws UploadError.
   */
  async open(
    id: UploadId,
    attempt: PackageHolder,
    query: SignedQuery,
    isCurrent: (attempt: PackageHolder) => Promise<boolean>,
    start = 0,
  ): Promise<{
    readonly size: number;
    readonly mimeType: string;
    readonly sha256: string;
    readonly stream: Readable;
  }> {
    this.#options.signer.verify('GET', packagePath(id, attempt), query);
    if (!(await isCurrent(attempt))) throw notCurrent(attempt);
    const row = await this.#row(id);
    const blob = row.stored_at === null ? undefined : await this.#options.blobs.get(row.blob_key, { start });
    if (blob === undefined) throw unknown(id);
    return { size: blob.size, mimeType: row.mime_type, sha256: row.sha256 ?? '', stream: blob.stream };
  }

  /** Removes uploads that no build used in time; returns how many. May run anywhere, any number of times. */
  async sweep(signal: AbortSignal): Promise<number> {
    const { database, blobs, clock, unusedLifetime } = this.#options;
    const before = clock.now() - unusedLifetime;
    for (let removed = 0; ; ) {
      const rows = await database.sql
        .selectFrom('uploads')
        .select('id')
        .where('namespace', 'is', null)
        .where('created_at', '<', before)
        .orderBy('created_at')
        .limit(100)
        .execute();
      for (const { id } of rows) {
        signal.throwIfAborted();
        // Row first: a build that takes the upload at this moment either keeps both or finds neither.
        const gone = await database.sql
          .deleteFrom('uploads')
          .where('id', '=', id)
          .where('namespace', 'is', null)
          .returning('blob_key')
          .executeTakeFirst();
        if (gone === undefined) continue;
        if (gone.blob_key !== '') await blobs.remove(gone.blob_key);
        removed += 1;
      }
      if (rows.length === 0) return removed;
    }
  }

  async #row(id: UploadId): Promise<Row<'uploads'>> {
    const row = await this.#find(id);
    if (row === undefined) throw unknown(id);
    return row;
  }

  async #find(id: UploadId): Promise<Row<'uploads'> | undefined> {
    return await this.#options.database.sql
      .selectFrom('uploads')
      .selectAll()
      .where('id', '=', id)
      .executeTakeFirst();
  }
}

function pathOf(id: UploadId): string {
  return `/userfiles/${id}`;
}

/** The attempt and its epoch are in the path, so the signature is for them. */
function packagePath(id: UploadId, { attemptId, epoch }: PackageHolder): string {
  return `${pathOf(id)}/${attemptId}/${epoch}`;
}

function notCurrent({ attemptId, epoch }: PackageHolder): UploadError {
  return new UploadError(
    'not-current',
    `This source was for the attempt ${attemptId} (epoch ${epoch}), which is over or was given up. A worker that still works on it should stop; another attempt has a URL of its own.`,
  );
}

function unknown(id: UploadId): UploadError {
  return new UploadError(
    'unknown',
    `There is no uploaded file ${id}. Files that no build uses are removed after a while; upload it again.`,
  );
}

function alreadyStored(): UploadError {
  return new UploadError(
    'already-stored',
    'The file was uploaded already. Ask for a new URL for other bytes.',
  );
}

function forbidden(): UploadError {
  return new UploadError(
    'forbidden',
    'That file was uploaded by somebody else, for a repository you may not write. Upload it yourself.',
  );
}
