import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { BlobStore, StoredBlob } from '../blob/blob-store.ts';
import type { BuildId } from '../model/ids.ts';
import { encodePart } from './archive-part.ts';
import type { LogPiece } from './log-chunk.ts';
import { LogError } from './log-error.ts';
import type { ArchivePart, StoredChunks } from './stored-chunks.ts';

export interface StoredArchive extends StoredBlob {
  readonly parts: readonly ArchivePart[];
}

/** Bytes of text and number of pieces in a part. What one page costs to read is bounded by them. */
const partBytes = 256 * 1024;
const partPieces = 4_096;

/**
 * Writes a closed log of `total` entries to the blob store and reads it back: only what was found there with the right
 * size and checksum counts. Throws LogError, BlobError; then the blob may be there or not.
 */
export async function archiveLog(
  { chunks, blobs }: { readonly chunks: StoredChunks; readonly blobs: BlobStore },
  { buildId, key, total }: { readonly buildId: BuildId; readonly key: string; readonly total: number },
  signal: AbortSignal,
): Promise<StoredArchive> {
  const parts: ArchivePart[] = [];
  const members = async function* () {
    let entries = 0;
    for await (const pieces of joined(chunks, buildId, total)) {
      signal.throwIfAborted();
      const part = await encodePart(pieces);
      const count = pieces.reduce((sum, piece) => sum + (piece.kind === 'entry' ? 1 : piece.run.count), 0);
      parts.push([count, part.length]);
      entries += count;
      yield part;
    }
    if (entries !== total) {
      throw new LogError(
        'damaged',
        `The log of build ${buildId} has ${entries} entries in the database instead of ${total}. It stays there.`,
      );
    }
  };
  const source = Readable.from(members(), { objectMode: false });
  let fault: unknown;
  source.once('error', (thrown: unknown) => {
    fault = thrown;
  });
  const stored = await blobs.put(key, source, { limit: Number.MAX_SAFE_INTEGER, signal }).catch((thrown) => {
    // The store says that its source broke; what broke it says more.
    throw fault instanceof LogError ? fault : thrown;
  });
  await verify(blobs, key, stored, signal);
  return { ...stored, parts };
}

/** The pieces of a log in parts of a good size: chunks may hold a single line each. A log without any has one part. */
async function* joined(
  chunks: StoredChunks,
  buildId: BuildId,
  total: number,
): AsyncGenerator<readonly LogPiece[]> {
  let held: LogPiece[] = [];
  let bytes = 0;
  for await (const { pieces } of chunks.read(buildId, 0, total)) {
    for (const piece of pieces) {
      const size = piece.kind === 'entry' ? piece.entry.message.length : piece.run.text.length;
      if (held.length > 0 && (bytes + size > partBytes || held.length >= partPieces)) {
        yield held;
        held = [];
        bytes = 0;
      }
      held.push(piece);
      bytes += size;
    }
  }
  if (held.length > 0 || total === 0) yield held;
}

async function verify(
  blobs: BlobStore,
  key: string,
  expected: StoredBlob,
  signal: AbortSignal,
): Promise<void> {
  const found = await blobs.get(key);
  const hash = createHash('sha256');
  for await (const bytes of found?.stream ?? []) {
    signal.throwIfAborted();
    hash.update(bytes as Uint8Array);
  }
  if (found?.size === expected.size && hash.digest('hex') === expected.sha256) return;
  throw new LogError(
    'damaged',
    `What was written to the blob store as ${key} is not what is read from it. The log stays in the database and is archived again; check the store.`,
  );
}
