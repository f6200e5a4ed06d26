import { randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { messageOf } from '../base/coded-error.ts';
import { BlobError } from './blob-error.ts';
import { checkBlobKey } from './blob-key.ts';
import { BlobSource } from './blob-source.ts';
import type { BlobRange, BlobStore, StoredBlob } from './blob-store.ts';

/** A key never begins with a dot, so this folder is none of its own: what is still being written lies there. */
const unfinished = '.unfinished';

/** Milliseconds after which nobody can be writing a file any more that nobody has touched. */
const abandonedAfter = 24 * 3_600_000;

/**
 * Blobs as files of a folder that nobody else writes to; the key is the path. A blob is written aside, flushed, and
 * renamed, so that it is there entirely or not at all, also after a power cut.
 */
export class FolderBlobStore implements BlobStore {
  readonly #folder: string;
  readonly #shared: boolean;

  /** `shared`: other processes use the folder at the same time. */
  constructor({ folder, shared = false }: { readonly folder: string; readonly shared?: boolean }) {
    this.#folder = folder;
    this.#shared = shared;
  }

  /** Makes the folder and removes what a crash left half written. To be called before use. */
  async start(): Promise<void> {
    const aside = join(this.#folder, unfinished);
    try {
      await mkdir(aside, { recursive: true, mode: 0o700 });
      const newest = this.#shared ? Date.now() - abandonedAfter : Number.POSITIVE_INFINITY;
      for (const name of await readdir(aside)) {
        const file = join(aside, name);
        const touched = (await stat(file).catch(() => undefined))?.mtimeMs;
        if (touched !== undefined && touched < newest) await rm(file, { force: true });
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
    const temporary = join(this.#folder, unfinished, randomUUID());
    const pieces = new BlobSource(source, limit, signal);
    let file: FileHandle | undefined;
    try {
      signal?.throwIfAborted();
      file = await unlessMissing(
        () => open(temporary, 'wx', 0o600),
        () => makeFolder(dirname(temporary), this.#folder),
      );
      for await (const bytes of pieces) {
        for (let at = 0; at < bytes.byteLength; ) {
          at += (await file.write(bytes, at, bytes.byteLength - at)).bytesWritten;
        }
      }
      await file.sync();
      await file.close();
      file = undefined;
      await unlessMissing(
        () => rename(temporary, path),
        () => makeFolder(folder, this.#folder),
      );
      await flushFolder(folder);
      return pieces.stored();
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
    { start = 0, end }: BlobRange = {},
  ): Promise<{ readonly size: number; readonly stream: Readable } | undefined> {
    const path = this.#pathOf(key);
    try {
      const file = await open(path, 'r');
      const found = await file.stat();
      if (!found.isFile()) {
        await file.close();
        return undefined;
      }
      const last = Math.min(end ?? found.size, found.size) - 1;
      if (last < start) {
        await file.close();
        return { size: found.size, stream: Readable.from([]) };
      }
      return { size: found.size, stream: file.createReadStream({ start, end: last }) };
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
    checkBlobKey(key);
    return join(this.#folder, key);
  }
}

/** Nearly always the folder is there; so it is made only when it turns out that it is not. */
async function unlessMissing<T>(work: () => Promise<T>, make: () => Promise<void>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    if (codeOf(thrown) !== 'ENOENT') throw thrown;
  }
  await make();
  return await work();
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
