import { readdir, readFile, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { type BuildahCommand, type ConfinedSettings, housekeepingCommand } from './buildah-command.ts';
import type { BuildahHome } from './buildah-home.ts';
import { lockIsHeld, runConfined } from './confinement.ts';
import type { CleanPolicy, CleanReport } from './engine.ts';
import { EngineError } from './engine-error.ts';

/**
 * Gives disk back in small portions. Each portion holds the home's lock exclusively, which it gets only when no
 * build or push runs; a build that comes meanwhile waits for that portion. So a container found in the store then
 * belongs to a build that was killed.
 */
export async function cleanHome(
  settings: ConfinedSettings,
  policy: CleanPolicy,
  clock: Clock,
  signal: AbortSignal,
): Promise<CleanReport> {
  const { home } = settings;
  const run = async (args: readonly string[]) =>
    await exclusively(housekeepingCommand(args, settings), settings, signal);
  let removedLeftovers = 0;
  let removedImages = 0;
  const report = async (busy: boolean): Promise<CleanReport> => ({
    removedImages,
    removedLeftovers,
    free: await freePart(home),
    busy,
  });

  const { length: containers } = await listed(home, 'containers');
  if (!(await run(['rm', '--all']))) return await report(true);
  removedLeftovers += containers;
  const scratch = await leftScratch(home);
  for (let at = 0; at < scratch.length; at += scratchPortion) {
    const paths = scratch.slice(at, at + scratchPortion);
    // Inside a namespace, since they hold files of subordinate ids.
    if (
      !(await exclusively(
        { argv: ['rm', '-rf', '--', ...paths], env: { PATH: settings.path } },
        settings,
        signal,
      ))
    ) {
      return await report(true);
    }
    removedLeftovers += paths.length;
  }

  const failed = new Set<string>();
  for (;;) {
    const stored = await images(home);
    const candidates = (await leaves(home, stored)).filter(({ id }) => !failed.has(id));
    const limit = clock.now() - policy.unusedFor;
    const short = (await freePart(home)) < policy.minimumFree;
    const portion = candidates
      .filter(({ lastUsed }, place) => lastUsed < limit || (short && place === 0))
      .slice(0, portionSize);
    if (portion.length === 0) return await report(false);
    if (!(await run(['rmi', '--force', ...portion.map(({ id }) => id)]))) return await report(true);
    const left = new Set((await images(home)).map(({ id }) => id));
    for (const { id } of stored) {
      if (left.has(id)) continue;
      removedImages += 1;
      await rm(join(home.used, id), { force: true });
    }
    for (const { id } of portion) if (left.has(id)) failed.add(id);
  }
}

const portionSize = 10;
const scratchPortion = 200;

/** False when builds hold the lock. One image that cannot be removed does not fail the rest. */
async function exclusively(
  command: BuildahCommand,
  { home, proc }: ConfinedSettings,
  signal: AbortSignal,
): Promise<boolean> {
  const ending = await runConfined(
    { ...command, cwd: home.root, exclusiveLock: home.lock, proc },
    async () => {},
    signal,
  );
  if ('killedBy' in ending) {
    throw new EngineError('enginefailed', `Cleaning the build machine was ended by ${ending.killedBy}.`);
  }
  return ending.status !== lockIsHeld;
}

interface StoredImage {
  readonly id: string;
  readonly layer: string;
  /** Milliseconds since 1970: the last build that made it or reused it. */
  readonly lastUsed: number;
}

/**
 * Images whose layer no other image stands on, unused for longest first: only these give disk back. buildah removes
 * with an image those it was built on, as far as nothing else is.
 */
async function leaves(home: BuildahHome, stored: readonly StoredImage[]): Promise<StoredImage[]> {
  const parents = new Map<string, string>();
  for (const layer of await listed(home, 'layers')) {
    const { id, parent } = layer;
    if (typeof id === 'string' && typeof parent === 'string' && parent !== '') parents.set(id, parent);
  }
  const carrying = new Set<string>();
  for (const { layer } of stored) {
    for (let at = parents.get(layer); at !== undefined && !carrying.has(at); at = parents.get(at))
      carrying.add(at);
  }
  return stored.filter(({ layer }) => !carrying.has(layer)).sort((a, b) => a.lastUsed - b.lastUsed);
}

async function images(home: BuildahHome): Promise<StoredImage[]> {
  const stored: StoredImage[] = [];
  for (const image of await listed(home, 'images')) {
    const { id, layer, created } = image;
    if (typeof id !== 'string' || typeof layer !== 'string') continue;
    const used = await stat(join(home.used, id)).then(
      ({ mtimeMs }) => mtimeMs,
      () => Number.NaN,
    );
    const made = typeof created === 'string' ? Date.parse(created) : Number.NaN;
    stored.push({ id, layer, lastUsed: [used, made].find((time) => !Number.isNaN(time)) ?? 0 });
  }
  return stored;
}

/** What killed builds have left in TMPDIR, as the lock will prove; RUN's cache mounts stay. */
async function leftScratch(home: BuildahHome): Promise<string[]> {
  const names = await readdir(home.tmp);
  return names.filter((name) => !name.startsWith('buildah-cache')).map((name) => join(home.tmp, name));
}

async function freePart({ storage }: BuildahHome): Promise<number> {
  const { bavail, blocks } = await statfs(storage);
  return blocks === 0 ? 1 : bavail / blocks;
}

/** A table of the store, which is written whole; missing before the first build. */
async function listed(
  home: BuildahHome,
  table: 'containers' | 'images' | 'layers',
): Promise<Record<string, unknown>[]> {
  const rows: Record<string, unknown>[] = [];
  // The store keeps one set of tables for each driver it was ever used with.
  for (const driver of ['overlay', 'vfs']) {
    const path = join(home.storage, `${driver}-${table}`, `${table}.json`);
    const text = await readFile(path, 'utf8').catch((thrown: unknown) => {
      if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return '[]';
      throw thrown;
    });
    const list: unknown = JSON.parse(text);
    if (Array.isArray(list)) rows.push(...list.filter((row) => typeof row === 'object' && row !== null));
  }
  return rows;
}
