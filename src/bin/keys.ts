import { randomBytes } from 'node:crypto';
import { link, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Reads a key file, or makes it on first use: readable by its owner only, durable before it is used. Of two that make it
 * at the same time one wins, and both use that one's.
 */
export async function loadOrMake(folder: string, name: string, make: () => string): Promise<string> {
  const file = join(folder, name);
  const stored = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (stored !== undefined) return stored;
  const temporary = `${file}.${process.pid}`;
  const handle = await open(temporary, 'w', 0o600);
  try {
    await handle.writeFile(make());
    await handle.sync();
  } finally {
    await handle.close();
  }
  try {
    await link(temporary, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await rm(temporary, { force: true });
  }
  return await readFile(file, 'utf8');
}

/** 32 random bytes, kept as hex. */
export async function loadSecretKey(folder: string, name: string): Promise<Buffer> {
  const text = await loadOrMake(folder, name, newSecretKey);
  return Buffer.from(text.trim(), 'hex');
}

export function newSecretKey(): string {
  return `${randomBytes(32).toString('hex')}\n`;
}

/** Writes a key file whether or not there is one: afterwards, also after a power cut, it is the old one or the new one. */
export async function replaceKey(folder: string, name: string, text: string): Promise<void> {
  const file = join(folder, name);
  const temporary = `${file}.${process.pid}`;
  const handle = await open(temporary, 'w', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
  await syncFolder(folder);
}

/** What was renamed in a folder, or removed from it, stays so after a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
