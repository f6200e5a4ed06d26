import { chmod, readdir, rm } from 'node:fs/promises';
import { systemCode } from './source-error.ts';

/**
 * Removes a workspace with everything in it, also below folders that its source made unwritable, as an account
 * without privileges otherwise could not. Links are removed, never followed. A folder that is not there is no error.
 */
export async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    const code = systemCode(error);
    if (code !== 'EACCES' && code !== 'EPERM' && code !== 'ENOTEMPTY') throw error;
    await openFolders(Buffer.from(path));
    await rm(path, { recursive: true, force: true });
  }
}

/** Paths are bytes, as names need not be UTF-8. */
async function openFolders(path: Buffer): Promise<void> {
  await chmod(path, 0o700);
  for (const member of await readdir(path, { withFileTypes: true, encoding: 'buffer' })) {
    if (member.isDirectory()) await openFolders(Buffer.concat([path, Buffer.from('/'), member.name]));
  }
}
