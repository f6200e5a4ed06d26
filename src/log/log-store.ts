import type { AttemptId, BuildId } from '../model/ids.ts';

/** One entry of a build's log, as API clients see it. Its position in the log is its index, from 0. */
export interface LogEntry {
  readonly message: string;
  /** Absent: plain output. */
  readonly type?: 'phase' | 'command' | 'error';
  readonly data?: {
    /** ISO 8601, UTC. */
    readonly datetime?: string;
    /** The message is a piece of a longer line, which goes on in the next entry. */
    readonly partial?: boolean;
    readonly [key: string]: unknown;
  };
}

/** Many entries of one kind in a compact form. `text`: `count` lines joined by "\n"; bytes as the build wrote them. */
export interface LogRun {
  readonly text: Uint8Array;
  readonly count: number;
  readonly type?: 'command' | 'error';
  /** Milliseconds since 1970, of the first line. */
  readonly time: number;
  readonly partial?: boolean;
}

/**
 * Who writes: a worker under its epoch (numbered, so that a repeated batch is stored once), a manager about a stage of
 * an attempt (several may write of the same one; it is stored once, and none after a later one), or the manager.
 */
export type LogWriter =
  | {
      readonly kind: 'worker';
      readonly attemptId: AttemptId;
      readonly epoch: number;
      readonly sequence: number;
    }
  | { readonly kind: 'stage'; readonly attemptId: AttemptId; readonly epoch: number; readonly stage: number }
  | { readonly kind: 'manager' };

export type ManagerWriter = Exclude<LogWriter, { readonly kind: 'worker' }>;

export type AppendVerdict =
  | { readonly kind: 'stored'; readonly total: number }
  /** This sequence number, this stage or a later one, is stored already: nothing changed. */
  | { readonly kind: 'repeated' }
  /** A number before it is missing: nothing changed. */
  | { readonly kind: 'gap'; readonly expected: number }
  /** The epoch is over, or the log is closed: nothing changed. */
  | { readonly kind: 'stale' };

export interface LogPage {
  /** Position of the first entry. */
  readonly start: number;
  /** Entries in the whole log so far. */
  readonly total: number;
  readonly entries: readonly LogEntry[];
  /** No entry will ever be added. */
  readonly closed: boolean;
  /** It has been moved to the archive, where it is read as before. */
  readonly archived?: true;
}

/** A page on its way to a follower. Entries are made when they are asked for; most followers want their JSON only. */
export interface LogTailPage extends LogPage {
  /** How many entries the page has. */
  readonly count: number;
  /** A phase changed. */
  readonly hasPhase: boolean;
  /** UTF-8: `before`, the entries as the elements of a JSON array without its brackets, and `after`. */
  json(before: string, after: string): Buffer;
}

/**
 * The log of every build: durable when `append` returns, ordered, gap-free, immutable once closed. Over the size limit
 * (default 100 MB a build) the middle is left out and an entry says how much.
 *
 * Readers do not poll: `tail` waits for what comes.
 */
export interface LogStore {
  append(buildId: BuildId, writer: LogWriter, runs: readonly LogRun[]): Promise<AppendVerdict>;
  /** A single structured entry of the manager's: a phase change, an error. */
  appendEntry(buildId: BuildId, entry: LogEntry, writer?: ManagerWriter): Promise<AppendVerdict>;
  /** The last sequence number stored for an attempt; 0 when there is none. */
  lastSequence(attemptId: AttemptId): Promise<number>;
  /**
   * No more entries after these: what was kept of the end of an over-long log is put in place. All of it at once, and
   * once: false, and nothing changed, when the log is closed already.
   */
  close(buildId: BuildId, last?: readonly LogEntry[]): Promise<boolean>;
  read(buildId: BuildId, start: number, limit: number): Promise<LogPage>;
  /** Pages from `start` on, each as soon as it is there; ends when the log is closed and read, or the signal fires. */
  tail(buildId: BuildId, start: number, signal: AbortSignal): AsyncIterable<LogTailPage>;
  /** The log as text, in pieces: entries end with "\n", but for pieces of a longer line. */
  download(buildId: BuildId, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** Deletes a build's log. */
  remove(buildId: BuildId): Promise<void>;
}
