import { constants, lstatSync, readFileSync } from 'node:fs';
import { chmod, copyFile, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { EgressGuard } from '../../egress/egress-guard.ts';
import type { GitUrl } from '../../egress/git-url.ts';
import { type GitAccess, type GitPlace, isSameServer } from './git-access.ts';
import { GitFailure, runGit } from './git-command.ts';
import { type GitTree, pathIn, type TreeFile } from './git-tree.ts';
import { type LfsServer, parseLfsServer } from './lfs-answer.ts';
import { LfsClient, lfsError } from './lfs-client.ts';
import { type LfsPointer, longestPointer, parseLfsPointer } from './lfs-pointer.ts';
import type { SourceBudget } from './source-limits.ts';

export interface GitLfsOptions {
  /** False: pointers stay, and a line says so. */
  readonly fetch: boolean;
  readonly access: GitAccess;
  readonly guard: EgressGuard;
  readonly budget: SourceBudget;
  /** An existing folder of our own. */
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly idleTimeout: number;
  readonly onLine: (line: string) => void;
}

/** A file of the tree that stands for a large one. */
interface Standin {
  readonly file: TreeFile;
  readonly pointer: LfsPointer;
}

/** Objects asked for in one request, and of those, downloaded at once. */
const batch = 100;
const atOnce = 4;
const longestAttributes = 1 << 20;

/** Puts the files that Git LFS keeps elsewhere in the place of their pointers, in a tree that git has just written. */
export class GitLfs {
  readonly #options: GitLfsOptions;

  constructor(options: GitLfsOptions) {
    this.#options = options;
  }

  async replacePointers(place: GitPlace, commit: string, tree: GitTree, folder: string): Promise<void> {
    const { fetch, onLine } = this.#options;
    if (!usesLfs(tree, folder)) return;
    const standins = await this.#standins(place, tree, folder);
    if (standins.length === 0) return;
    const total = standins.reduce((sum, { pointer }) => sum + pointer.size, 0);
    const what = standins.length === 1 ? '1 file' : `${standins.length} files`;
    if (!fetch) {
      onLine(
        `Git LFS keeps ${what} (${total} bytes) of this repository; their pointers stay in their place, because the build was not asked for with lfs.`,
      );
      return;
    }
    onLine(`Fetching ${what} (${total} bytes) from Git LFS.`);
    for (const { pointer } of standins) this.#options.budget.addBytes(pointer.size);
    const client = await this.#client(place, commit);
    await mkdir(join(this.#options.folder, 'lfs'), { mode: 0o700, recursive: true });
    const byOid = Map.groupBy(standins, ({ pointer }) => pointer.oid);
    const objects = [...byOid.values()];
    for (let start = 0; start < objects.length; start += batch) {
      const some = objects.slice(start, start + batch);
      const found = await client.locate(some.flatMap(([first]) => first?.pointer ?? []));
      await inTurns(some, async (same) => {
        const [first] = same;
        if (first === undefined) return;
        const { oid } = first.pointer;
        const file = join(this.#options.folder, 'lfs', oid);
        try {
          await client.download(first.pointer, found.get(oid), file);
          for (const standin of same) await putInPlace(file, standin.file, folder);
        } finally {
          await rm(file, { force: true });
        }
      });
    }
  }

  /** Small files that read like pointers and that the attributes give to LFS. */
  async #standins({ session }: GitPlace, tree: GitTree, folder: string): Promise<Standin[]> {
    const alike = tree.files.flatMap((file) => {
      if (file.size === 0 || file.size > longestPointer) return [];
      const pointer = parseLfsPointer(readFileSync(pathIn(folder, file.path), 'latin1'));
      return pointer === undefined ? [] : [{ file, pointer }];
    });
    if (alike.length === 0) return [];
    const paths = Buffer.from(alike.map(({ file }) => `${file.path}\0`).join(''), 'latin1');
    const pieces: Buffer[] = [];
    await runGit(session, ['check-attr', '-z', '--stdin', 'filter'], {
      input: paths,
      onOutput: (chunk) => pieces.push(chunk),
    });
    const words = Buffer.concat(pieces).toString('latin1').split('\0');
    // path, attribute, value, and again
    const wanted = new Set(words.filter((_, i) => i % 3 === 0 && words[i + 2] === 'lfs'));
    return alike.filter(({ file }) => wanted.has(file.path));
  }

  async #client(place: GitPlace, commit: string): Promise<LfsClient> {
    const { guard, signal, idleTimeout } = this.#options;
    const { href, headers } = await this.#server(place, commit);
    return new LfsClient({ server: href.replace(/\/+$/, ''), headers, guard, signal, idleTimeout });
  }

  /** What the repository says, else what its SSH server says, else the usual place beside it. */
  async #server({ url, session }: GitPlace, commit: string): Promise<Required<LfsServer>> {
    const { access } = this.#options;
    const configured = await configuredServer(session, commit);
    if (configured !== undefined) {
      if (!/^https?:\/\//i.test(configured) || !URL.canParse(configured))
        throw lfsError('the URL in .lfsconfig is none of http or https. Correct it.');
      return { href: configured, headers: this.#headersFor(configured, url) };
    }
    const usual = usualServer(url);
    if (url.scheme !== 'ssh') return { href: usual, headers: access.authorization(url) };
    try {
      const answer = await access.onServer(url, `git-lfs-authenticate ${shellWord(url.path)} download`);
      const server = parseLfsServer(answer.toString());
      if (server !== undefined) return { href: server.href ?? usual, headers: server.headers };
    } catch (error) {
      if (!(error instanceof GitFailure)) throw error;
      this.#options.onLine('The SSH server knows nothing of Git LFS; it is looked for by https.');
    }
    return { href: usual, headers: {} };
  }

  /** Credentials go to the server they were given for, also when the repository names it itself. */
  #headersFor(href: string, url: GitUrl): Readonly<Record<string, string>> {
    const { protocol, hostname, port } = new URL(href);
    const scheme = protocol === 'http:' ? 'http' : 'https';
    const there: GitUrl = {
      scheme,
      host: hostname.replace(/^\[|\]$/g, '').toLowerCase(),
      port: port === '' ? (scheme === 'http' ? 80 : 443) : Number(port),
      url: href,
      path: '/',
    };
    return isSameServer(there, url) ? this.#options.access.authorization(url) : {};
  }
}

/** Whether anything in the tree is given to LFS; most trees are not, and need not be looked through. */
function usesLfs(tree: GitTree, folder: string): boolean {
  return tree.files.some(
    ({ path, size }) =>
      /(?:^|\/)\.gitattributes$/.test(path) &&
      size <= longestAttributes &&
      readFileSync(pathIn(folder, path), 'latin1').includes('filter=lfs'),
  );
}

async function configuredServer(session: GitPlace['session'], commit: string): Promise<string | undefined> {
  try {
    const value = await runGit({ ...session, onLine: () => {} }, [
      'config',
      '--blob',
      `${commit}:.lfsconfig`,
      '--get',
      'lfs.url',
    ]);
    return value.toString().trim();
  } catch (error) {
    if (error instanceof GitFailure) return undefined;
    throw error;
  }
}

function usualServer({ scheme, host, url, path }: GitUrl): string {
  const bare = host.includes(':') ? `[${host}]` : host;
  const base = scheme === 'ssh' ? `https://${bare}/${path.replace(/^\/+/, '')}` : url;
  const trimmed = base.replace(/\/+$/, '');
  return `${trimmed}${trimmed.endsWith('.git') ? '' : '.git'}/info/lfs`;
}

function shellWord(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

async function putInPlace(from: string, { path, executable }: TreeFile, folder: string): Promise<void> {
  const target = pathIn(folder, path);
  if (!lstatSync(target).isFile()) throw lfsError('a pointer is not where git wrote it.');
  await rm(target);
  await copyFile(from, target, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  await chmod(target, executable ? 0o755 : 0o644);
}

/** A few at once; the first failure is thrown when none runs any more. */
async function inTurns<Item>(items: readonly Item[], run: (item: Item) => Promise<void>): Promise<void> {
  const waiting = items.values();
  let failed = false;
  const results = await Promise.allSettled(
    Array.from({ length: atOnce }, async () => {
      for (const item of waiting) {
        if (failed) return;
        try {
          await run(item);
        } catch (error) {
          failed = true;
          throw error;
        }
      }
    }),
  );
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}
