import type { Stats } from 'node:fs';
import { lstat, readdir, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ignoreFileNames } from '../../context/ignore-file.ts';
import { fromFileSystem, SourceError, systemCode } from './source-error.ts';

/** Absolute paths, with every symbolic link followed and each checked to stay inside the source. */
export interface BuildFiles {
  readonly contextDir: string;
  readonly dockerfile: string;
  /** The ignore file that counts, when there is one. */
  readonly ignoreFile?: string;
}

export interface BuildFilesRequest {
  /** The source's root, absolute; itself no link. */
  readonly root: string;
  /** From the root, such as `/` or `/app`. */
  readonly context: string;
  /** Relative to the context. */
  readonly dockerfilePath: string;
}

const mostLinks = 40;
const mostSuggestions = 10;
const mostVisited = 20_000;

/**
 * Finds the context folder and the Dockerfile in an unpacked source. Throws SourceError `contextmissing`,
 * `dockerfilemissing` (which lists what looks like one) or `dockerfileissue`.
 */
export async function findBuildFiles({
  root,
  context,
  dockerfilePath,
}: BuildFilesRequest): Promise<BuildFiles> {
  const contextDir = await resolveInside(root, context, 'contextmissing', `the context folder "${context}"`);
  if (contextDir === undefined) {
    throw new SourceError(
      'contextmissing',
      `The context folder "${context}" is not in the source.${await foldersOf(root)}`,
    );
  }
  if (!(await statOf(contextDir)).isDirectory()) {
    throw new SourceError(
      'contextmissing',
      `The context "${context}" is a file. Give the folder that it is in.`,
    );
  }
  const shown = shownPath(context, dockerfilePath);
  const dockerfile = await resolveInside(root, shown, 'dockerfilemissing', `the Dockerfile "${shown}"`);
  if (dockerfile === undefined) {
    throw new SourceError(
      'dockerfilemissing',
      `There is no Dockerfile at "${shown}" in the source.${await suggestions(root)}`,
    );
  }
  const found = await statOf(dockerfile);
  if (found.isDirectory()) {
    throw new SourceError(
      'dockerfileissue',
      `The Dockerfile path "${shown}" names a folder. Give the path of the file in it.`,
    );
  }
  if (!found.isFile())
    throw new SourceError('dockerfileissue', `The Dockerfile "${shown}" is no regular file.`);
  const ignoreFile = await findIgnoreFile(root, context, dockerfilePath);
  return { contextDir, dockerfile, ...(ignoreFile === undefined ? {} : { ignoreFile }) };
}

async function findIgnoreFile(
  root: string,
  context: string,
  dockerfilePath: string,
): Promise<string | undefined> {
  for (const name of ignoreFileNames(dockerfilePath)) {
    const shown = shownPath(context, name);
    const path = await resolveInside(root, shown, 'dockerfileissue', `the ignore file "${shown}"`);
    if (path !== undefined && (await statOf(path)).isFile()) return path;
  }
  return undefined;
}

/**
 * Follows a path name by name, so that each link on the way is seen. Links count from the source's root when
 * they are relative, and may not leave it; an absolute link leaves it always. Undefined when nothing is there.
 * Nobody else writes to the source meanwhile, so what was checked stays true.
 */
async function resolveInside(
  root: string,
  path: string,
  code: 'contextmissing' | 'dockerfilemissing' | 'dockerfileissue',
  what: string,
): Promise<string | undefined> {
  const pending = path.split('/').reverse();
  const resolved: string[] = [];
  let links = 0;
  while (pending.length > 0) {
    const name = pending.pop() ?? '';
    if (name === '' || name === '.') continue;
    if (name === '..') {
      if (resolved.pop() === undefined) throw escapes(code, what);
      continue;
    }
    const here = join(root, ...resolved, name);
    const found = await lstatOf(here, what);
    if (found === undefined) return undefined;
    if (!found.isSymbolicLink()) {
      resolved.push(name);
      continue;
    }
    const target = await readlink(here);
    if (target.startsWith('/')) throw escapes(code, what);
    if (++links > mostLinks)
      throw new SourceError(
        code,
        `There are too many symbolic links on the way to ${what}. Replace them by the file itself.`,
      );
    pending.push(...target.split('/').reverse());
  }
  return join(root, ...resolved);
}

/** Not normalised: a ".." must still be seen where the path is followed. */
function shownPath(context: string, path: string): string {
  return `${context}/${path}`.replace(/\/{2,}/g, '/');
}

function escapes(
  code: 'contextmissing' | 'dockerfilemissing' | 'dockerfileissue',
  what: string,
): SourceError {
  return new SourceError(
    code,
    `The way to ${what} leads out of the source, by a symbolic link or "..". Put the file itself into the source.`,
  );
}

async function lstatOf(path: string, what: string): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG') return undefined;
    throw fromFileSystem(error, `look at ${what}`);
  }
}

async function statOf(path: string): Promise<Stats> {
  try {
    return await stat(path);
  } catch (error) {
    throw fromFileSystem(error, 'look at the source');
  }
}

async function foldersOf(root: string): Promise<string> {
  const members = await readdir(root, { withFileTypes: true }).catch(() => []);
  const names = members.filter((member) => member.isDirectory()).map((member) => `/${member.name}`);
  if (names.length === 0) return ' It has no folders.';
  return ` It has ${listed(names.sort())}.`;
}

async function suggestions(root: string): Promise<string> {
  const found: string[] = [];
  const folders = [''];
  let visited = 0;
  for (
    let folder = folders.shift();
    folder !== undefined && visited < mostVisited;
    folder = folders.shift()
  ) {
    const members = await readdir(join(root, folder), { withFileTypes: true }).catch(() => []);
    for (const member of members) {
      if (++visited > mostVisited) break;
      const path = `${folder}/${member.name}`;
      if (member.isDirectory() && member.name !== 'node_modules') folders.push(path);
      else if (
        member.isFile() &&
        /^(?:dockerfile|containerfile)(?:\..*)?$|\.(?:dockerfile|containerfile)$/i.test(member.name)
      )
        found.push(path);
    }
  }
  const plain = found.filter((path) => !path.endsWith('.dockerignore'));
  if (plain.length === 0) return ' No file in it looks like one; add a Dockerfile, or give its path.';
  return ` These look like one: ${listed(plain.sort((a, b) => a.split('/').length - b.split('/').length || (a < b ? -1 : 1)))}. Give the path of the one to build.`;
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, mostSuggestions).map((name) => name.replace(/[\0-\x1f\x7f]/g, '?'));
  return names.length > shown.length
    ? `${shown.join(', ')} and ${names.length - shown.length} more`
    : shown.join(', ');
}
