import type { Logger } from 'pino';
import { AuditRetention } from '../audit/audit-retention.ts';
import { SqlAuditLog } from '../audit/sql-audit-log.ts';
import type { Clock } from '../base/clock.ts';
import type { BlobStore } from '../blob/blob-store.ts';
import type { Database } from '../db/database.ts';
import type { SecretBox } from '../db/secret-box.ts';
import type { LogHints } from '../log/log-hints.ts';
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
  /** Of the limit, how much is kept from the end. */
  readonly logTail?: number;
  /** How readers of a log hear of what other managers wrote. Absent: there is only this one. */
  readonly hints?: LogHints;
  /** Milliseconds that a record of the audit log stays; a year unless given. */
  readonly keepAudit?: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface StoreParts {
  readonly queue: SqlBuildQueue;
  readonly log: SqlLogStore;
  readonly uploads: Uploads;
  readonly audit: SqlAuditLog;
  /** Removes records of the audit log when they are old; not started yet. */
  readonly auditRetention: AuditRetention;
  /** Removes uploads nobody used; not started yet. */
  readonly sweeper: UploadSweeper;
}

const year = 365 * 24 * 3_600_000;

/** Milliseconds after which a reader looks for itself whether another manager wrote something. */
const logPoll = 1_000;

/** What the database and the blob store hold: builds, logs, uploads, the audit log. Queue and log have to be started. */
export function composeStore(options: StoreOptions): StoreParts {
  const { database, blobs, secretBox, signer, uploadLimit, logLimit, logTail, hints, clock, logger } =
    options;
  const uploads = new Uploads({
    database,
    blobs,
    signer,
    clock,
    ...(uploadLimit === undefined ? {} : { limit: uploadLimit }),
  });
  const audit = new SqlAuditLog({ database, clock });
  return {
    audit,
    auditRetention: new AuditRetention({
      audit,
      clock,
      keep: options.keepAudit ?? year,
      onError: (error) =>
        logger.error({ err: error }, 'removing old audit records failed; it is tried again'),
    }),
    queue: new SqlBuildQueue(database, {
      secretBox,
      clock,
      onError: (error) => logger.error({ err: error }, 'the queue lost its connection'),
    }),
    log: new SqlLogStore(database, {
      clock,
      ...(logLimit === undefined ? {} : { limit: logLimit }),
      ...(logTail === undefined ? {} : { tail: logTail }),
      ...(hints === undefined ? {} : { hints, poll: logPoll }),
    }),
    uploads,
    sweeper: new UploadSweeper({
      uploads,
      clock,
      onError: (error) => logger.error({ err: error }, 'removing unused uploads failed; it is tried again'),
    }),
  };
}
