import type { Logger } from 'pino';
import type { Clock } from '../base/clock.ts';
import type { BlobStore } from '../blob/blob-store.ts';
import type { Database } from '../db/database.ts';
import type { SecretBox } from '../db/secret-box.ts';
import { SqlLogStore } from '../log/sql-log-store.ts';
import { SqlBuildQueue } from '../queue/sql-build-queue.ts';
import { UploadSweeper } from '../upload/upload-sweeper.ts';
import { Uploads } from '../upload/uploads.ts';
import type { UrlSigner } from '../upload/url-signer.ts';

export interface StoreOptions {
  readonly database: Database;
  readonly blobs: BlobStore;
  readonly secretBox: SecretBox;
  readonly signer: UrlSigner;
  /** Bytes. */
  readonly uploadLimit?: number;
  readonly logLimit?: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface StoreParts {
  readonly queue: SqlBuildQueue;
  readonly log: SqlLogStore;
  readonly uploads: Uploads;
  /** Removes uploads nobody used; not started yet. */
  readonly sweeper: UploadSweeper;
}

/** What the database and the blob store hold: builds, logs, uploads. Queue and log have to be started. */
export function composeStore(options: StoreOptions): StoreParts {
  const { database, blobs, secretBox, signer, uploadLimit, logLimit, clock, logger } = options;
  const uploads = new Uploads({
    database,
    blobs,
    signer,
    clock,
    ...(uploadLimit === undefined ? {} : { limit: uploadLimit }),
  });
  return {
    queue: new SqlBuildQueue(database, {
      secretBox,
      clock,
      onError: (error) => logger.error({ err: error }, 'the queue lost its connection'),
    }),
    log: new SqlLogStore(database, { clock, ...(logLimit === undefined ? {} : { limit: logLimit }) }),
    uploads,
    sweeper: new UploadSweeper({
      uploads,
      clock,
      onError: (error) => logger.error({ err: error }, 'removing unused uploads failed; it is tried again'),
    }),
  };
}
