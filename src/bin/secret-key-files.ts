import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { loadSecretKey, newSecretKey, replaceKey, syncFolder } from './keys.ts';

/** What seals secrets in the database, where no DATABASE_SECRET_KEY does. */
export interface SecretKeys {
  readonly key: Buffer;
  /** Of rotations that are not done: what is in the database may be sealed with them. */
  readonly former: readonly Buffer[];
}

const currentFile = 'database-secret-key';
/** One key a line; there only while a rotation is not done. */
const formerFile = 'database-secret-key.former';

/** Reads the keys of a data folder's `keys/`; makes the first one. */
export async function loadSecretKeys(folder: string): Promise<SecretKeys> {
  const key = await loadSecretKey(folder, currentFile);
  const text = await readFile(join(folder, formerFile), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  const former = text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => Buffer.from(line, 'hex'))
    .filter((each) => !each.equals(key));
  return { key, former };
}

/**
 * Makes a new key, unless what was sealed before the last one was made is not all sealed anew. The key that is replaced is
 * kept before that, so that at no moment a key is lost that something may be sealed with.
 */
export async function beginRotation(folder: string): Promise<SecretKeys> {
  const { key, former } = await loadSecretKeys(folder);
  if (former.length > 0) return { key, former };
  await replaceKey(folder, formerFile, `${key.toString('hex')}\n`);
  await replaceKey(folder, currentFile, newSecretKey());
  return await loadSecretKeys(folder);
}

/**
 * Forgets the former keys, also those that a rotation was writing when it was killed. Only when nothing is sealed with them
 * any more, and by one process at a time.
 */
export async function endRotation(folder: string): Promise<void> {
  const files = (await readdir(folder)).filter(
    (name) => name === formerFile || /^database-secret-key(?:\.former)?\.\d+$/.test(name),
  );
  for (const name of files) await rm(join(folder, name), { force: true });
  await syncFolder(folder);
}
