import { spawn } from 'node:child_process';
import { chownSync, mkdirSync } from 'node:fs';
import { access, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type AttemptId, parseAttemptId } from '../model/ids.ts';
import { lastOutput, outputBytes } from './last-output.ts';

/** The account workers run as, when it is not the server's own. */
export interface WorkerAccount {
  readonly uid: number;
  readonly gid: number;
}

const logName = 'worker.log';

/** The folder one attempt works in: its worker's own, nobody else reads it, and nothing of it is left after the end. */
export class WorkerFolder {
  readonly path: string;
  readonly temporary: string;
  /** Empty, for the source. */
  readonly workspace: string;

  constructor(workers: string, attemptId: AttemptId) {
    this.path = join(workers, attemptId);
    this.temporary = join(this.path, 'tmp');
    this.workspace = join(this.path, 'work');
  }

  create(account: WorkerAccount | undefined): void {
    for (const path of [this.path, this.temporary, this.workspace]) {
      mkdirSync(path, { recursive: true, mode: 0o700 });
      if (account !== undefined) chownSync(path, account.uid, account.gid);
    }
  }

  /** What the worker and its children print is appended here; never a pipe, for the worker outlives the server. */
  get log(): string {
    return join(this.path, logName);
  }

  /** The last lines the worker printed itself, cut to a bearable size; undefined when there are none. */
  async output(): Promise<string | undefined> {
    try {
      const file = await open(this.log, 'r');
      try {
        const { size } = await file.stat();
        const buffer = Buffer.alloc(Math.min(size, outputBytes));
        const { bytesRead } = await file.read(buffer, 0, buffer.length, size - buffer.length);
        return lastOutput(buffer.subarray(0, bytesRead));
      } finally {
        await file.close();
      }
    } catch {
      return undefined;
    }
  }

  /**
   * Removes the folder. Whatever is in it was made by hostile code, so the removal never follows a link and never
   * leaves the file system; files that belong to the account's subordinate ids need a user namespace when the
   * server is not root.
   */
  async remove(): Promise<boolean> {
    const remove = ['rm', '-rf', '--one-file-system', '--', this.path];
    if (!(await exists(this.path))) return true;
    await run(remove);
    if (await exists(this.path)) {
      await run(['unshare', '--user', '--map-auto', '--map-root-user', '--', ...remove]);
    }
    return !(await exists(this.path));
  }
}

/** The attempts that have a folder. */
export async function foldersOf(workers: string): Promise<readonly AttemptId[]> {
  const names = await readdir(workers).catch(() => []);
  return names.map(parseAttemptId).filter((id) => id !== undefined);
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function run([command = '', ...args]: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: 'ignore', cwd: '/' });
    child.once('error', () => resolve());
    child.once('close', () => resolve());
  });
}
