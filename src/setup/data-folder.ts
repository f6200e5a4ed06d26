import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { messageOf } from '../base/coded-error.ts';
import { folderFault } from './folder-fault.ts';
import { SetupError } from './setup-error.ts';

/** The parts of a data folder, as absolute paths: children run in other folders. All of it belongs to one server. */
export interface DataFolder {
  readonly root: string;
  readonly database: string;
  readonly keys: string;
  readonly blobs: string;
  readonly registry: string;
  /** One folder an attempt, owned by the worker's account. */
  readonly workers: string;
  /** Records of running children, for the next life of the server. */
  readonly run: string;
  /** Gives the folder free for another server. */
  release(): void;
}

/**
 * Makes the data folder when needed and takes it for this process. The lock is the operating system's (a lock that
 * SQLite holds on `slipway.lock`), so it ends with the process however that ends, and never has to be cleared by hand.
 * A second server is refused with the process id of the first.
 */
export async function openDataFolder(path: string): Promise<DataFolder> {
  const root = resolve(path);
  const parts = {
    root,
    database: join(root, 'slipway.db'),
    keys: join(root, 'keys'),
    blobs: join(root, 'blobs'),
    registry: join(root, 'registry'),
    workers: join(root, 'workers'),
    run: join(root, 'run'),
  };
  try {
    await mkdir(root, { recursive: true });
    // Others may pass through (the worker's account must reach its own folder) but not look around.
    await chmod(root, 0o711);
    for (const part of [parts.keys, parts.blobs, parts.registry, parts.run])
      await mkdir(part, { recursive: true, mode: 0o700 });
    await mkdir(parts.workers, { recursive: true, mode: 0o711 });
  } catch (cause) {
    const fault = await folderFault(root);
    throw new SetupError(
      'data-folder',
      fault === undefined
        ? `Cannot use ${root} as data folder: ${messageOf(cause)}. Choose another with --data DIR, or make it writable for this user.`
        : `Cannot use ${root} as data folder: ${fault}   Or choose another with --data DIR.`,
      cause,
    );
  }
  const release = await lock(root);
  return { ...parts, release };
}

async function lock(root: string): Promise<() => void> {
  const pidFile = join(root, 'slipway.pid');
  let held: DatabaseSync;
  try {
    held = new DatabaseSync(join(root, 'slipway.lock'));
    held.exec('PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE');
  } catch (cause) {
    const pid = await readFile(pidFile, 'utf8').catch(() => 'unknown');
    throw new SetupError(
      'already-running',
      `A Slipway server (process ${pid.trim()}) already uses ${root}. Stop it with: kill ${pid.trim()}   Or choose another data folder with --data DIR.`,
      cause,
    );
  }
  await writeFile(pidFile, `${process.pid}\n`);
  return () => held.close();
}
