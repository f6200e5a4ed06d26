import type { Clock } from '../base/clock.ts';
import { GroupCommit } from '../base/group-commit.ts';
import type { Database, SqlTransaction } from '../db/database.ts';
import { SqlError } from '../db/sql-error.ts';
import type { BuildId } from '../model/ids.ts';
import {
  admitStage,
  admitWriter,
  appendPieces,
  closeLog,
  type LogLimits,
  writerVerdict,
} from './append-log.ts';
import { appendMany } from './append-many.ts';
import { countLines, encodeChunks, type LogChunk, type LogPiece } from './log-chunk.ts';
import type { FreshPieces } from './log-feed.ts';
import type { AppendVerdict, LogWriter } from './log-store.ts';
import { unfinishedBytes } from './utf8-boundary.ts';

export interface Writing {
  readonly buildId: BuildId;
  readonly writer: LogWriter;
  readonly pieces: readonly LogPiece[];
  /** The log is closed with these entries. */
  readonly close: boolean;
}

/** What is written, with its chunks when they can be made without knowing the log. */
interface Prepared extends Writing {
  readonly chunks: readonly LogChunk[] | undefined;
  readonly bytes: number;
}

/** With what was stored, where it can be shown without reading it back. */
export type Written =
  | Exclude<AppendVerdict, { kind: 'stored' }>
  | { readonly kind: 'stored'; readonly total: number; readonly fresh?: FreshPieces };

/** Logs of one group at most: of a thousand builds each has its turn in every one. */
const groupMost = 1_024;
/** Bytes of text that go together at most, but for a single writing. */
const groupBytes = 4 * 1024 * 1024;
/** Logs over their limit that are remembered: their writings are made one by one. */
const rememberedLong = 1_000;

/**
 * All writing to logs of this process: what comes at the same time goes into one transaction, and nobody is answered
 * before that is durable. Of one log one writing at most is under way, so its entries keep their order.
 */
export class GroupedLogWriter {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #limits: LogLimits;
  readonly #group: GroupCommit<Prepared, Written>;
  readonly #long = new Set<BuildId>();

  constructor(database: Database, { clock, limits }: { readonly clock: Clock; readonly limits: LogLimits }) {
    this.#database = database;
    this.#clock = clock;
    this.#limits = limits;
    this.#group = new GroupCommit({
      commit: (writings) => this.#commit(writings),
      key: ({ buildId }) => buildId,
      most: groupMost,
      // While one group waits for the disk the next one is on its way; they are of different logs.
      lanes: database.dialect === 'postgres' ? 2 : 1,
      gather: { milliseconds: 1, busy: 4, enough: 24 },
      weight: { of: ({ bytes }) => bytes, most: groupBytes },
      mayDivide: (thrown) =>
        !(thrown instanceof SqlError) || thrown.code === 'failed' || thrown.code === 'bad-text',
    });
  }

  write(writing: Writing): Promise<Written> {
    const bytes = writing.pieces.reduce(
      (sum, piece) => sum + (piece.kind === 'lines' ? piece.run.text.length : 0),
      0,
    );
    const plain =
      this.#database.dialect === 'postgres' && bytes <= this.#limits.head && !hasCut(writing.pieces);
    return this.#group.submit({
      ...writing,
      bytes,
      chunks: plain ? encodeChunks(writing.pieces) : undefined,
    });
  }

  async #commit(writings: readonly Prepared[]): Promise<readonly Written[]> {
    if (this.#database.dialect === 'sqlite') {
      return this.#database.transaction(async (sql) => {
        const verdicts: Written[] = [];
        for (const writing of writings) verdicts.push(await this.#writeOne(sql, writing));
        return verdicts;
      });
    }
    const verdicts = new Map<Prepared, Written>();
    let usual = writings.filter(({ buildId, chunks }) => chunks !== undefined && !this.#long.has(buildId));
    while (usual.length > 0) {
      const unusual = await this.#writeMany(usual, verdicts);
      if (unusual.size === 0) break;
      usual = usual.filter((writing) => !unusual.has(writing));
    }
    for (const writing of writings) {
      if (verdicts.has(writing)) continue;
      verdicts.set(writing, await this.#database.transaction((sql) => this.#writeOne(sql, writing)));
    }
    return writings.map((writing) => verdicts.get(writing) ?? { kind: 'stale' });
  }

  /** All of them, or none when some are unusual; those are answered then. */
  async #writeMany(
    writings: readonly Prepared[],
    verdicts: Map<Prepared, Written>,
  ): Promise<ReadonlySet<Prepared>> {
    const appends = writings.map(({ buildId, writer, chunks = [], close }) => ({
      buildId,
      chunks,
      close,
      ...(writer.kind === 'manager' ? {} : { attempt: writer }),
    }));
    const given = { limit: this.#limits.head, now: this.#clock.now() };
    const made = await this.#database.statement((sql) => appendMany(sql, appends, given));
    if ('unusual' in made) return new Set(writings.filter((_writing, index) => made.unusual.has(index)));
    const refused: Prepared[] = [];
    for (const [index, writing] of writings.entries()) {
      const appended = made.appended[index];
      if (typeof appended === 'object') verdicts.set(writing, stored(writing, appended.total));
      else refused.push(writing);
    }
    for (const writing of refused) {
      if (writing.writer.kind === 'stage') verdicts.set(writing, { kind: 'repeated' });
      if (writing.writer.kind !== 'worker') continue;
      verdicts.set(writing, await writerVerdict(this.#database.sql, writing.buildId, writing.writer));
    }
    return new Set();
  }

  async #writeOne(sql: SqlTransaction, writing: Writing): Promise<Written> {
    const { buildId, writer, pieces, close } = writing;
    const now = this.#clock.now();
    if (writer.kind === 'worker' && !(await admitWriter(sql, buildId, writer))) {
      return writerVerdict(sql, buildId, writer);
    }
    if (writer.kind === 'stage' && !(await admitStage(sql, buildId, writer))) return { kind: 'repeated' };
    const { verdict, long, plain } = await appendPieces(sql, {
      buildId,
      pieces,
      limits: this.#limits,
      now,
      ...(writer.kind === 'worker' ? { attemptId: writer.attemptId } : {}),
    });
    if (verdict.kind === 'stale') {
      // The number was counted already.
      if (writer.kind === 'worker') await admitWriter(sql, buildId, writer, -1);
      this.#long.delete(buildId);
      return verdict;
    }
    if (long) this.#remember(buildId);
    if (!close) return plain ? stored({ ...writing, chunks: undefined, bytes: 0 }, verdict.total) : verdict;
    this.#long.delete(buildId);
    return { kind: 'stored', total: await closeLog(sql, buildId, { limits: this.#limits, now }) };
  }

  #remember(buildId: BuildId): void {
    this.#long.add(buildId);
    if (this.#long.size <= rememberedLong) return;
    const [oldest] = this.#long;
    if (oldest !== undefined) this.#long.delete(oldest);
  }
}

function stored({ pieces, chunks, close }: Prepared, total: number): Written {
  const entries =
    chunks === undefined ? countEntries(pieces) : chunks.reduce((sum, chunk) => sum + chunk.entries, 0);
  const bytes = pieces.reduce(
    (sum, piece) => sum + (piece.kind === 'lines' ? piece.run.text.length : 256),
    0,
  );
  return { kind: 'stored', total, fresh: { first: total - entries, total, closed: close, bytes, pieces } };
}

function countEntries(pieces: readonly LogPiece[]): number {
  return pieces.reduce((sum, piece) => sum + (piece.kind === 'lines' ? countLines(piece.run.text) : 1), 0);
}

/** A piece of a line that ends in the middle of a character: the log holds that back. */
function hasCut(pieces: readonly LogPiece[]): boolean {
  return pieces.some(
    (piece) => piece.kind === 'lines' && piece.run.partial === true && unfinishedBytes(piece.run.text) > 0,
  );
}
