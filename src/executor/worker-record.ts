import { mkdirSync } from 'node:fs';
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type AttemptId, parseAttemptId } from '../model/ids.ts';
import type { ProcessIdentity } from './process-table.ts';

/** What is written down about a worker, so that the next life of the server finds it again. Holds no secret. */
export interface WorkerRecord extends ProcessIdentity {
  readonly attemptId: AttemptId;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
}

/** One small file a worker, `<attempt id>.json`, written whole or not at all. */
export class WorkerRecords {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  async write(record: WorkerRecord): Promise<void> {
    const path = this.#path(record.attemptId);
    await writeFile(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
    await rename(`${path}.new`, path);
  }

  async remove(attemptId: AttemptId): Promise<void> {
    await rm(this.#path(attemptId), { force: true });
  }

  /** All that can be read. A file that is no record (the disk was full, the power went) is removed. */
  async all(): Promise<readonly WorkerRecord[]> {
    const records: WorkerRecord[] = [];
    for (const name of await readdir(this.#folder)) {
      const record = parseRecord(await readFile(join(this.#folder, name), 'utf8').catch(() => ''));
      if (record !== undefined && name === `${record.attemptId}.json`) records.push(record);
      else await rm(join(this.#folder, name), { force: true });
    }
    return records;
  }

  #path(attemptId: AttemptId): string {
    return join(this.#folder, `${attemptId}.json`);
  }
}

function parseRecord(text: string): WorkerRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { attemptId, pid, startTime, bootId, startedAt } = value as Record<string, unknown>;
  const id = typeof attemptId === 'string' ? parseAttemptId(attemptId) : undefined;
  if (id === undefined || typeof pid !== 'number' || !Number.isSafeInteger(pid) || pid <= 1) return undefined;
  if (typeof startTime !== 'string' || typeof bootId !== 'string' || typeof startedAt !== 'number') {
    return undefined;
  }
  return { attemptId: id, pid, startTime, bootId, startedAt };
}
