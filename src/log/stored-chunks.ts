import { buffer } from 'node:stream/consumers';
import type { BlobStore } from '../blob/blob-store.ts';
import type { Database } from '../db/database.ts';
import type { BuildId } from '../model/ids.ts';
import { decodePart } from './archive-part.ts';
import { decodeChunk, type LogPiece } from './log-chunk.ts';
import { LogError } from './log-error.ts';
import { dropEntries } from './log-json.ts';

export interface StoredChunk {
  /** Position of its first entry. */
  readonly first: number;
  readonly entries: number;
  readonly pieces: readonly LogPiece[];
}

/** Entries and bytes of a part of an archive. */
export type ArchivePart = readonly [entries: number, bytes: number];

/** Chunks read from the database at once. Each has up to 256 KiB of text, but for a longer single line. */
const chunksAtOnce = 4;
/** Of small ones more: about as much text as the four may have. */
const mostChunksAtOnce = 512;
const textAtOnce = 1024 * 1024;
/** Bytes of an archive read at once, but for a larger single part. */
const archiveBytesAtOnce = 512 * 1024;

/**
 * Where logs are read, from the database while they are there, else from their archive. A reader may come from one to
 * the other between any two chunks: rows go, from the begin of the log on, only once the archive holds everything.
 */
export class StoredChunks {
  readonly #database: Database;
  readonly #blobs: BlobStore | undefined;

  /** `blobs`: where archived logs are. */
  constructor(database: Database, blobs: BlobStore | undefined) {
    this.#database = database;
    this.#blobs = blobs;
  }

  /** The chunks that hold the entries from `start` to before `end`. Throws LogError, BlobError. */
  async *read(buildId: BuildId, start: number, end: number): AsyncIterable<StoredChunk> {
    let next = start;
    let atOnce = chunksAtOnce;
    while (next < end) {
      const rows = await this.#rows(buildId, next, end, atOnce);
      const [first] = rows;
      if (first === undefined || first.first_index > next) {
        yield* this.#archived(buildId, next, end);
        return;
      }
      const text = rows.reduce((sum, { bytes }) => sum + bytes, 0);
      atOnce = Math.max(
        chunksAtOnce,
        Math.min(mostChunksAtOnce, 4 * atOnce, Math.floor((atOnce * textAtOnce) / Math.max(1, text))),
      );
      for (const row of rows) {
        yield { first: row.first_index, entries: row.entries, pieces: decodeChunk(row.data) };
        next = row.first_index + row.entries;
      }
    }
  }

  async #rows(buildId: BuildId, next: number, end: number, atOnce: number) {
    return await this.#database.sql
      .selectFrom('log_chunks')
      .select(['first_index', 'entries', 'bytes', 'data'])
      .where('build_id', '=', buildId)
      .where('first_index', '>=', (at) =>
        at
          .selectFrom('log_chunks')
          .select((select) => select.fn.coalesce(select.fn.max('first_index'), select.lit(0)).as('first'))
          .where('build_id', '=', buildId)
          .where('first_index', '<=', next),
      )
      .where('first_index', '<', end)
      .orderBy('first_index')
      .limit(atOnce)
      .execute();
  }

  async *#archived(buildId: BuildId, start: number, end: number): AsyncIterable<StoredChunk> {
    const archive = await this.#database.sql
      .selectFrom('log_archives')
      .select(['blob_key', 'size', 'parts_json'])
      .where('build_id', '=', buildId)
      .executeTakeFirst();
    // Neither here nor there: it was removed.
    if (archive === undefined) return;
    const wanted = partsBetween(JSON.parse(archive.parts_json) as readonly ArchivePart[], start, end);
    for (const group of groupsOf(wanted)) {
      const [head] = group;
      const tail = group.at(-1);
      if (head === undefined || tail === undefined) return;
      const bytes = await this.#bytes(buildId, archive, head.offset, tail.offset + tail.bytes);
      for (const { first, entries, offset, bytes: length } of group) {
        const at = offset - head.offset;
        const pieces = decodePart(bytes.subarray(at, at + length));
        // Parts are cut elsewhere than chunks are: who comes from the rows has seen some of the first part.
        const seen = Math.max(0, start - first);
        yield { first: first + seen, entries: entries - seen, pieces: dropEntries(pieces, seen) };
      }
    }
  }

  async #bytes(
    buildId: BuildId,
    { blob_key, size }: { readonly blob_key: string; readonly size: number },
    start: number,
    end: number,
  ): Promise<Buffer> {
    const found = await this.#blobs?.get(blob_key, { start, end });
    if (found === undefined) {
      throw new LogError(
        'lost',
        `The archived log of build ${buildId} is not in the blob store (key ${blob_key}). Restore it from a backup, and check that Slipway uses the store it used before.`,
      );
    }
    const bytes = await buffer(found.stream);
    if (found.size === size && bytes.length === end - start) return bytes;
    throw new LogError(
      'damaged',
      `The archived log of build ${buildId} has ${found.size} bytes instead of ${size} (key ${blob_key}): its blob was changed. Restore it from a backup of the blob store.`,
    );
  }
}

interface PlacedPart {
  readonly first: number;
  readonly entries: number;
  readonly offset: number;
  readonly bytes: number;
}

function partsBetween(parts: readonly ArchivePart[], start: number, end: number): readonly PlacedPart[] {
  const wanted: PlacedPart[] = [];
  let first = 0;
  let offset = 0;
  for (const [entries, bytes] of parts) {
    if (first >= end) break;
    if (first + entries > start) wanted.push({ first, entries, offset, bytes });
    first += entries;
    offset += bytes;
  }
  return wanted;
}

function groupsOf(parts: readonly PlacedPart[]): readonly (readonly PlacedPart[])[] {
  const groups: PlacedPart[][] = [];
  let bytes = 0;
  for (const part of parts) {
    const group = groups.at(-1);
    if (group === undefined || bytes + part.bytes > archiveBytesAtOnce) {
      groups.push([part]);
      bytes = part.bytes;
    } else {
      group.push(part);
      bytes += part.bytes;
    }
  }
  return groups;
}
