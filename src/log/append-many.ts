import { sql as raw } from 'kysely';
import type { Sql } from '../db/database.ts';
import { raisedDetail } from '../db/sql-error.ts';
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

/** The entries in the log with this; `refused`: the writer is not admitted. */
export type Appended = { readonly total: number } | 'refused';

/** Raised by the function when logs are not plain: the numbers of their appends. */
const notPlain = 'SW001';

/**
 * Many appends as one call of a function in PostgreSQL (src/db/migrations/0006-append-function.ts), which is a
 * transaction of its own. It does what is usual: a log that is open, within its limit, and without a character cut in two.
 * When some are not, nothing has happened, and they are told by their places in `unusual`.
 */
export async function appendMany(
  sql: Sql,
  appends: readonly Append[],
  { limit, now }: { readonly limit: number; readonly now: number },
): Promise<{ readonly appended: readonly Appended[] } | { readonly unusual: ReadonlySet<number> }> {
  let at = 1;
  const payload: Uint8Array[] = [];
  const cut: object[] = [];
  const items = appends.map(({ buildId, attempt, chunks, close }, n) => {
    const places = chunks.map(({ data }) => {
      const place = { at, length: data.length };
      at += data.length;
      payload.push(data);
      return place;
    });
    let entries = 0;
    let bytes = 0;
    for (const [index, chunk] of chunks.entries()) {
      if (chunks.length > 1) {
        cut.push({ n, before: entries, entries: chunk.entries, bytes: chunk.bytes, ...places[index] });
      }
      entries += chunk.entries;
      bytes += chunk.bytes;
    }
    return {
      n,
      build_id: buildId,
      entries,
      bytes,
      attempt_id: attempt?.attemptId,
      epoch: attempt?.epoch,
      sequence: attempt?.sequence,
      stage: attempt?.stage,
      closed_at: close ? now : undefined,
      // Mostly there is one chunk; those of others are in `cut`.
      ...(chunks.length === 1 ? places[0] : {}),
    };
  });
  const idsOf = (what: 'sequence' | 'stage') =>
    appends.flatMap(({ attempt }) => (attempt?.[what] === undefined ? [] : [attempt.attemptId]));
  try {
    const { rows } = await raw<{ appended: readonly (readonly [number, number])[] }>`
      select slipway_append(${JSON.stringify(items)}::json, ${idsOf('sequence')}::text[], ${idsOf('stage')}::text[],
        ${JSON.stringify(cut)}::json, ${Buffer.concat(payload)}::bytea, ${limit}::bigint) as appended
    `.execute(sql);
    const totals = new Map(rows[0]?.appended);
    return {
      appended: appends.map((_append, n): Appended => {
        const total = totals.get(n);
        return total === undefined ? 'refused' : { total };
      }),
    };
  } catch (thrown) {
    const unusual = raisedDetail(thrown, notPlain);
    if (unusual === undefined) throw thrown;
    return { unusual: new Set(JSON.parse(unusual) as number[]) };
  }
}
