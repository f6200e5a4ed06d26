import { isUtf8 } from 'node:buffer';
import { closeSync, constants, lstatSync, openSync, readFileSync, type Stats } from 'node:fs';
import { open, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../base/coded-error.ts';
import { ContextError } from './context-error.ts';
import type { IgnoreFile, IgnoreScope } from './ignore-file.ts';

/** A member of a context, by its path from the context; `/` separates. Sizes are bytes, times whole seconds. */
export type ContextEntry = { readonly path: string; readonly mode: number; readonly mtime: number } & (
  | { readonly kind: 'folder' }
  | { readonly kind: 'file'; readonly size: number }
  | { readonly kind: 'link'; readonly target: string }
);

export interface WalkOptions {
  readonly root: string;
  readonly ignore: IgnoreFile;
  /** Paths that are listed although they are ignored. */
  readonly always: ReadonlySet<string>;
  /** Told of what no archive can hold: sockets, pipes, devices. */
  readonly onSkipped: (path: string, why: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Lists a context in one fixed order: by name, byte by byte, each folder before what is in it. Ignored folders
 * are not entered unless something below may be kept; then they come only if something is. Links are listed,
 * never followed. Throws ContextError.
 */
export async function* walkContext(options: WalkOptions): AsyncGenerator<ContextEntry> {
  yield* walkFolder(options, options.ignore.root(), '');
}

async function* walkFolder(
  options: WalkOptions,
  scope: IgnoreScope,
  folder: string,
): AsyncGenerator<ContextEntry> {
  const names = await namesIn(options, folder);
  for (const name of names) {
    if (options.signal?.aborted)
      throw new ContextError('cancelled', 'Packing was cancelled.', options.signal.reason);
    const inner = scope.enter(name);
    const wanted = !inner.excluded || options.always.has(inner.path);
    const below = inner.mayKeepBelow || [...options.always].some((path) => path.startsWith(`${inner.path}/`));
    const stats = wanted || below ? look(options.root, inner.path) : undefined;
    if (stats === undefined) continue;
    if (stats.isDirectory()) yield* withFolder(options, inner, stats, wanted, below);
    else if (wanted) {
      const entry = await entryOf(options, inner.path, stats);
      if (entry !== undefined) yield entry;
    }
  }
}

async function* withFolder(
  options: WalkOptions,
  scope: IgnoreScope,
  stats: Stats,
  wanted: boolean,
  below: boolean,
): AsyncGenerator<ContextEntry> {
  const entry: ContextEntry = { kind: 'folder', path: scope.path, ...metaOf(stats) };
  let told = wanted;
  if (told) yield entry;
  if (!below) return;
  for await (const member of walkFolder(options, scope, scope.path)) {
    if (!told) yield entry;
    told = true;
    yield member;
  }
}

async function entryOf(options: WalkOptions, path: string, stats: Stats): Promise<ContextEntry | undefined> {
  if (stats.isFile()) return { kind: 'file', path, size: stats.size, ...metaOf(stats) };
  if (stats.isSymbolicLink()) {
    return {
      kind: 'link',
      path,
      target: await guarded(path, readlink(join(options.root, path))),
      ...metaOf(stats),
    };
  }
  const what = stats.isSocket() ? 'a socket' : stats.isFIFO() ? 'a named pipe' : 'a device';
  options.onSkipped(path, `it is ${what}, which no build context can hold`);
  return undefined;
}

/** Opens a file of the context for reading, unless it has become a link meanwhile. */
export async function openEntry(root: string, path: string) {
  return await guarded(path, open(join(root, path), constants.O_RDONLY | constants.O_NOFOLLOW));
}

/** Reads a small file whole. Synchronous, as for a small file another thread costs more than the reading. */
export function readEntry(root: string, path: string): Buffer {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(join(root, path), constants.O_RDONLY | constants.O_NOFOLLOW);
    return readFileSync(descriptor);
  } catch (error) {
    throw unreadable(path, error);
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

function metaOf(stats: Stats): { mode: number; mtime: number } {
  return { mode: stats.mode & 0o7777, mtime: Math.max(0, Math.floor(stats.mtimeMs / 1000)) };
}

/** Sorted by their bytes. A name that is not UTF-8 cannot be matched by an ignore file and is left out, loudly. */
async function namesIn(options: WalkOptions, folder: string): Promise<string[]> {
  const path = join(options.root, folder);
  const names = await guarded(
    folder === '' ? 'the context folder' : folder,
    readdir(path, { encoding: 'buffer' }),
  );
  return names
    .sort((a, b) => a.compare(b))
    .flatMap((name) => {
      if (isUtf8(name)) return [name.toString()];
      options.onSkipped(join(folder, name.toString()), 'its name is not UTF-8');
      return [];
    });
}

/** Undefined when it went away since its folder was read. */
function look(root: string, path: string): Stats | undefined {
  try {
    return lstatSync(join(root, path));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw unreadable(path, error);
  }
}

async function guarded<T>(path: string, promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    throw unreadable(path, error);
  }
}

function unreadable(path: string, error: unknown): ContextError {
  return new ContextError(
    'unreadable',
    `${path} cannot be read: ${messageOf(error)}. Make it readable, or leave it out by the .dockerignore file.`,
    error,
  );
}
