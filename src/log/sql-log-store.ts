import { type Clock, systemClock } from '../base/clock.ts';
import { GroupCommit } from '../base/group-commit.ts';
import type { BlobStore } from '../blob/blob-store.ts';
import type { Database } from '../db/database.ts';
import { among } from '../db/row-set.ts';
import type { AttemptId, BuildId } from '../model/ids.ts';
import { piecesOf } from './append-log.ts';
import { removeLogs } from './archive-rows.ts';
import { entriesOf, type LogPiece, textOf } from './log-chunk.ts';
import { LogFeeds } from './log-feed.ts';
import type { LogHints } from './log-hints.ts';
import { dropEntries } from './log-json.ts';
import type {
  AppendVerdict,
  LogEntry,
  LogPage,
  LogRun,
  LogStore,
  LogTailPage,
  LogWriter,
  ManagerWriter,
} from './log-store.ts';
import { GroupedLogWriter, type Writing } from './log-writer.ts';
import { StoredChunks } from './stored-chunks.ts';
import { storedPage } from './stored-page.ts';

export interface SqlLogStoreOptions {
  readonly clock?: Clock;
  /** Bytes of text a log may have; 100 MiB unless given, Infinity for no limit. */
  readonly limit?: number;
  /** Of these, how many are kept from the end; 10 MiB unless given, but no more than half. */
  readonly tail?: number;
  /** Where archived logs are; needed once there are some. */
  readonly archives?: BlobStore;
  /** How other managers hear of what is written here, and the other way round. */
  readonly hints?: LogHints;
  /** Milliseconds after which a waiting reader looks again without a hint; needed with more than one manager. */
  readonly poll?: number;
}

const mebibyte = 1024 * 1024;

interface Position {
  readonly total: number;
  readonly closed: boolean;
  readonly exists: boolean;
  readonly archived: boolean;
}

/** Logs as rows: see `LogChunk` for what a row holds and `appendPieces` for what happens to a log that is too long. */
export class SqlLogStore implements LogStore, AsyncDisposable {
  readonly #database: Database;
  readonly #chunks: StoredChunks;
  readonly #clock: Clock;
  readonly #writer: GroupedLogWriter;
  /** Where logs stand, asked for by many readers at once. */
  readonly #positions: GroupCommit<BuildId, Position>;
  readonly #hints: LogHints | undefined;
  readonly #poll: number | undefined;
  readonly #feeds = new LogFeeds();
  #polling: Promise<void> | undefined;
  #telling: BuildId | undefined;
  readonly #closeListeners = new Set<(buildId: BuildId) => void>();
  readonly #stopping = new AbortController();
  #deaf: (() => void) | undefined;

  constructor(database: Database, options: SqlLogStoreOptions = {}) {
    this.#database = database;
    this.#chunks = new StoredChunks(database, options.archives);
    this.#clock = options.clock ?? systemClock;
    const limit = options.limit ?? 100 * mebibyte;
    const tail = Math.min(options.tail ?? 10 * mebibyte, Math.floor(limit / 2));
    // Without a limit: more than a row can count is none.
    const head = limit === Number.POSITIVE_INFINITY ? Number.MAX_SAFE_INTEGER : limit - tail;
    this.#writer = new GroupedLogWriter(database, { clock: this.#clock, limits: { head, tail } });
    this.#positions = new GroupCommit({ commit: (buildIds) => this.#readPositions(buildIds), lanes: 2 });
    this.#hints = options.hints;
    this.#poll = options.poll;
  }

  async start(): Promise<void> {
    this.#deaf = this.#hints?.listen((buildId) => {
      // Readers here know already what this process tells the others.
      if (buildId !== this.#telling) this.#feeds.hint(buildId);
    });
  }

  /** Ends all readers. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#deaf?.();
    this.#feeds.hintAll();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async append(buildId: BuildId, writer: LogWriter, runs: readonly LogRun[]): Promise<AppendVerdict> {
    return this.#write({ buildId, writer, pieces: piecesOf(runs), close: false });
  }

  async appendEntry(
    buildId: BuildId,
    entry: LogEntry,
    writer: ManagerWriter = byManager,
  ): Promise<AppendVerdict> {
    return this.#write({ buildId, writer, pieces: [{ kind: 'entry', entry }], close: false });
  }

  async lastSequence(attemptId: AttemptId): Promise<number> {
    const row = await this.#database.sql
      .selectFrom('attempts')
      .select('log_sequence')
      .where('id', '=', attemptId)
      .executeTakeFirst();
    return row?.log_sequence ?? 0;
  }

  async close(buildId: BuildId, last: readonly LogEntry[] = []): Promise<boolean> {
    const pieces = last.map((entry): LogPiece => ({ kind: 'entry', entry }));
    const { kind } = await this.#write({ buildId, writer: byManager, pieces, close: true });
    return kind === 'stored';
  }

  async read(buildId: BuildId, start: number, limit: number): Promise<LogPage> {
    const from = Math.max(0, Math.trunc(start));
    const { total, closed, archived } = await this.#position(buildId);
    const end = Math.min(total, from + Math.max(0, Math.trunc(limit)));
    const entries: LogEntry[] = [];
    for await (const { first, pieces } of this.#chunks.read(buildId, from, end)) {
      const all = entriesOf(pieces);
      entries.push(...all.slice(Math.max(0, from - first), end - first));
    }
    return { start: from, total, entries, closed, ...(archived ? { archived: true } : {}) };
  }

  async *tail(buildId: BuildId, start: number, signal: AbortSignal): AsyncIterable<LogTailPage> {
    const ended = AbortSignal.any([signal, this.#stopping.signal]);
    const { feed, close } = this.#feeds.open(buildId);
    if (this.#poll !== undefined)
      this.#polling ??= this.#pollForFeeds(this.#poll).finally(() => {
        this.#polling = undefined;
      });
    const end = (): void => feed.hint();
    ended.addEventListener('abort', end, { once: true });
    let next = Math.max(0, Math.trunc(start));
    let existed = false;
    try {
      while (!ended.aborted) {
        feed.forget();
        const { total, closed, exists } = await this.#position(buildId);
        // Removed while it was read: what is gone will not come.
        if (existed && !exists) return;
        existed = exists;
        for await (const { first, entries, pieces } of this.#chunks.read(buildId, next, total)) {
          if (ended.aborted) return;
          const fresh = first < next ? dropEntries(pieces, next - first) : pieces;
          const page = { start: next, count: first + entries - next, total };
          next += page.count;
          yield storedPage({ ...page, closed: closed && next >= total }, fresh);
          if (closed && next >= total) return;
        }
        if (closed) {
          yield storedPage({ start: next, count: 0, total, closed }, []);
          return;
        }
        // From here on what is stored by this process comes as it is, until something else has happened.
        for (;;) {
          if (!ended.aborted) await feed.waited();
          const fresh = feed.take();
          if (fresh === undefined || fresh === 'look' || ended.aborted) break;
          if (fresh.total <= next && !fresh.closed) continue;
          if (fresh.first !== next) break;
          existed = true;
          const page = { start: next, count: fresh.total - next, total: fresh.total, closed: fresh.closed };
          next = fresh.total;
          yield storedPage(page, fresh.pieces);
          if (fresh.closed) return;
        }
      }
    } finally {
      ended.removeEventListener('abort', end);
      close();
    }
  }

  async *download(buildId: BuildId, signal: AbortSignal): AsyncIterable<Uint8Array> {
    const { total } = await this.#position(buildId);
    for await (const { pieces } of this.#chunks.read(buildId, 0, total)) {
      signal.throwIfAborted();
      yield textOf(pieces);
    }
  }

  async remove(buildId: BuildId): Promise<void> {
    await this.#database.transaction((sql) => removeLogs(sql, [buildId], this.#clock.now()));
    this.#feeds.hint(buildId);
    this.#tellOthers(buildId);
  }

  async #write(writing: Writing): Promise<AppendVerdict> {
    const written = await this.#writer.write(writing);
    if (written.kind !== 'stored') return written;
    const { buildId } = writing;
    if (written.fresh === undefined) this.#feeds.hint(buildId);
    else this.#feeds.push(buildId, written.fresh);
    this.#tellOthers(buildId);
    if (writing.close) for (const tell of this.#closeListeners) tell(buildId);
    return { kind: 'stored', total: written.total };
  }

  /** Calls `tell` for every log that is closed here. */
  onClosed(tell: (buildId: BuildId) => void): () => void {
    const own = (buildId: BuildId) => tell(buildId);
    this.#closeListeners.add(own);
    return () => {
      this.#closeListeners.delete(own);
    };
  }

  #tellOthers(buildId: BuildId): void {
    this.#telling = buildId;
    this.#hints?.tell(buildId);
    this.#telling = undefined;
  }

  #position(buildId: BuildId): Promise<Position> {
    return this.#positions.submit(buildId);
  }

  async #readPositions(buildIds: readonly BuildId[]): Promise<readonly Position[]> {
    const rows = await this.#database.sql
      .selectFrom('log_heads')
      .select(['build_id', 'total', 'closed_at', 'archived_at'])
      .where(among(this.#database.dialect, 'build_id', [...new Set(buildIds)]))
      .execute();
    const byId = new Map(rows.map((row) => [row.build_id, row]));
    return buildIds.map((buildId) => {
      const row = byId.get(buildId);
      return {
        total: row?.total ?? 0,
        closed: (row?.closed_at ?? null) !== null,
        archived: (row?.archived_at ?? null) !== null,
        exists: row !== undefined,
      };
    });
  }

  /** Readers that heard nothing for a while look for themselves: another manager may have written. Ends with the last. */
  async #pollForFeeds(poll: number): Promise<void> {
    while (this.#feeds.size > 0 && !this.#stopping.signal.aborted) {
      await this.#clock.sleep(poll, this.#stopping.signal).catch(() => {});
      this.#feeds.tickAll();
    }
  }
}

const byManager: ManagerWriter = { kind: 'manager' };
