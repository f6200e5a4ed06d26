import { lutimesSync } from 'node:fs';
import type { SourceBudget } from './source-limits.ts';

export interface TreeFile {
  /** A binary string: names are bytes. */
  readonly path: string;
  readonly size: number;
  readonly executable: boolean;
}

/** Reads `git ls-tree -r -l -z`, counts it against the budget, and remembers the paths for their times. */
export class GitTree {
  /** The commits of submodules by their paths. */
  readonly links = new Map<string, string>();
  /** Files; no symbolic links. */
  readonly files: TreeFile[] = [];
  readonly #symlinks: string[] = [];
  readonly #budget: SourceBudget;
  #rest = '';

  constructor(budget: SourceBudget) {
    this.#budget = budget;
  }

  write(chunk: Buffer): void {
    const records = (this.#rest + chunk.toString('latin1')).split('\0');
    this.#rest = records.pop() ?? '';
    for (const record of records) {
      const tab = record.indexOf('\t');
      const [mode = '', , sha = '', length = '-'] = record.slice(0, tab).split(/ +/);
      const path = record.slice(tab + 1);
      this.#budget.addEntry();
      if (mode === '160000') {
        this.links.set(path, sha);
        continue;
      }
      const size = length === '-' ? 0 : Number(length);
      this.#budget.addBytes(size);
      if (mode === '120000') this.#symlinks.push(path);
      else this.files.push({ path, size, executable: mode === '100755' });
    }
  }

  /** Gives all of it one time, so that the same commit always gives the same tree. Seconds since 1970. */
  setTimes(folder: string, time: number): void {
    const folders = new Set<string>();
    const touch = (path: string) => lutimesSync(pathIn(folder, path), time, time);
    const paths = [...this.files.map((file) => file.path), ...this.#symlinks];
    for (const path of [...paths, ...this.links.keys()]) {
      if (!this.links.has(path)) touch(path);
      else folders.add(path);
      for (let end = path.lastIndexOf('/'); end !== -1; end = path.lastIndexOf('/', end - 1)) {
        const parent = path.slice(0, end);
        if (folders.has(parent)) break;
        folders.add(parent);
      }
    }
    for (const path of folders) touch(path);
    touch('.');
  }
}

/** Where a path of a tree is in the file system. */
export function pathIn(folder: string, path: string): Buffer {
  return Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(path, 'latin1')]);
}
