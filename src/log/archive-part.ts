import { promisify } from 'node:util';
import { crc32, deflateRawSync, gunzipSync, gzip, gzipSync, inflateRawSync } from 'node:zlib';
import { type LogPiece, textOf } from './log-chunk.ts';
import { LogError } from './log-error.ts';
import type { LogEntry, LogRun } from './log-store.ts';

/**
 * A part of an archived log: gzip members (RFC 1952) whose content is the text of some entries, exactly as a download
 * has it. So the parts of a log, one after the other, are a file that any gunzip makes the log of.
 *
 * What text alone does not say (times, types, data) stands in the members' extra field: a CRC-32 (4 bytes, little
 * endian) and the deflated JSON of one item for each piece. An extra field holds less than 64 KiB, so a longer
 * description is spread over members without content in front of the one with the text; those are marked as unfinished.
 */
type Item =
  | readonly ['l', bytes: number, lines: number, time: number, partial: 0 | 1, type: LogRun['type'] | '']
  /** An entry whose message is the text where there is null, so that the order of its fields is kept. */
  | readonly ['e', bytes: number, entry: Omit<LogEntry, 'message'> & { readonly message: string | null }];

const lastSlice = Buffer.from('SL');
const unfinished = Buffer.from('SM');
const sliceSize = 60_000;
const hasExtra = 4;
const fixedHeader = 10;
/** What follows the header of a member without content: an empty deflate block, its CRC and its length. */
const noContent = Buffer.from([0x03, 0x00, 0, 0, 0, 0, 0, 0, 0, 0]);

const gzipAside = promisify(gzip);
/** Less than this is compressed sooner than another thread is told about it. */
const worthAThread = 32 * 1024;

export async function encodePart(pieces: readonly LogPiece[]): Promise<Buffer> {
  const items = pieces.map((piece): Item => {
    if (piece.kind === 'lines') {
      const { text, count, time, partial, type } = piece.run;
      return ['l', text.length, count, time, partial === true ? 1 : 0, type ?? ''];
    }
    const { message } = piece.entry;
    const entry = message.isWellFormed() ? { ...piece.entry, message: null } : piece.entry;
    return ['e', Buffer.byteLength(message), entry];
  });
  const json = deflateRawSync(JSON.stringify(items));
  const description = Buffer.alloc(4 + json.length);
  description.writeUInt32LE(crc32(json));
  json.copy(description, 4);

  const members: Buffer[] = [];
  let at = 0;
  for (; description.length - at > sliceSize; at += sliceSize) {
    members.push(memberHead(unfinished, description.subarray(at, at + sliceSize)), noContent);
  }
  const text = textOf(pieces);
  const member = text.length < worthAThread ? gzipSync(text) : await gzipAside(text);
  members.push(memberHead(lastSlice, description.subarray(at)), member.subarray(fixedHeader));
  return Buffer.concat(members);
}

/** Throws LogError `damaged`. */
export function decodePart(part: Buffer): readonly LogPiece[] {
  try {
    const slices: Buffer[] = [];
    let at = 0;
    for (let more = true; more; ) {
      const extra = part.readUInt16LE(at + fixedHeader);
      const field = at + fixedHeader + 2;
      const mark = part.subarray(field, field + 2);
      if (part.readUInt16LE(field + 2) !== extra - 4) throw new RangeError('a member has another field');
      slices.push(part.subarray(field + 4, field + extra));
      more = mark.equals(unfinished);
      if (!more && !mark.equals(lastSlice)) throw new RangeError('a member has no description');
      if (more) at = field + extra + noContent.length;
    }
    const description = Buffer.concat(slices);
    const json = description.subarray(4);
    if (crc32(json) !== description.readUInt32LE(0)) throw new RangeError('the description was changed');
    const items = JSON.parse(inflateRawSync(json).toString()) as readonly Item[];
    return piecesOf(items, gunzipSync(part.subarray(at), { maxOutputLength: textLength(items) + 1 }));
  } catch (thrown) {
    throw new LogError(
      'damaged',
      'A part of an archived log cannot be decoded: its blob was changed. Restore it from a backup of the blob store.',
      thrown,
    );
  }
}

function piecesOf(items: readonly Item[], text: Buffer): readonly LogPiece[] {
  if (text.length !== textLength(items)) throw new RangeError('the text is shorter than its description');
  let at = 0;
  return items.map((item): LogPiece => {
    const bytes = text.subarray(at, at + item[1]);
    at += item[1] + (isPartial(item) ? 0 : 1);
    if (item[0] === 'e')
      return { kind: 'entry', entry: { ...item[2], message: item[2].message ?? bytes.toString() } };
    const [, , count, time, partial, type] = item;
    return {
      kind: 'lines',
      run: {
        text: bytes,
        count,
        time,
        ...(partial === 1 ? { partial: true } : {}),
        ...(type === '' || type === undefined ? {} : { type }),
      },
    };
  });
}

function textLength(items: readonly Item[]): number {
  return items.reduce((sum, item) => sum + item[1] + (isPartial(item) ? 0 : 1), 0);
}

/** A piece of a longer line has no newline after it. */
function isPartial(item: Item): boolean {
  return item[0] === 'e' ? item[2].data?.partial === true : item[4] === 1;
}

function memberHead(mark: Buffer, slice: Buffer): Buffer {
  const head = Buffer.alloc(fixedHeader + 6);
  // No time and no name: the same log gives the same bytes.
  head.set([0x1f, 0x8b, 8, hasExtra, 0, 0, 0, 0, 0, 0xff]);
  head.writeUInt16LE(4 + slice.length, fixedHeader);
  mark.copy(head, fixedHeader + 2);
  head.writeUInt16LE(slice.length, fixedHeader + 4);
  return Buffer.concat([head, slice]);
}
