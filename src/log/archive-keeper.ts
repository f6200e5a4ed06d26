import { randomBytes } from 'node:crypto';
import { type BackOffOptions, backOff } from '../base/back-off.ts';
import type { Clock } from '../base/clock.ts';
import { GroupCommit } from '../base/group-commit.ts';
import { StandstillWatch } from '../base/standstill-watch.ts';
import { BlobError } from '../blob/blob-error.ts';
import type { BlobStore } from '../blob/blob-store.ts';
import type { Database } from '../db/database.ts';
import { SqlError } from '../db/sql-error.ts';
import type { BuildId } from '../model/ids.ts';
import { archiveLog, type StoredArchive } from './archive-log.ts';
import {
  type ArchiveClaim,
  claimArchives,
  claimedArchives,
  freeArchives,
  giveUpArchive,
  releaseArchives,
  removeRemainder,
  renewArchives,
  type SeenClaim,
  settleArchives,
} from './archive-rows.ts';
import { StoredChunks } from './stored-chunks.ts';

export interface ArchiveKeeperOptions {
  readonly database: Database;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  /** Calls back when a log was closed here, so that it is archived at once; gives back how to stop that. */
  readonly onClosed?: (wake: () => void) => () => void;
  /** Told of a log that could not be archived; it is tried again. Undefined: the database failed. */
  readonly onError: (error: unknown, buildId?: BuildId) => void;
  readonly onArchived?: (buildId: BuildId, archive: StoredArchive) => void;
  /** Logs archived at once; 16 unless given. */
  readonly concurrency?: number;
  /** Milliseconds between looks at what others left; 10 s unless given. */
  readonly poll?: number;
  /**
   * Milliseconds that a claim must stand still before another manager may take the log from one that died while it
   * archived it; a minute unless given.
   */
  readonly lease?: number;
  /** Milliseconds that go on whatever the time of day is set to; the process's own unless given. */
  readonly monotonic?: () => number;
  /** No other process uses the database, so what is claimed at the start was claimed by one that is dead. */
  readonly alone?: boolean;
  /** Waits after failures; from 1 s to 10 min unless given. */
  readonly retry?: BackOffOptions;
}

/** Milliseconds in which logs that are closed one after the other are gathered, to be claimed together. */
const gatherTime = 50;
/** Milliseconds after which a blob that nobody wrote to its end, or that nobody claims, is certainly stray. */
const strayAfter = 24 * 3_600_000;
/** How often an archive that is written already is announced to a database that is away. */
const settleTries = 20;

/**
 * Moves closed logs from the database to the blob store, at once, from `start` to `stop`. Any number of managers do
 * that beside each other; what one leaves undone, another does.
 */
export class ArchiveKeeper implements AsyncDisposable {
  readonly #options: Required<Omit<ArchiveKeeperOptions, 'onClosed' | 'onArchived'>> &
    Pick<ArchiveKeeperOptions, 'onClosed' | 'onArchived'>;
  readonly #chunks: StoredChunks;
  readonly #settling: GroupCommit<{ claim: ArchiveClaim; archive: StoredArchive }, boolean>;
  readonly #running = new Map<ArchiveClaim, Promise<void>>();
  readonly #watch: StandstillWatch<SeenClaim>;
  #stopping = new AbortController();
  #loop: Promise<unknown> | undefined;
  #deaf: (() => void) | undefined;
  #due = true;
  #wake: (() => void) | undefined;
  /** Failures of the store in a row: while there are some, little is tried, and slowly. */
  #failures = 0;

  constructor(options: ArchiveKeeperOptions) {
    this.#options = {
      concurrency: 16,
      poll: 10_000,
      lease: 60_000,
      monotonic: () => performance.now(),
      alone: false,
      retry: { first: 1_000, cap: 10 * 60_000 },
      ...options,
    };
    const { database, clock, monotonic } = this.#options;
    this.#watch = new StandstillWatch({
      monotonic,
      idOf: ({ buildId }) => buildId,
      same: (before, now) => before.key === now.key && before.mark === now.mark,
    });
    this.#chunks = new StoredChunks(database, undefined);
    this.#settling = new GroupCommit({
      commit: (stored) => settleArchives(database, stored, clock.now()),
      most: 64,
    });
  }

  start(): void {
    if (this.#loop !== undefined) return;
    this.#stopping = new AbortController();
    this.#deaf = this.#options.onClosed?.(() => this.#tell());
    const { signal } = this.#stopping;
    this.#loop = Promise.all([this.#run(signal), this.#mind(signal)]);
  }

  /** What is under way is given up, and done by the next life or another manager. */
  async stop(): Promise<void> {
    this.#deaf?.();
    this.#stopping.abort();
    this.#tell();
    await this.#loop;
    await Promise.all(this.#running.values());
    this.#loop = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #tell(): void {
    this.#due = true;
    this.#wake?.();
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { database, clock, concurrency, onError, poll, retry } = this.#options;
    let fresh = this.#options.alone;
    while (!signal.aborted) {
      try {
        if (fresh) await releaseArchives(database);
        fresh = false;
        if (this.#failures > 0) {
          const wait = Math.min(backOff(this.#failures - 1, retry), 60_000);
          await clock.sleep(wait, signal);
        }
        // Claims of one or two at a time would cost as much as those of many.
        const free = (this.#failures > 0 ? 1 : concurrency) - this.#running.size;
        if (free < Math.min(concurrency / 2, this.#failures > 0 ? 1 : concurrency)) {
          await Promise.race(this.#running.values());
          continue;
        }
        this.#due = false;
        const claims = await this.#claim(free);
        for (const claim of claims) this.#begin(claim, signal);
        if (claims.length > 0 && this.#failures > 0) await Promise.all(this.#running.values());
        if (claims.length === free) continue;
        if (claims.length === 0 && (await removeRemainder(database))) continue;
        await this.#wait(poll, signal);
        await clock.sleep(gatherTime, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#failures += 1;
        onError(error);
      }
    }
  }

  async #claim(most: number): Promise<readonly ArchiveClaim[]> {
    const { database, clock, retry } = this.#options;
    const now = clock.now();
    const token = randomBytes(6).toString('hex');
    return await claimArchives(database, {
      now,
      most,
      token,
      longestWait: retry.cap,
      strayUntil: now + strayAfter,
    });
  }

  #begin(claim: ArchiveClaim, signal: AbortSignal): void {
    const running = this.#archive(claim, signal).finally(() => this.#running.delete(claim));
    this.#running.set(claim, running);
  }

  /** Keeps its own claims, as a log may take longer than a lease, and frees those that stood still. */
  async #mind(signal: AbortSignal): Promise<void> {
    const { database, clock, lease, onError } = this.#options;
    while (!signal.aborted) {
      try {
        await clock.sleep(lease / 6, signal);
        const claims = [...this.#running.keys()];
        if (claims.length > 0) await renewArchives(database, claims);
        const still = this.#watch.stoodStill(await claimedArchives(database), lease);
        if (still.length === 0) continue;
        await freeArchives(database, still);
        this.#tell();
      } catch (error) {
        if (!signal.aborted) onError(error);
      }
    }
  }

  async #archive(claim: ArchiveClaim, signal: AbortSignal): Promise<void> {
    const { database, blobs, clock, retry, onError, onArchived } = this.#options;
    try {
      const archive = await archiveLog({ chunks: this.#chunks, blobs }, claim, signal);
      const won = await this.#settle(claim, archive, signal);
      this.#failures = 0;
      if (won) onArchived?.(claim.buildId, archive);
    } catch (error) {
      const now = clock.now();
      // One that ends in the middle of its work is not at fault: the log is there for the next at once.
      const again = signal.aborted ? 0 : now + backOff(claim.tries, retry);
      if (!signal.aborted) {
        if (error instanceof BlobError) this.#failures += 1;
        onError(error, claim.buildId);
      }
      await giveUpArchive(database, claim, { now, again }).catch((failed: unknown) => {
        if (!signal.aborted) onError(failed, claim.buildId);
      });
    }
  }

  /** A database that is away for a moment does not cost the work that is done. */
  async #settle(claim: ArchiveClaim, archive: StoredArchive, signal: AbortSignal): Promise<boolean> {
    for (let failures = 0; ; failures += 1) {
      try {
        return await this.#settling.submit({ claim, archive });
      } catch (error) {
        const away = error instanceof SqlError && error.code === 'unavailable';
        if (!away || signal.aborted || failures >= settleTries) throw error;
        await this.#options.clock.sleep(backOff(failures, { first: 100, cap: 5_000 }), signal);
      }
    }
  }

  /** Until a log was closed, or `poll` is over. */
  async #wait(poll: number, signal: AbortSignal): Promise<void> {
    if (this.#due || signal.aborted) return;
    const over = new AbortController();
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    const polled = this.#options.clock.sleep(poll, AbortSignal.any([signal, over.signal])).catch(() => {});
    await Promise.race([woken, polled]);
    over.abort();
    this.#wake = undefined;
  }
}
