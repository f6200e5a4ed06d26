import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { chmod, copyFile, mkdir, open, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { type ArchiveType, archiveTypeOf, sniffLength } from './archive-type.ts';
import { extractTar } from './extract-tar.ts';
import { extractZip } from './extract-zip.ts';
import { cancelledError, fromFileSystem, SourceError, systemCode } from './source-error.ts';
import { defaultSourceLimits, SourceBudget, type SourceLimits } from './source-limits.ts';
import { SourceTree } from './source-tree.ts';

export interface ExtractOptions {
  /** The package, on disk. */
  readonly file: string;
  readonly contentType?: string | undefined;
  /** The folder that becomes the source's root. Made here; must not exist. Its parent is closed to others. */
  readonly root: string;
  readonly limits?: Partial<SourceLimits>;
  readonly signal?: AbortSignal;
}

export interface ExtractedSource {
  readonly type: ArchiveType;
  /** Files, folders and links. */
  readonly entries: number;
  readonly bytes: number;
}

/** The largest text that is taken for a Dockerfile. */
const largestDockerfile = 64 * 1024 ** 2;

/**
 * Unpacks a package of any known type into a new folder. Throws SourceError; the folder is then left as it is,
 * for the owner of the workspace to remove.
 */
export async function extractPackage(options: ExtractOptions): Promise<ExtractedSource> {
  const { file, root, signal } = options;
  const { size } = await stat(file);
  const type = archiveTypeOf(await readHead(file), options.contentType);
  if (type === undefined) {
    throw new SourceError(
      'cannotextractbuildpack',
      `The source is no archive: ${size === 0 ? 'it is empty' : `its content type is ${quoted(options.contentType)} and its first bytes are of no known kind`}. ` +
        'Send a Dockerfile as text/plain, or a tar, tar.gz or zip.',
    );
  }
  const budget = new SourceBudget({ ...defaultSourceLimits, ...options.limits });
  try {
    await mkdir(root, { mode: 0o755 });
  } catch (error) {
    throw fromFileSystem(error, 'make the folder of the source');
  }
  if (type === 'dockerfile') await placeDockerfile(file, size, root, budget);
  else if (type === 'zip') await extractZip(file, new SourceTree(root, budget), budget, signal);
  else await extractCompressedTar(file, type, new SourceTree(root, budget), budget, signal);
  return { type, entries: budget.entries, bytes: budget.bytes };
}

async function placeDockerfile(
  file: string,
  size: number,
  root: string,
  budget: SourceBudget,
): Promise<void> {
  if (size > largestDockerfile) {
    throw new SourceError(
      'cannotextractbuildpack',
      'The source is no archive, and too large for a Dockerfile. Send a tar, tar.gz or zip.',
    );
  }
  budget.addEntry();
  budget.addBytes(size);
  try {
    const dockerfile = join(root, 'Dockerfile');
    await copyFile(file, dockerfile);
    // The same upload gives the same tree, whenever and however it was stored.
    await chmod(dockerfile, 0o644);
    await utimes(dockerfile, 0, 0);
  } catch (error) {
    throw fromFileSystem(error, 'write the Dockerfile');
  }
}

async function extractCompressedTar(
  file: string,
  type: Exclude<ArchiveType, 'zip' | 'dockerfile'>,
  tree: SourceTree,
  budget: SourceBudget,
  signal: AbortSignal | undefined,
): Promise<void> {
  let packed = 0;
  let unpacked = 0;
  const packedCount = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      packed += chunk.length;
      done(null, chunk);
    },
  });
  const source = createReadStream(file, { highWaterMark: 1 << 18 });
  const plain = async function* (chunks: AsyncIterable<Buffer>) {
    for await (const chunk of chunks) {
      unpacked += chunk.length;
      if (type !== 'tar') budget.checkRatio(packed, unpacked);
      yield chunk;
    }
  };
  const extract = (chunks: AsyncIterable<Buffer>) => extractTar(chunks, tree, signal);
  try {
    const options = signal === undefined ? {} : { signal };
    if (type === 'tar') await pipeline(source, packedCount, plain, extract, options);
    else await pipeline(source, packedCount, decompressor(type), plain, extract, options);
  } catch (error) {
    if (signal?.aborted) throw cancelledError(error);
    throw compressionError(error, type);
  }
}

function decompressor(type: 'tar.gz' | 'tar.bz2' | 'tar.xz' | 'tar.zst') {
  switch (type) {
    case 'tar.gz':
      return createGunzip({ chunkSize: 1 << 18 });
    case 'tar.zst':
      return createZstdDecompress({ chunkSize: 1 << 18 });
    case 'tar.bz2':
      return through('bzip2', ['-dc']);
    case 'tar.xz':
      return through('xz', ['-dc', '--memlimit-decompress=256MiB']);
  }
}

/** Pipes through a program of the machine; it is ended when the stream is. */
function through(program: string, args: readonly string[]) {
  return async function* (chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    const child = spawn(program, args, {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
    });
    const exited = new Promise<number | null>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', resolve);
    });
    exited.catch(() => {});
    const fed = pipeline(chunks, child.stdin).catch(() => {});
    try {
      for await (const chunk of child.stdout) yield chunk as Buffer;
      const status = await exited;
      if (status !== 0) throw new Error(`${program} ended with status ${status}`);
    } catch (error) {
      if (systemCode(error) === 'ENOENT') {
        throw new SourceError(
          'cannotextractbuildpack',
          `The worker has no ${program} to unpack the archive with. Send a tar.gz or zip.`,
          error,
        );
      }
      throw error;
    } finally {
      child.kill('SIGKILL');
      await fed;
    }
  };
}

function compressionError(error: unknown, type: ArchiveType): SourceError {
  if (error instanceof SourceError) return error;
  const code = systemCode(error);
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EIO')
    return fromFileSystem(error, 'unpack the archive');
  return new SourceError(
    'cannotextractbuildpack',
    `The ${type} archive cannot be unpacked: its data is damaged or ends in the middle. Pack and send it again.`,
    error,
  );
}

async function readHead(file: string): Promise<Buffer> {
  const handle = await open(file, 'r');
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(sniffLength), 0, sniffLength, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

function quoted(contentType: string | undefined): string {
  return contentType === undefined
    ? 'not given'
    : `"${contentType.replace(/[^\x20-\x7e]/g, '?').slice(0, 100)}"`;
}
