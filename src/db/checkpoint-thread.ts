import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';

/**
 * The thread of checkpoints.ts: copies what the write-ahead log holds into the database's file whenever it is told to, and
 * says so. It waits for nobody, and nobody waits for it: what is in use is copied the next time. `close` ends it.
 */
const database = new DatabaseSync(workerData as string, { timeout: 0 });
// What it copies it reads once.
database.exec('pragma cache_size = 16; pragma synchronous = full;');
parentPort?.on('message', (order: 'copy' | 'close') => {
  if (order === 'close') {
    database.close();
    parentPort?.close();
    return;
  }
  try {
    database.exec('pragma wal_checkpoint(passive)');
  } catch {
    // A full or broken disk is told by the next write of the database itself, where somebody can be told of it.
  }
  parentPort?.postMessage('copied');
});
