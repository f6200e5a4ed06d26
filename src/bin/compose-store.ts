import type { Logger } from 'pino';
import { AuditRetention } from '../audit/audit-retention.ts';
import { SqlAuditLog } from '../audit/sql-audit-log.ts';
import type { Clock } from '../base/clock.ts';
import type { BlobStore } from '../blob/blob-store.ts';
import type { Database } from '../db/database.ts';
import type { SecretBox } from '../db/secret-box.ts';
import { SqlHostKeys } from '../host-key/sql-host-keys.ts';
import { ArchiveKeeper } from '../log/archive-keeper.ts';
import type { LogHints } from '../log/log-hints.ts';
import { SqlLogStore } from '../log/sql-log-store.ts';
import { SqlBuildQueue } from '../queue/sql-build-queue.ts';
import { Retention } from '../retention/retention.ts';
import { RetentionKeeper } from '../retention/retention-keeper.ts';
import { StrayBlobs } from '../retention/stray-blobs.ts';
import { UploadSweeper } from '../upload/upload-sweeper.ts';
import { Uploads } from '../upload/uploads.ts';
import type { UrlSigner } from '../upload/url-signer.ts';

export interface StoreOptions {
  readonly database: Database;
  /** Of uploads. */
  readonly blobs: BlobStore;
  /** Where archived logs are; absent: there are none. */
  readonly archives?: BlobStore;
  /** Logs of builds that are over go there. */
  readonly archiveLogs?: boolean;
  /** Milliseconds after their end for which builds and logs are kept; absent: for ever. */
  readonly keepBuilds?: number;
  readonly keepLogs?: number;
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
  /** Signs links to uploads and archived logs. */
  readonly links: UrlSigner;
  readonly retention: Retention;
  /** Of git servers. */
  readonly hostKeys: SqlHostKeys;
  /** Moves logs to the archive and removes what is old; not started yet. */
  readonly storeKeepers: StoreKeepers;
  /** Removes uploads nobody used; not started yet. */
  readonly sweeper: UploadSweeper;
}

export interface StoreKeepers {
  start(): void;
  stop(): Promise<void>;
}

const year = 365 * 24 * 3_600_000;

/** Milliseconds after which a reader looks for itself whether another manager wrote something. */
const logPoll = 1_000;

/** What the database and the blob store hold: builds, logs, uploads, the audit log. Queue and log have to be started. */
export function composeStore(options: StoreOptions): StoreParts {
  const {
    database,
    blobs,
    archives,
    secretBox,
    signer,
    uploadLimit,
    logLimit,
    logTail,
    hints,
    clock,
    logger,
  } = options;
  const uploads = new Uploads({
    database,
    blobs,
    signer,
    clock,
    ...(uploadLimit === undefined ? {} : { limit: uploadLimit }),
  });
  const audit = new SqlAuditLog({ database, clock });
  const log = new SqlLogStore(database, {
    clock,
    ...(logLimit === undefined ? {} : { limit: logLimit }),
    ...(logTail === undefined ? {} : { tail: logTail }),
    ...(hints === undefined ? {} : { hints, poll: logPoll }),
    ...(archives === undefined ? {} : { archives }),
  });
  const strays = new StrayBlobs({
    database,
    stores: { uploads: blobs, logs: archives ?? blobs },
    clock,
    onError: (error) => logger.error({ err: error }, 'a blob was not removed; it is tried again'),
  });
  const retention = new Retention({ database, strays, clock });
  return {
    audit,
    links: signer,
    log,
    retention,
    storeKeepers: storeKeepers({ ...options, log, retention, strays, audit }),
    hostKeys: new SqlHostKeys({ database, clock }),
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
    uploads,
    sweeper: new UploadSweeper({
      uploads,
      clock,
      onError: (error) => logger.error({ err: error }, 'removing unused uploads failed; it is tried again'),
    }),
  };
}

function storeKeepers(
  given: StoreOptions & {
    readonly log: SqlLogStore;
    readonly retention: Retention;
    readonly strays: StrayBlobs;
    readonly audit: SqlAuditLog;
  },
): StoreKeepers {
  const {
    audit,
    database,
    archives,
    archiveLogs,
    log,
    retention,
    strays,
    keepBuilds,
    keepLogs,
    clock,
    logger,
  } = given;
  const keepers: StoreKeepers[] = [
    new RetentionKeeper({
      retention,
      strays,
      clock,
      ...(keepBuilds === undefined ? {} : { keepBuilds }),
      ...(keepLogs === undefined ? {} : { keepLogs }),
      onPruned: async (what) => {
        logger.info(what, 'removed what is old');
        await audit.write({
          actor: { kind: 'system', name: 'retention' },
          action: 'builds.prune',
          result: 'done',
          detail: { ...what },
        });
      },
      onError: (error) => logger.error({ err: error }, 'removing what is old failed; it is tried again'),
    }),
  ];
  if (archives !== undefined && archiveLogs === true)
    keepers.push(
      new ArchiveKeeper({
        database,
        blobs: archives,
        clock,
        alone: given.hints === undefined,
        onClosed: (wake) => log.onClosed(wake),
        onError: (error, build) =>
          logger.error({ err: error, build }, 'a log was not archived; it is tried again'),
      }),
    );
  return {
    start: () => {
      for (const keeper of keepers) keeper.start();
    },
    stop: async () => {
      for (const keeper of keepers) await keeper.stop();
    },
  };
}
