import { isUtf8 } from 'node:buffer';
import { closeSync, createReadStream, fstatSync, openSync, readSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { crc32, createInflateRaw, inflateRawSync } from 'node:zlib';
import yauzl from 'yauzl';
import { messageOf } from '../../base/coded-error.ts';
import { cancelledError, fromFileSystem, SourceError } from './source-error.ts';
import type { SourceBudget } from './source-limits.ts';
import { type OpenFile, refuse, type SourceTree } from './source-tree.ts';
import { clampTime } from './tar-header.ts';

/** "Version made by" systems whose file attributes hold a Unix mode. */
const unixSystems = new Set([3, 19]);
/** Up to here a member is read and inflated in one call; most are far smaller. */
const inOneCall = 1 << 20;
/** Members made before the event loop gets its turn. */
const batch = 64;
const localHeaderSize = 30;

/**
 * Unpacks a zip file into a tree. yauzl reads the central directory, which alone says what is in the file; the
 * data is inflated here, with the announced size as its limit and its checksum verified. Throws SourceError; the
 * tree is then to be thrown away.
 */
export async function extractZip(
  path: string,
  tree: SourceTree,
  budget: SourceBudget,
  signal?: AbortSignal,
): Promise<void> {
  const descriptor = openSync(path, 'r');
  try {
    const size = fstatSync(descriptor).size;
    const data: ZipData = { path, blocks: new BlockReader(descriptor) };
    const zip = await yauzl.fromRandomAccessReaderPromise(new DirectoryReader(descriptor), size, {
      lazyEntries: true,
      decodeStrings: false,
      autoClose: false,
    });
    for (let count = 1; ; count++) {
      const entry = nextEntry(zip);
      if (entry === undefined) break;
      if (signal?.aborted) throw cancelledError(signal.reason);
      await extractEntry(data, entry, tree);
      budget.checkRatio(size, budget.bytes);
      if (count % batch === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  } catch (error) {
    throw error instanceof SourceError ? error : damagedZip(messageOf(error), error);
  } finally {
    closeSync(descriptor);
  }
  tree.finish();
}

/** Reads in large pieces, as small neighbouring parts are asked for one after the other. */
class BlockReader {
  readonly #descriptor: number;
  readonly #cache = Buffer.alloc(1 << 18);
  #start = 0;
  #length = 0;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  /** Fills the target, or throws when the file ends before. */
  read(target: Buffer, position: number): void {
    if (target.length > this.#cache.length) {
      readFully(this.#descriptor, target, position);
      return;
    }
    if (position < this.#start || position + target.length > this.#start + this.#length) {
      this.#start = position;
      this.#length = readSync(this.#descriptor, this.#cache, 0, this.#cache.length, position);
    }
    const from = position - this.#start;
    if (from + target.length > this.#length) throw new Error('it ends in the middle');
    this.#cache.copy(target, 0, from, from + target.length);
  }
}

/** Lets yauzl read the central directory without a turn of the event loop per member. */
class DirectoryReader extends yauzl.RandomAccessReader {
  readonly #blocks: BlockReader;

  constructor(descriptor: number) {
    super();
    this.#blocks = new BlockReader(descriptor);
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null) => void,
  ): void {
    try {
      this.#blocks.read(buffer.subarray(offset, offset + length), position);
    } catch (error) {
      callback(error instanceof Error ? error : new Error(messageOf(error)));
      return;
    }
    callback(null);
  }

  override close(callback: (error: Error | null) => void): void {
    callback(null);
  }
}

/** An open zip file, as the extraction of its members needs it. */
interface ZipData {
  readonly path: string;
  readonly blocks: BlockReader;
}

/** As the reader answers at once, so does yauzl: by the time readEntry returns, the event has been. */
function nextEntry(zip: yauzl.ZipFile): yauzl.Entry | undefined {
  if (zip.entriesRead >= zip.entryCount) return undefined;
  let found: yauzl.Entry | undefined;
  let failure: unknown;
  const onEntry = (entry: yauzl.Entry) => {
    found = entry;
  };
  const onError = (error: unknown) => {
    failure = error;
  };
  zip.once('entry', onEntry);
  zip.once('error', onError);
  zip.readEntry();
  zip.off('entry', onEntry);
  zip.off('error', onError);
  if (found === undefined) throw failure ?? new Error('its directory cannot be read');
  return found;
}

async function extractEntry(zip: ZipData, entry: yauzl.Entry, tree: SourceTree): Promise<void> {
  const name = nameOf(entry);
  const unixMode = unixSystems.has(entry.versionMadeBy >> 8) ? entry.externalFileAttributes >>> 16 : 0;
  const permissions = unixMode & 0o7777;
  const mtime = clampTime(entry.getLastModDate({ timezone: 'UTC' }).getTime() / 1000);
  const type = unixMode & 0o170000;
  if (name.endsWith('/') || type === 0o040000) {
    tree.folder(name, permissions === 0 ? 0o755 : permissions, mtime);
    return;
  }
  if (entry.isEncrypted()) throw refuse(name, 'is encrypted. Pack without a password');
  if (entry.compressionMethod !== 0 && entry.compressionMethod !== 8) {
    throw refuse(
      name,
      `is packed by the method ${entry.compressionMethod}, which is not known here. Pack with "deflate"`,
    );
  }
  switch (type) {
    case 0o120000:
      if (entry.uncompressedSize > 4095)
        throw refuse(name, 'is a symbolic link with a target that is too long');
      tree.symlink(name, readSmall(zip, entry, name).toString('latin1'), mtime);
      return;
    case 0:
    case 0o100000:
      break;
    default:
      throw refuse(name, 'is a device node, pipe or socket, which a source may not have');
  }
  const file = tree.file(name, permissions === 0 ? 0o644 : permissions, mtime);
  try {
    if (Math.max(entry.compressedSize, entry.uncompressedSize) <= inOneCall)
      file.write(readSmall(zip, entry, name));
    else await writeLarge(zip, entry, name, file);
  } catch (error) {
    file.drop();
    throw error;
  }
  file.finish();
}

/**
 * The name as a binary string. Bytes that are UTF-8 are kept, whatever the flag says, because most packers on
 * Unix never set it; others are read as the format's old code page. Backslashes of DOS packers are separators.
 */
function nameOf(entry: yauzl.Entry): string {
  const raw = entry.fileNameRaw;
  const unicodePath = entry.extraFields.some((field) => field.id === 0x7075);
  const text =
    isUtf8(raw) && !unicodePath
      ? raw.toString('latin1')
      : Buffer.from(
          yauzl.getFileNameLowLevel(entry.generalPurposeBitFlag, raw, entry.extraFields, true),
        ).toString('latin1');
  return entry.versionMadeBy >> 8 === 0 && !text.includes('/') ? text.replaceAll('\\', '/') : text;
}

function dataStart(zip: ZipData, entry: yauzl.Entry): number {
  const header = Buffer.alloc(localHeaderSize);
  zip.blocks.read(header, entry.relativeOffsetOfLocalHeader);
  if (header.readUInt32LE(0) !== 0x04034b50) throw new Error('a member is not where the directory says');
  return (
    entry.relativeOffsetOfLocalHeader + localHeaderSize + header.readUInt16LE(26) + header.readUInt16LE(28)
  );
}

function readSmall(zip: ZipData, entry: yauzl.Entry, name: string): Buffer {
  if (entry.compressedSize > inOneCall) throw refuse(name, 'is larger than its directory says');
  const packed = Buffer.alloc(entry.compressedSize);
  zip.blocks.read(packed, dataStart(zip, entry));
  const data =
    entry.compressionMethod === 0 ? packed : inflateRawSync(packed, inflateOptions(entry.uncompressedSize));
  verify(name, entry, data.length, crc32(data));
  return data;
}

async function writeLarge(zip: ZipData, entry: yauzl.Entry, name: string, file: OpenFile): Promise<void> {
  const start = dataStart(zip, entry);
  const end = start + entry.compressedSize - 1;
  // Its own descriptor: a stream that is destroyed closes whatever it has.
  const packed = createReadStream(zip.path, { start, end, highWaterMark: 1 << 18 });
  let size = 0;
  let sum = 0;
  const write = async (chunks: AsyncIterable<Buffer>) => {
    for await (const chunk of chunks) {
      size += chunk.length;
      if (size > entry.uncompressedSize) throw refuse(name, 'is larger than its directory says');
      sum = crc32(chunk, sum);
      file.write(chunk);
    }
  };
  if (entry.compressionMethod === 0) await pipeline(packed, write);
  else await pipeline(packed, createInflateRaw({ chunkSize: 1 << 18 }), write);
  verify(name, entry, size, sum);
}

function verify(name: string, entry: yauzl.Entry, size: number, sum: number): void {
  if (size !== entry.uncompressedSize) throw refuse(name, 'is not as large as its directory says');
  if (sum !== entry.crc32) throw refuse(name, 'has a wrong checksum');
}

/** One output buffer of the announced size: a byte more is an error, and small members cost no large buffer. */
function inflateOptions(size: number) {
  return { maxOutputLength: Math.max(size, 1), chunkSize: Math.max(size + 1, 64) };
}

function readFully(descriptor: number, target: Buffer, position: number): void {
  for (let at = 0; at < target.length; ) {
    const count = readSync(descriptor, target, at, target.length - at, position + at);
    if (count === 0) throw new Error('it ends in the middle');
    at += count;
  }
}

function damagedZip(why: string, cause: unknown): SourceError {
  const full = fromFileSystem(cause, 'unpack the archive');
  if (full.code === 'diskfull') return full;
  return new SourceError(
    'cannotextractbuildpack',
    `The zip archive cannot be unpacked: ${why}. It is damaged; pack and send it again.`,
    cause,
  );
}
