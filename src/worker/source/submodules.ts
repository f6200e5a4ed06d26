import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { SourceError } from './source-error.ts';

export interface SubmoduleLimits {
  /** Submodules inside each other. */
  readonly deepest: number;
  /** Of one source, all of them together. */
  readonly most: number;
}

export const defaultSubmoduleLimits: SubmoduleLimits = { deepest: 10, most: 200 };

export interface Submodule {
  /** As it lies in the parent's folder; checked. */
  readonly path: string;
  readonly commit: string;
  /** As `.gitmodules` has it. Undefined: nothing says where it is. */
  readonly url?: string;
}

/**
 * Puts together what a commit says of its submodules. `links`: their commits by path, as the tree has them; `settings`:
 * what `git config -z` lists of `.gitmodules`. Both are binary strings, for paths are bytes. Throws SourceError
 * `gitfailure` for a path or URL that is made to deceive.
 */
export function readSubmodules(links: ReadonlyMap<string, string>, settings: string): Submodule[] {
  const urls = urlsByPath(settings);
  const folded = new Set<string>();
  return [...links].map(([raw, commit]) => {
    const path = checkPath(raw);
    const fold = path.normalize('NFC').toLowerCase();
    if (folded.has(fold))
      throw refused(path, 'there is another one whose path differs in upper and lower case only');
    folded.add(fold);
    const url = urls.get(raw);
    if (url !== undefined && /[\0-\x1f\x7f]/.test(url))
      throw refused(path, 'its URL has a control character in it');
    return { path, commit, ...(url === undefined ? {} : { url }) };
  });
}

/** git makes the folder of a submodule itself; none of the names on the way may be a link. */
export function expectFolders(root: string, path: string): void {
  const names = path.split('/');
  names.forEach((_, i) => {
    const found = lstatSync(join(root, ...names.slice(0, i + 1)), { throwIfNoEntry: false });
    if (found?.isDirectory() !== true) throw refused(path, 'it is not at a folder of its own');
  });
}

function checkPath(raw: string): string {
  const path = Buffer.from(raw, 'latin1').toString();
  if (Buffer.from(path).toString('latin1') !== raw) throw refused(path, 'its path is not UTF-8');
  if (/[\0-\x1f\x7f]/.test(path)) throw refused(path, 'its path has a control character in it');
  for (const name of path.split('/')) {
    if (name === '' || name === '.' || name === '..') throw refused(path, 'its path leads out of its place');
    if (isGitFolder(name)) throw refused(path, 'its path goes through a folder of git itself');
  }
  return path;
}

/** `.git` in any spelling that some file system takes for it: its case, trailing dots and spaces, its short name. */
function isGitFolder(name: string): boolean {
  const plain = name.replace(/[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]/g, '').toLowerCase();
  return /^(?:\.git|git~\d+)(?:[ .]*$|[\\:])/.test(plain);
}

function urlsByPath(settings: string): Map<string, string> {
  const byName = new Map<string, { path?: string; url?: string }>();
  for (const record of settings.split('\0')) {
    const match = /^submodule\.([\s\S]*)\.(path|url)\n([\s\S]*)$/.exec(record);
    const [, name, key, value] = match ?? [];
    if (name === undefined || value === undefined) continue;
    byName.set(name, { ...byName.get(name), [key === 'path' ? 'path' : 'url']: value });
  }
  const urls = new Map<string, string>();
  for (const { path, url } of byName.values()) {
    if (path !== undefined && url !== undefined)
      urls.set(path.replace(/\/+$/, ''), Buffer.from(url, 'latin1').toString());
  }
  return urls;
}

function refused(path: string, why: string): SourceError {
  const shown = path.replace(/[\0-\x1f\x7f]/g, '?').slice(0, 200);
  return new SourceError(
    'gitfailure',
    `Could not clone git repository: its submodule "${shown}" is refused, because ${why}.`,
  );
}
