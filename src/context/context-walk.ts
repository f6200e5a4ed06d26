import { constants, type Stats } from 'node:fs';
import { lstat, open, readdir, readlink } from 'node:fs/promises';
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

/** How many members are looked at at once. */
const width = 32;

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
  const names = await namesIn(join(options.root, folder), folder);
  for (let start = 0; start < names.length; start += width) {
    if (options.signal?.aborted)
      throw new ContextError('cancelled', 'Packing was cancelled.', options.signal.reason);
    const members = names.slice(start, start + width).map((name) => {
      const inner = scope.enter(name);
      const wanted = !inner.excluded || options.always.has(inner.path);
      const below =
        inner.mayKeepBelow || [...options.always].some((path) => path.startsWith(`${inner.path}/`));
      return { inner, wanted, below };
    });
    const looked = await Promise.all(
      members
        .filter(({ wanted, below }) => wanted || below)
        .map(async (member) => ({ ...member, stats: await look(options.root, member.inner.path) })),
    );
    for (const { inner, wanted, below, stats } of looked) {
      if (stats === undefined) continue;
      if (stats.isDirectory()) yield* withFolder(options, inner, stats, wanted, below);
      else if (wanted) {
        const entry = await entryOf(options, inner.path, stats);
        if (entry !== undefined) yield entry;
      }
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

function metaOf(stats: Stats): { mode: number; mtime: number } {
  return { mode: stats.mode & 0o7777, mtime: Math.max(0, Math.floor(stats.mtimeMs / 1000)) };
}

async function namesIn(path: string, folder: string): Promise<string[]> {
  const names = await guarded(folder === '' ? 'the context folder' : folder, readdir(path));
  return names
    .map((name) => [name, Buffer.from(name)] as const)
    .sort((a, b) => a[1].compare(b[1]))
    .map(([name]) => name);
}

/** Undefined when it went away since its folder was read. */
async function look(root: string, path: string): Promise<Stats | undefined> {
  try {
    return await lstat(join(root, path));
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
