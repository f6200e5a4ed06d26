import { sql as raw } from 'kysely';
import type { SqlTransaction } from '../db/database.ts';
import { rowSet } from '../db/row-set.ts';
import type { AttemptId, BuildId } from '../model/ids.ts';
import type { LogChunk } from './log-chunk.ts';

/** One append of a group. No two of a group are for the same build. */
export interface Append {
  readonly buildId: BuildId;
  /** Absent: the manager writes. With `sequence` a worker does, with `stage` a manager about a stage. */
  readonly attempt?: {
    readonly attemptId: AttemptId;
    readonly epoch: number;
    readonly sequence?: number;
    readonly stage?: number;
  };
  readonly chunks: readonly LogChunk[];
  /** The log is closed with it. */
  readonly close: boolean;
}

/** The entries in the log with this; `refused`: the writer is not admitted; `unusual`: the log's head is not plain. */
export type Appended = { readonly total: number } | 'refused' | 'unusual';

/**
 * Many appends as one statement, for PostgreSQL. It does what is usual: a log that is open, within its limit, and
 * without a character cut in two. When one comes out `unusual` the caller takes everything back, for its sequence
 * number has been counted.
 *
 * Attempts are locked in the order of their ids, logs in the order of theirs, so that no two groups wait for each
 * other.
 */
export async function appendMany(
  sql: SqlTransaction,
  appends: readonly Append[],
  { limit, now }: { readonly limit: number; readonly now: number },
): Promise<readonly Appended[]> {
  const items = appends.map(({ buildId, attempt, close }, n) => ({
    n,
    build_id: buildId,
    attempt_id: attempt?.attemptId ?? null,
    epoch: attempt?.epoch ?? null,
    sequence: attempt?.sequence ?? null,
    stage: attempt?.stage ?? null,
    closed_at: close ? now : null,
  }));
  let at = 1;
  const payload: Uint8Array[] = [];
  const pieces = appends.flatMap(({ chunks }, n) => {
    let before = 0;
    return chunks.map(({ entries, bytes, data }) => {
      const piece = { n, before, entries, bytes, at, length: data.length };
      before += entries;
      at += data.length;
      payload.push(data);
      return piece;
    });
  });
  const itemColumns = {
    n: 'int',
    build_id: 'text',
    attempt_id: 'text',
    epoch: 'int',
    sequence: 'int',
    stage: 'int',
    closed_at: 'int',
  } as const;
  const pieceColumns = {
    n: 'int',
    before: 'int',
    entries: 'int',
    bytes: 'int',
    at: 'int',
    length: 'int',
  } as const;
  const { rows } = await raw<{ n: number; total: number | null }>`
    with item as materialized (select * from ${rowSet('postgres', 'given', itemColumns, items)}),
    piece as materialized (select * from ${rowSet('postgres', 'cut', pieceColumns, pieces)}),
    admitted as (
      update attempts set log_sequence = coalesce(let_in.sequence, log_sequence),
        log_stage = coalesce(let_in.stage, log_stage)
      from (
        select held.id, item.sequence, item.stage, item.n
        from attempts as held join item on held.id = item.attempt_id
        where held.build_id = item.build_id and held.epoch = item.epoch
          and (held.log_stage < item.stage
            or held.lease_until is not null and held.log_sequence = item.sequence - 1)
        order by held.id for update of held
      ) as let_in
      where attempts.id = let_in.id returning let_in.n as n
    ),
    good as materialized (
      select item.n, item.build_id, item.closed_at,
        coalesce((select sum(entries) from piece where piece.n = item.n), 0)::bigint as entries,
        coalesce((select sum(bytes) from piece where piece.n = item.n), 0)::bigint as bytes
      from item where item.attempt_id is null or item.n in (select n from admitted)
    ),
    head as (
      insert into log_heads as known (build_id, total, bytes, closed_at)
      select build_id, entries, bytes, closed_at from good order by build_id
      on conflict (build_id) do update set total = known.total + excluded.total,
        bytes = known.bytes + excluded.bytes, closed_at = excluded.closed_at
      where known.closed_at is null and known.cut_at is null and known.carry is null
        and known.bytes + excluded.bytes <= ${limit}
      returning build_id, total
    ),
    stored as (
      insert into log_chunks (build_id, first_index, entries, bytes, data)
      select good.build_id, head.total - good.entries + piece.before, piece.entries, piece.bytes,
        substring(${Buffer.concat(payload)}::bytea from piece.at::int for piece.length::int)
      from good join head on head.build_id = good.build_id join piece on piece.n = good.n
    )
    select good.n, head.total from good left join head on head.build_id = good.build_id
  `.execute(sql);
  const found = new Map(rows.map(({ n, total }) => [n, total]));
  return appends.map((_append, n): Appended => {
    const total = found.get(n);
    if (total === undefined) return 'refused';
    return total === null ? 'unusual' : { total };
  });
}
