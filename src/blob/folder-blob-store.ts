import { createHash, randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { messageOf } from '../base/coded-error.ts';
import { BlobError } from './blob-error.ts';
import type { BlobStore, StoredBlob } from './blob-store.ts';

const keyPattern = /^[a-z0-9-]+(?:\/[a-z0-9-]+)*$/;

/** A key never begins with a dot, so a file that does is one of ours that is still being written. */
const unfinished = '.unfinished-';

/**
 * Blobs as files of a folder that nobody else writes to; the key is the path. A blob is written beside its place,
 * flushed, and renamed, so that it is there entirely or not at all, also after a power cut.
 */
export class FolderBlobStore implements BlobStore {
  readonly #folder: string;

  constructor({ folder }: { readonly folder: string }) {
    this.#folder = folder;
  }

  /** Makes the folder and removes what a crash left half written. To be called before use, by one process. */
  async start(): Promise<void> {
    try {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      for (const entry of await readdir(this.#folder, { recursive: true, withFileTypes: true })) {
        if (entry.isFile() && entry.name.startsWith(unfinished)) await rm(join(entry.parentPath, entry.name));
      }
    } catch (thrown) {
      throw translated(thrown, this.#folder);
    }
  }

  async stop(): Promise<void> {}

  async put(
    key: string,
    source: Readable,
    { limit, signal }: { readonly limit: number; readonly signal?: AbortSignal },
  ): Promise<StoredBlob> {
    const path = this.#pathOf(key);
    const folder = dirname(path);
    const temporary = join(folder, `${unfinished}${randomUUID()}`);
    // Somebody must hear of a source that fails before it is read; what it says is told below.
    source.once('error', () => {});
    let file: FileHandle | undefined;
    try {
      signal?.throwIfAborted();
      await makeFolder(folder, this.#folder);
      file = await open(temporary, 'wx', 0o600);
      const stored = await copy(source, file, limit, signal);
      await file.sync();
      await file.close();
      file = undefined;
      await rename(temporary, path);
      await flushFolder(folder);
      return stored;
    } catch (thrown) {
      source.destroy();
      await file?.close().catch(() => {});
      await rm(temporary, { force: true }).catch(() => {});
      if (signal?.aborted) throw signal.reason;
      throw translated(thrown, path);
    }
  }

  async get(
    key: string,
    { start = 0 }: { readonly start?: number } = {},
  ): Promise<{ readonly size: number; readonly stream: Readable } | undefined> {
    const path = this.#pathOf(key);
    try {
      const file = await open(path, 'r');
      const stat = await file.stat();
      if (!stat.isFile()) {
        await file.close();
        return undefined;
      }
      return { size: stat.size, stream: file.createReadStream({ start }) };
    } catch (thrown) {
      if (codeOf(thrown) === 'ENOENT' || codeOf(thrown) === 'ENOTDIR') return undefined;
      throw translated(thrown, path);
    }
  }

  async remove(key: string): Promise<void> {
    const path = this.#pathOf(key);
    try {
      await rm(path);
      await flushFolder(dirname(path));
    } catch (thrown) {
      if (codeOf(thrown) === 'ENOENT' || codeOf(thrown) === 'ENOTDIR') return;
      throw translated(thrown, path);
    }
  }

  #pathOf(key: string): string {
    if (!keyPattern.test(key) || key.length > 512 || key.split('/').some((part) => part.length > 200)) {
      throw new BlobError(
        'bad-key',
        `${JSON.stringify(key.slice(0, 100))} is no key of a blob: it is made of parts of a-z, 0-9 and - joined by /.`,
      );
    }
    return join(this.#folder, key);
  }
}

async function copy(
  source: Readable,
  file: FileHandle,
  limit: number,
  signal: AbortSignal | undefined,
): Promise<StoredBlob> {
  const hash = createHash('sha256');
  const abort = () => source.destroy();
  signal?.addEventListener('abort', abort, { once: true });
  let size = 0;
  try {
    // It may have fired before the listener was there.
    signal?.throwIfAborted();
    for await (const piece of readable(source)) {
      const bytes: Uint8Array = typeof piece === 'string' ? Buffer.from(piece) : piece;
      size += bytes.byteLength;
      if (size > limit) {
        throw new BlobError(
          'too-large',
          `More than the ${limit} bytes that are allowed were sent; send less, or have the limit raised.`,
        );
      }
      hash.update(bytes);
      for (let at = 0; at < bytes.byteLength; ) {
        at += (await file.write(bytes, at, bytes.byteLength - at)).bytesWritten;
      }
    }
  } finally {
    signal?.removeEventListener('abort', abort);
  }
  return { size, sha256: hash.digest('hex') };
}

/** What goes wrong with the source is told apart from what goes wrong with the disk. */
async function* readable(source: Readable): AsyncIterable<Uint8Array | string> {
  const pieces = source[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await pieces.next().catch((thrown: unknown) => {
        if (thrown instanceof BlobError) throw thrown;
        throw new BlobError(
          'interrupted',
          `What was to be stored stopped before its end (${messageOf(thrown)}); send it again.`,
          thrown,
        );
      });
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    await pieces.return?.();
  }
}

/** A new folder is durable only when the folder it is in was flushed. */
async function makeFolder(folder: string, root: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = folder; made.length >= root.length; made = dirname(made)) {
    await flushFolder(made);
    if (made === dirname(made)) break;
  }
}

async function flushFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function translated(thrown: unknown, path: string): BlobError {
  if (thrown instanceof BlobError) return thrown;
  const code = codeOf(thrown);
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') {
    return new BlobError(
      'disk-full',
      `There is no room left to store ${path}; nothing was stored. Free some space and try again.`,
      thrown,
    );
  }
  return new BlobError(
    'unavailable',
    `The file ${path} cannot be read or written (${messageOf(thrown)}). Check the folder and its permissions.`,
    thrown,
  );
}

function codeOf(thrown: unknown): unknown {
  return typeof thrown === 'object' && thrown !== null && 'code' in thrown ? thrown.code : undefined;
}
