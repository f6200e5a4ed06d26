import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { LogError } from './log-error.ts';
import type { LogEntry, LogRun } from './log-store.ts';

/** What a chunk is made of: lines of a build, or one structured entry of the manager's. */
export type LogPiece =
  | { readonly kind: 'lines'; readonly run: LogRun }
  | { readonly kind: 'entry'; readonly entry: LogEntry };

export interface LogChunk {
  readonly entries: number;
  /** Bytes of text, not compressed. */
  readonly bytes: number;
  readonly data: Uint8Array;
}

/**
 * A stored chunk: header length (4 bytes, little endian), header (JSON: one item for each piece), and the pieces' bytes
 * one after the other; all of it in a zstd frame when it is long enough to become shorter. The two are told apart by the
 * frame's first four bytes, which would be the length of a header of 4 GB. Lines are kept as the build wrote them and become entries only when
 * they are read.
 */
type HeaderItem =
  | readonly ['l', bytes: number, lines: number, time: number, partial: 0 | 1, type: LogRun['type'] | '']
  | readonly ['e', bytes: number];

const newline = 0x0a;
const params = { [constants.ZSTD_c_compressionLevel]: 1 };

/** Most bytes of text in a chunk, but for a longer single line. Bounds what reading one page has in memory. */
const chunkBytes = 256 * 1024;

/** Below so many bytes compression costs more than it saves: a few lines, or the single ones of other workers. */
const leastCompressed = 1024;

const zstdMagic = 0xfd2fb528;

/** Bytes of output that (de)compression is given room for at once, at least. */
const leastOutput = 16 * 1024;

/** Cuts pieces, at lines, into chunks of a bounded size. */
export function encodeChunks(pieces: readonly LogPiece[]): readonly LogChunk[] {
  const chunks: LogChunk[] = [];
  let header: HeaderItem[] = [];
  let payload: Uint8Array[] = [];
  let bytes = 0;
  let entries = 0;
  const flush = () => {
    if (header.length === 0) return;
    // All of it is ASCII.
    const head = JSON.stringify(header);
    const plain = Buffer.allocUnsafe(4 + head.length + bytes);
    plain.writeUInt32LE(head.length);
    let at = 4 + plain.write(head, 4, 'latin1');
    for (const text of payload) {
      plain.set(text, at);
      at += text.length;
    }
    if (plain.length < leastCompressed) chunks.push({ entries, bytes, data: plain });
    else chunks.push({ entries, bytes, data: compressed(plain) });
    header = [];
    payload = [];
    bytes = 0;
    entries = 0;
  };
  const add = (item: HeaderItem, text: Uint8Array, lines: number) => {
    if (bytes > 0 && bytes + text.length > chunkBytes) flush();
    header.push(item);
    payload.push(text);
    bytes += text.length;
    entries += lines;
  };
  for (const piece of pieces) {
    if (piece.kind === 'entry') {
      const text = Buffer.from(JSON.stringify(piece.entry));
      add(['e', text.length], text, 1);
      continue;
    }
    const { run } = piece;
    const parts = cutAtLines(run.text);
    parts.forEach((text, index) => {
      const lines = countLines(text);
      const partial = run.partial === true && index === parts.length - 1 ? 1 : 0;
      add(['l', text.length, lines, run.time, partial, run.type ?? ''], text, lines);
    });
  }
  flush();
  return chunks;
}

function compressed(plain: Buffer): Buffer {
  // The output is made in pieces of 16 KiB otherwise, which costs as much as the compression.
  const chunkSize = Math.max(leastOutput, Math.ceil(plain.length / 2));
  return zstdCompressSync(plain, { params, chunkSize });
}

function plainOf(data: Uint8Array): Buffer {
  const buffer = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  if (buffer.readUInt32LE(0) !== zstdMagic) return buffer;
  return zstdDecompressSync(buffer, {
    chunkSize: Math.min(chunkBytes + leastOutput, Math.max(leastOutput, data.length * 16)),
  });
}

export function decodeChunk(data: Uint8Array): readonly LogPiece[] {
  try {
    const bytes = plainOf(data);
    const headerEnd = 4 + bytes.readUInt32LE(0);
    const header = JSON.parse(bytes.toString('utf8', 4, headerEnd)) as readonly HeaderItem[];
    let at = headerEnd;
    return header.map((item): LogPiece => {
      const text = bytes.subarray(at, at + item[1]);
      at += item[1];
      if (item[0] === 'e') return { kind: 'entry', entry: JSON.parse(text.toString()) as LogEntry };
      const [, , count, time, partial, type] = item;
      return {
        kind: 'lines',
        run: {
          text,
          count,
          time,
          ...(partial === 1 ? { partial: true } : {}),
          ...(type === '' || type === undefined ? {} : { type }),
        },
      };
    });
  } catch (thrown) {
    throw new LogError(
      'damaged',
      'A stored piece of the log cannot be decoded; the disk may be failing.',
      thrown,
    );
  }
}

/** Bytes that are no UTF-8 become U+FFFD; everything else, control characters included, stays as it is. */
export function entriesOf(pieces: readonly LogPiece[]): LogEntry[] {
  const entries: LogEntry[] = [];
  for (const piece of pieces) {
    if (piece.kind === 'entry') {
      entries.push(piece.entry);
      continue;
    }
    const { text, time, type, partial } = piece.run;
    const data = { datetime: new Date(time).toISOString() };
    const lines = Buffer.from(text.buffer, text.byteOffset, text.byteLength).toString('utf8').split('\n');
    const last = lines.length - 1;
    lines.forEach((message, index) => {
      const entryData = partial === true && index === last ? { ...data, partial: true } : data;
      entries.push(type === undefined ? { message, data: entryData } : { message, type, data: entryData });
    });
  }
  return entries;
}

const lineEnd = Buffer.from('\n');

/** The text of pieces: every entry ends with a newline, but for a piece of a longer line. */
export function textOf(pieces: readonly LogPiece[]): Buffer {
  return Buffer.concat(
    pieces.flatMap((piece) => {
      if (piece.kind === 'entry') {
        const text = Buffer.from(piece.entry.message);
        return piece.entry.data?.partial === true ? [text] : [text, lineEnd];
      }
      return piece.run.partial === true ? [piece.run.text] : [piece.run.text, lineEnd];
    }),
  );
}

function cutAtLines(text: Uint8Array): readonly Uint8Array[] {
  const parts: Uint8Array[] = [];
  let start = 0;
  while (text.length - start > chunkBytes) {
    let cut = text.lastIndexOf(newline, start + chunkBytes);
    if (cut < start) cut = text.indexOf(newline, start + chunkBytes);
    if (cut < 0) break;
    parts.push(text.subarray(start, cut));
    start = cut + 1;
  }
  parts.push(text.subarray(start));
  return parts;
}

export function countLines(text: Uint8Array): number {
  let lines = 1;
  for (let at = text.indexOf(newline); at >= 0; at = text.indexOf(newline, at + 1)) lines += 1;
  return lines;
}
