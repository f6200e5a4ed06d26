import { open } from 'node:fs/promises';

/**
 * Keeps a log that another process appends to (with O_APPEND) from growing for ever: once it is longer than
 * `limit` bytes, only its last quarter stays. A line written in between may be lost.
 */
export async function boundLog(file: string, limit: number): Promise<void> {
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(file, 'r+');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return;
    throw error;
  }
  try {
    const { size } = await handle.stat();
    if (size <= limit) return;
    const kept = Buffer.alloc(Math.floor(limit / 4));
    const { bytesRead } = await handle.read(kept, 0, kept.length, size - kept.length);
    const tail = kept.subarray(0, bytesRead);
    const wholeLines = tail.subarray(tail.indexOf('\n') + 1);
    await handle.truncate(0);
    await handle.write(wholeLines, 0, wholeLines.length, 0);
  } finally {
    await handle.close();
  }
}
