import { SourceError } from './source-error.ts';

export const blockSize = 512;

/** One 512-byte tar header. Texts are binary strings (a character per byte), times are seconds. */
export interface TarHeader {
  readonly name: string;
  readonly linkName: string;
  readonly type: string;
  readonly size: number;
  readonly mode: number;
  readonly mtime: number;
}

export function isZeroBlock(block: Uint8Array): boolean {
  return block.every((byte) => byte === 0);
}

/** Whether the block may be a tar header at all, by its checksum; both ways of summing count, as both were written. */
export function hasTarChecksum(block: Uint8Array): boolean {
  if (block.length < blockSize || isZeroBlock(block)) return false;
  const stored = parseOctal(block, 148, 8);
  if (stored === undefined) return false;
  let unsigned = 8 * 32;
  let signed = 8 * 32;
  for (let i = 0; i < blockSize; i++) {
    if (i >= 148 && i < 156) continue;
    const byte = block[i] ?? 0;
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  return stored === unsigned || stored === signed;
}

/** Throws SourceError `cannotextractbuildpack` when the block is no header. */
export function parseTarHeader(block: Buffer): TarHeader {
  if (!hasTarChecksum(block)) throw damaged('a header has a wrong checksum');
  const size = parseNumber(block, 124, 12);
  if (size === undefined || size < 0 || !Number.isSafeInteger(size))
    throw damaged('a member has an impossible size');
  const ustar = block.toString('latin1', 257, 263) === 'ustar\0';
  const prefix = ustar ? readText(block, 345, 155) : '';
  const name = readText(block, 0, 100);
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    linkName: readText(block, 157, 100),
    type: String.fromCharCode(block[156] ?? 0),
    size,
    mode: (parseNumber(block, 100, 8) ?? 0o644) & 0o7777,
    mtime: clampTime(parseNumber(block, 136, 12) ?? 0),
  };
}

/** The records of a PAX header: `length key=value\n`. Values are binary strings. */
export function parsePax(data: Buffer): Map<string, string> {
  const text = data.toString('latin1');
  const records = new Map<string, string>();
  for (let at = 0; at < text.length; ) {
    const space = text.indexOf(' ', at);
    const digits = space === -1 ? '' : text.slice(at, space);
    if (!/^[1-9]\d{0,8}$/.test(digits)) throw damaged('an extended header cannot be read');
    const end = at + Number(digits);
    const equals = text.indexOf('=', space);
    if (end > text.length || equals === -1 || equals >= end || text[end - 1] !== '\n') {
      throw damaged('an extended header cannot be read');
    }
    records.set(text.slice(space + 1, equals), text.slice(equals + 1, end - 1));
    at = end;
  }
  return records;
}

/** Seconds that every file system can store; archives may say anything. */
export function clampTime(seconds: number): number {
  return Number.isFinite(seconds) ? Math.min(Math.max(Math.floor(seconds), 0), 0xffff_ffff) : 0;
}

export function damaged(why: string): SourceError {
  return new SourceError(
    'cannotextractbuildpack',
    `The archive cannot be unpacked: ${why}. It is damaged or no tar archive; pack and send it again.`,
  );
}

function readText(block: Buffer, start: number, length: number): string {
  const end = block.indexOf(0, start);
  return block.toString('latin1', start, end === -1 || end > start + length ? start + length : end);
}

/** Octal text, or GNU's base-256 when the first bit is set. */
function parseNumber(block: Uint8Array, start: number, length: number): number | undefined {
  const first = block[start] ?? 0;
  if ((first & 0x80) === 0) return parseOctal(block, start, length);
  const negative = (first & 0x40) !== 0;
  let value = BigInt(negative ? first | ~0xff : first & 0x7f);
  for (let i = start + 1; i < start + length; i++) value = value * 256n + BigInt(block[i] ?? 0);
  return Number(value);
}

function parseOctal(block: Uint8Array, start: number, length: number): number | undefined {
  const text = Buffer.from(block.subarray(start, start + length)).toString('latin1');
  const digits = /^[ \0]*([0-7]*)[ \0]*/.exec(text)?.[1];
  if (digits === undefined || !/^[ \0]*[0-7]*(?:[ \0]|$)/.test(text)) return undefined;
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}
