import { type FileHandle, readFile, stat } from 'node:fs/promises';
import { isAbsolute, join, relative, resolve, sep } from 'node:path';
import type { Readable } from 'node:stream';
import { constants, createGzip } from 'node:zlib';
import { type Pack, pack as tarPack } from 'tar-stream';
import { messageOf } from '../base/coded-error.ts';
import { ContextError } from './context-error.ts';
import { type ContextEntry, openEntry, readEntry, walkContext } from './context-walk.ts';
import { IgnoreFile, ignoreFileNames } from './ignore-file.ts';

export interface PackOptions {
  /** The context folder. */
  readonly folder: string;
  /** The Dockerfile: a path, relative to the context folder or absolute, or its text. Default `Dockerfile`. */
  readonly dockerfile?: string | { readonly text: Uint8Array };
  readonly onProgress?: (progress: PackProgress) => void;
  /** Whole sentences for the user: what is left out and why. */
  readonly onWarning?: (message: string) => void;
  readonly signal?: AbortSignal;
}

export interface PackProgress {
  /** Members so far. */
  readonly files: number;
  /** Bytes read from files so far, before compression. */
  readonly bytes: number;
}

export interface PackedContext {
  /** A tar.gz. Fails with a ContextError. */
  readonly stream: Readable;
  /** Where the Dockerfile is in the archive, from its root, such as `docker/Dockerfile`. */
  readonly dockerfilePath: string;
}

/** The Dockerfile's name in the archive when it comes from elsewhere. */
const foreignName = '.slipway.Dockerfile';
/** Files up to here are read whole; larger ones are streamed. */
const small = 1 << 18;

/**
 * Packs a build context as a tar.gz: the same files give the same bytes, members are sorted and belong to 0:0,
 * modes and times (whole seconds) are kept, links stay links, hard links become files. What the ignore file names
 * is left out, except the Dockerfile and the ignore file themselves, which the builder needs. A Dockerfile from
 * outside the context is put in under a name of its own, which the packed ignore file hides from the image.
 * Throws ContextError when the context cannot be packed at all.
 */
export async function packContext(options: PackOptions): Promise<PackedContext> {
  const root = resolve(options.folder);
  await expectFolder(root, options.folder);
  const plan = await planOf(root, options.dockerfile ?? 'Dockerfile');
  const tar = tarPack();
  const gzip = createGzip({ level: constants.Z_BEST_SPEED, chunkSize: 1 << 17 });
  const fail = (error: unknown) => {
    const failure = toContextError(error, options.signal);
    tar.destroy(failure);
    gzip.destroy(failure);
  };
  const onAbort = () => fail(options.signal?.reason);
  gzip.on('close', () => {
    options.signal?.removeEventListener('abort', onAbort);
    tar.destroy();
  });
  gzip.on('error', () => {});
  tar.on('error', () => {});
  if (options.signal?.aborted) onAbort();
  else options.signal?.addEventListener('abort', onAbort, { once: true });
  writeMembers(tar, root, plan, options).then(() => tar.finalize(), fail);
  tar.pipe(gzip);
  return { stream: gzip, dockerfilePath: plan.dockerfilePath };
}

interface PackPlan {
  readonly dockerfilePath: string;
  readonly ignore: IgnoreFile;
  readonly always: ReadonlySet<string>;
  /** Members whose content is not the file of that name in the context. */
  readonly made: ReadonlyMap<string, Uint8Array>;
}

async function planOf(root: string, dockerfile: string | { readonly text: Uint8Array }): Promise<PackPlan> {
  if (typeof dockerfile === 'string') {
    const path = resolve(root, dockerfile);
    const inside = relative(root, path);
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) {
      throw new ContextError(
        'not-found',
        `There is no Dockerfile at ${path}. Name the one to build with --file.`,
      );
    }
    if (!found.isFile())
      throw new ContextError('not-found', `${path} is no regular file. Name a Dockerfile with --file.`);
    if (inside !== '..' && !inside.startsWith(`..${sep}`) && !isAbsolute(inside)) {
      const name = inside.split(sep).join('/');
      const [ignore] = await readIgnore(root, ignoreFileNames(name));
      return {
        dockerfilePath: name,
        ignore,
        always: new Set([name, ...ignoreFileNames(name)]),
        made: new Map(),
      };
    }
    const own = await readOptional(`${path}.dockerignore`);
    return await foreignPlan(root, await readFile(path), own);
  }
  return await foreignPlan(root, dockerfile.text, undefined);
}

async function foreignPlan(root: string, text: Uint8Array, ownIgnore: Buffer | undefined): Promise<PackPlan> {
  const [ignore, bytes] =
    ownIgnore === undefined
      ? await readIgnore(root, ['.dockerignore'])
      : [IgnoreFile.parse(ownIgnore.toString()), ownIgnore];
  const hidden = Buffer.from(`\n${foreignName}\n${foreignName}.dockerignore\n`);
  const made = new Map<string, Uint8Array>([
    [foreignName, text],
    [`${foreignName}.dockerignore`, Buffer.concat([bytes, hidden])],
  ]);
  return { dockerfilePath: foreignName, ignore, always: new Set(), made };
}

async function readIgnore(root: string, names: readonly string[]): Promise<[IgnoreFile, Buffer]> {
  for (const name of names) {
    const bytes = await readOptional(join(root, name));
    if (bytes !== undefined) return [IgnoreFile.parse(bytes.toString(), name), bytes];
  }
  return [IgnoreFile.empty, Buffer.alloc(0)];
}

async function readOptional(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR'))
      return undefined;
    throw new ContextError(
      'unreadable',
      `${path} cannot be read: ${messageOf(error)}. Make it readable or remove it.`,
      error,
    );
  }
}

async function writeMembers(tar: Pack, root: string, plan: PackPlan, options: PackOptions): Promise<void> {
  let files = 0;
  let bytes = 0;
  const tell = (more: number) => {
    bytes += more;
    options.onProgress?.({ files, bytes });
  };
  for (const [name, content] of plan.made) {
    await putWhole(tar, { name, mode: 0o644, mtime: new Date(0) }, Buffer.from(content));
    files++;
    tell(content.length);
  }
  const entries = walkContext({
    root,
    ignore: plan.ignore,
    always: plan.always,
    onSkipped: (path, why) => options.onWarning?.(`${path} is left out: ${why}.`),
    signal: options.signal,
  });
  for await (const entry of entries) {
    if (plan.made.has(entry.path)) continue;
    const content = entry.kind === 'file' && entry.size <= small ? readEntry(root, entry.path) : undefined;
    const header = { name: entry.path, mode: entry.mode, mtime: new Date(entry.mtime * 1000) };
    if (entry.kind === 'folder') await putWhole(tar, { ...header, type: 'directory' });
    else if (entry.kind === 'link')
      await putWhole(tar, { ...header, mode: 0o777, type: 'symlink', linkname: entry.target });
    else if (content !== undefined) await putWhole(tar, header, content);
    else await putStream(tar, header, root, entry, tell);
    files++;
    tell(content?.length ?? 0);
  }
}

type TarEntryHeader = Parameters<Pack['entry']>[0];

async function putWhole(tar: Pack, header: TarEntryHeader, content?: Buffer): Promise<void> {
  const owned = { ...header, uid: 0, gid: 0 };
  await new Promise<void>((done, fail) => {
    const settle = (error?: Error | null) => (error ? fail(error) : done());
    if (content === undefined) tar.entry(owned, settle);
    else tar.entry(owned, content, settle);
  });
}

/** The size is what the open file has; what is written to it meanwhile is not packed. */
async function putStream(
  tar: Pack,
  header: TarEntryHeader,
  root: string,
  entry: ContextEntry,
  tell: (bytes: number) => void,
): Promise<void> {
  const handle = await openEntry(root, entry.path);
  try {
    await copyStream(tar, header, handle, entry.path, tell);
  } finally {
    await handle.close();
  }
}

async function copyStream(
  tar: Pack,
  header: TarEntryHeader,
  handle: FileHandle,
  path: string,
  tell: (bytes: number) => void,
): Promise<void> {
  const { size } = await handle.stat();
  const finished = Promise.withResolvers<void>();
  finished.promise.catch(() => {});
  const target = tar.entry({ ...header, uid: 0, gid: 0, size }, (error) =>
    error ? finished.reject(error) : finished.resolve(),
  );
  let left = size;
  const chunks =
    size === 0
      ? []
      : handle.createReadStream({ start: 0, end: size - 1, highWaterMark: 1 << 18, autoClose: false });
  for await (const chunk of chunks as AsyncIterable<Buffer>) {
    left -= chunk.length;
    tell(chunk.length);
    if (!target.write(chunk) && left > 0) {
      await new Promise<void>((resume, fail) => {
        target.once('drain', resume);
        target.once('close', () => fail(new Error('the archive was closed')));
      });
    }
  }
  if (left > 0) {
    throw new ContextError(
      'changed',
      `${path} became shorter while it was packed. Build again when nothing writes to it.`,
    );
  }
  target.end(null);
  await finished.promise;
}

async function expectFolder(root: string, asked: string): Promise<void> {
  const found = await stat(root).catch((error: unknown) => {
    throw new ContextError(
      'not-found',
      `The context folder ${asked} cannot be opened: ${messageOf(error)}.`,
      error,
    );
  });
  if (!found.isDirectory())
    throw new ContextError('not-found', `The context ${asked} is a file. Give the folder that it is in.`);
}

function toContextError(error: unknown, signal: AbortSignal | undefined): ContextError {
  if (error instanceof ContextError) return error;
  if (signal?.aborted) return new ContextError('cancelled', 'Packing was cancelled.', error);
  return new ContextError('unreadable', `The context cannot be packed: ${messageOf(error)}.`, error);
}
