import { sql as raw } from 'kysely';
import type { Sql, SqlTransaction } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import { attemptStates, isRunning } from '../model/attempt.ts';
import type { BuildId } from '../model/ids.ts';
import { encodeChunks, type LogChunk, type LogPiece } from './log-chunk.ts';
import type { AppendVerdict, LogRun, LogWriter } from './log-store.ts';
import { unfinishedBytes } from './utf8-boundary.ts';

export interface LogLimits {
  /** Bytes of text from the begin that are kept. */
  readonly head: number;
  /** Bytes of text from the end that are kept. */
  readonly tail: number;
}

type Head = Row<'log_heads'>;
type WorkerWriter = Extract<LogWriter, { kind: 'worker' }>;

/**
 * Writes go to `log_chunks` until `limits.head` is reached; then a marker is written and the newest `limits.tail`
 * bytes are kept in `log_tails`, which `closeLog` puts in place.
 *
 * A character that was cut in two between two pieces of one line is put together again: its begin is held back
 * (`carry`) and goes before the next piece of the same attempt.
 */
export async function appendPieces(
  sql: SqlTransaction,
  given: {
    readonly buildId: BuildId;
    readonly pieces: readonly LogPiece[];
    readonly attemptId?: string;
    readonly limits: LogLimits;
    readonly now: number;
  },
): Promise<{
  readonly verdict: Extract<AppendVerdict, { kind: 'stored' | 'stale' }>;
  /** The log is over its limit. */
  readonly long: boolean;
  /** Just these pieces were put in place. */
  readonly plain: boolean;
}> {
  const { buildId, limits, now } = given;
  let head = await holdHead(sql, buildId);
  if (head.closed_at !== null) return { verdict: { kind: 'stale' }, long: false, plain: false };
  const carried = head.carry !== null;
  const { pieces, carry } = joinCharacters(given.pieces, head, given.attemptId);
  const { carry: held, carry_attempt, carry_time } = carry;
  head = { ...head, carry: held, carry_attempt, carry_time };
  for (const chunk of encodeChunks(pieces)) {
    if (head.cut_at === null && head.bytes + chunk.bytes > limits.head) {
      head = { ...(await addToHead(sql, head, markerChunk(limits, now))), cut_at: now };
    }
    head =
      head.cut_at === null ? await addToHead(sql, head, chunk) : await addToTail(sql, head, chunk, limits);
  }
  const { build_id, ...columns } = head;
  await sql.updateTable('log_heads').set(columns).where('build_id', '=', build_id).execute();
  const long = head.cut_at !== null;
  const plain = !long && !carried && head.carry === null;
  return { verdict: { kind: 'stored', total: head.total }, long, plain };
}

/**
 * Lets one writer through: the attempt runs, under this epoch, and this is its next sequence number. Holds the attempt's
 * row to the end of the transaction. With -1 the count of this number is taken back.
 */
export async function admitWriter(
  sql: SqlTransaction,
  buildId: BuildId,
  { attemptId, epoch, sequence }: WorkerWriter,
  count: 1 | -1 = 1,
): Promise<boolean> {
  const { numUpdatedRows } = await sql
    .updateTable('attempts')
    .set({ log_sequence: count === 1 ? sequence : sequence - 1 })
    .where('id', '=', attemptId)
    .where('build_id', '=', buildId)
    .where('epoch', '=', epoch)
    .where('lease_until', 'is not', null)
    .where('log_sequence', '=', count === 1 ? sequence - 1 : sequence)
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

/** Lets the first writer of a stage through, unless one of a later stage was. Holds the row as `admitWriter` does. */
export async function admitStage(
  sql: SqlTransaction,
  buildId: BuildId,
  { attemptId, epoch, stage }: Extract<LogWriter, { kind: 'stage' }>,
): Promise<boolean> {
  const { numUpdatedRows } = await sql
    .updateTable('attempts')
    .set({ log_stage: stage })
    .where('id', '=', attemptId)
    .where('build_id', '=', buildId)
    .where('epoch', '=', epoch)
    .where('log_stage', '<', stage)
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

/** Why a writer was not let through. */
export async function writerVerdict(
  sql: Sql,
  buildId: BuildId,
  { attemptId, epoch, sequence }: WorkerWriter,
): Promise<AppendVerdict> {
  const attempt = await sql
    .selectFrom('attempts')
    .select(['epoch', 'state', 'log_sequence', 'build_id'])
    .where('id', '=', attemptId)
    .executeTakeFirst();
  const state = attemptStates.find((each) => each === attempt?.state);
  if (
    attempt === undefined ||
    attempt.epoch !== epoch ||
    attempt.build_id !== buildId ||
    state === undefined ||
    !isRunning(state)
  ) {
    return { kind: 'stale' };
  }
  if (sequence <= attempt.log_sequence) return { kind: 'repeated' };
  return { kind: 'gap', expected: attempt.log_sequence + 1 };
}

/** Everything that is held back is put in place, and no entry is added any more. Returns how many there are. */
export async function closeLog(
  sql: SqlTransaction,
  buildId: BuildId,
  { limits, now }: { readonly limits: LogLimits; readonly now: number },
): Promise<number> {
  let head = await holdHead(sql, buildId);
  if (head.closed_at !== null) return head.total;
  if (head.carry !== null) {
    const rest: LogPiece = {
      kind: 'lines',
      run: { text: head.carry, count: 1, time: head.carry_time ?? now },
    };
    for (const chunk of encodeChunks([rest])) {
      head =
        head.cut_at === null ? await addToHead(sql, head, chunk) : await addToTail(sql, head, chunk, limits);
    }
  }
  if (head.cut_at !== null) head = await placeTail(sql, head, now);
  await sql
    .updateTable('log_heads')
    .set({ total: head.total, bytes: head.bytes, closed_at: now, carry: null, carry_attempt: null })
    .where('build_id', '=', buildId)
    .execute();
  return head.total;
}

/** The head's row, made when there is none, and held to the end of the transaction. */
async function holdHead(sql: SqlTransaction, buildId: BuildId): Promise<Head> {
  return sql
    .insertInto('log_heads')
    .values({ build_id: buildId })
    .onConflict((conflict) =>
      conflict.column('build_id').doUpdateSet((set) => ({ build_id: set.ref('excluded.build_id') })),
    )
    .returningAll()
    .executeTakeFirstOrThrow();
}

async function addToHead(sql: SqlTransaction, head: Head, chunk: LogChunk): Promise<Head> {
  await sql
    .insertInto('log_chunks')
    .values({ build_id: head.build_id, first_index: head.total, ...chunk })
    .execute();
  return { ...head, total: head.total + chunk.entries, bytes: head.bytes + chunk.bytes };
}

async function addToTail(
  sql: SqlTransaction,
  head: Head,
  chunk: LogChunk,
  { tail }: LogLimits,
): Promise<Head> {
  const { build_id } = head;
  await sql
    .insertInto('log_tails')
    .values({ build_id, position: head.after_cut_entries, ...chunk })
    .execute();
  const after = {
    ...head,
    after_cut_entries: head.after_cut_entries + chunk.entries,
    after_cut_bytes: head.after_cut_bytes + chunk.bytes,
    tail_entries: head.tail_entries + chunk.entries,
    tail_bytes: head.tail_bytes + chunk.bytes,
  };
  while (after.tail_bytes > tail) {
    const oldest = await sql
      .selectFrom('log_tails')
      .select(['position', 'entries', 'bytes'])
      .where('build_id', '=', build_id)
      .orderBy('position')
      .limit(1)
      .executeTakeFirst();
    // The newest chunk stays, however large it is.
    if (oldest === undefined || oldest.entries === after.tail_entries) break;
    await sql
      .deleteFrom('log_tails')
      .where('build_id', '=', build_id)
      .where('position', '=', oldest.position)
      .execute();
    after.tail_entries -= oldest.entries;
    after.tail_bytes -= oldest.bytes;
  }
  return after;
}

async function placeTail(sql: SqlTransaction, cut: Head, now: number): Promise<Head> {
  const bytes = cut.after_cut_bytes - cut.tail_bytes;
  const lines = cut.after_cut_entries - cut.tail_entries;
  let head = cut;
  if (lines > 0) {
    const message = `${bytes} bytes in ${lines} lines were left out here: the log is over its size limit.`;
    head = await addToHead(sql, head, noteChunk(message, now, { leftOutBytes: bytes, leftOutLines: lines }));
  }
  await raw`
    insert into log_chunks (build_id, first_index, entries, bytes, data)
    select build_id, ${head.total} + position - ${lines}, entries, bytes, data
    from log_tails where build_id = ${head.build_id}
  `.execute(sql);
  await sql.deleteFrom('log_tails').where('build_id', '=', head.build_id).execute();
  return { ...head, total: head.total + head.tail_entries, bytes: head.bytes + head.tail_bytes };
}

function markerChunk({ head, tail }: LogLimits, now: number): LogChunk {
  return noteChunk(
    `The log is longer than ${head} bytes: of what follows, the newest ${tail} bytes are kept and shown when the build has ended.`,
    now,
    { limitReached: true },
  );
}

function noteChunk(message: string, now: number, data: Readonly<Record<string, unknown>>): LogChunk {
  const entry = { message, data: { datetime: new Date(now).toISOString(), ...data } };
  const [chunk] = encodeChunks([{ kind: 'entry', entry }]);
  if (chunk === undefined) throw new TypeError('an entry makes a chunk');
  return chunk;
}

/** Moves the begin of a character that the next piece of its line finishes. */
function joinCharacters(
  pieces: readonly LogPiece[],
  head: Head,
  attemptId: string | undefined,
): { pieces: readonly LogPiece[]; carry: Carry } {
  if (attemptId === undefined) return { pieces, carry: head };
  const joined: LogPiece[] = [];
  let held = head.carry;
  if (held !== null && head.carry_attempt !== attemptId) {
    joined.push({ kind: 'lines', run: { text: held, count: 1, time: head.carry_time ?? 0 } });
    held = null;
  }
  let time = head.carry_time ?? 0;
  for (const piece of pieces) {
    if (piece.kind === 'entry') {
      joined.push(piece);
      continue;
    }
    let { run } = piece;
    if (held !== null) run = { ...run, text: Buffer.concat([held, run.text]) };
    const unfinished = run.partial === true ? unfinishedBytes(run.text) : 0;
    held = unfinished === 0 ? null : run.text.slice(run.text.length - unfinished);
    time = run.time;
    if (unfinished > 0) run = { ...run, text: run.text.subarray(0, run.text.length - unfinished) };
    joined.push({ kind: 'lines', run });
  }
  return {
    pieces: joined,
    carry:
      held === null
        ? { carry: null, carry_attempt: null, carry_time: null }
        : { carry: held, carry_attempt: attemptId, carry_time: time },
  };
}

type Carry = Pick<Head, 'carry' | 'carry_attempt' | 'carry_time'>;

/** What came from a worker, as pieces. A run without text and lines is nothing. */
export function piecesOf(runs: readonly LogRun[]): readonly LogPiece[] {
  return runs
    .filter(({ text, count }) => text.length > 0 || count > 0)
    .map((run) => ({ kind: 'lines', run }));
}
