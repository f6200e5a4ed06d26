import { createHash } from 'node:crypto';
import type { LogEntry, LogStore } from '../../src/log/log-store.ts';
import type { BuildId } from '../../src/model/ids.ts';

/** The whole of a log, and what is told about it. */
export interface WholeLog {
  readonly entries: readonly LogEntry[];
  readonly closed: boolean;
  readonly archived: boolean;
}

export async function wholeLog(log: LogStore, buildId: BuildId): Promise<WholeLog> {
  const entries: LogEntry[] = [];
  let closed = false;
  let archived = false;
  for (let total = 1; entries.length < total; ) {
    const page = await log.read(buildId, entries.length, 1_000);
    entries.push(...page.entries);
    ({ total, closed } = page);
    archived = page.archived === true;
    if (page.entries.length === 0) break;
  }
  return { entries, closed, archived };
}

/** Remembers what closed logs said when they were first seen closed, so that a later change is found out. */
export class SealedLogs {
  readonly #log: LogStore;
  readonly #seals = new Map<BuildId, string>();
  /** Of the logs that were sealed, those that were not archived by then. */
  beforeArchive = 0;

  constructor(log: LogStore) {
    this.#log = log;
  }

  /** For a log that is closed. */
  async seal(buildId: BuildId): Promise<void> {
    if (this.#seals.has(buildId)) return;
    const whole = await wholeLog(this.#log, buildId);
    if (!whole.closed || this.#seals.has(buildId)) return;
    this.#seals.set(buildId, sealOf(whole.entries));
    if (!whole.archived) this.beforeArchive += 1;
  }

  /** False: it was sealed with other words. */
  holds(buildId: BuildId, entries: readonly LogEntry[]): boolean {
    const seal = this.#seals.get(buildId);
    return seal === undefined || seal === sealOf(entries);
  }
}

function sealOf(entries: readonly LogEntry[]): string {
  const hash = createHash('sha256');
  for (const entry of entries) hash.update(`${JSON.stringify(entry)}\n`);
  return hash.digest('hex');
}
