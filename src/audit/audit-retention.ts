import type { Clock } from '../base/clock.ts';
import type { AuditLog } from './audit-log.ts';

export interface AuditRetentionOptions {
  readonly audit: AuditLog;
  readonly clock: Clock;
  /** Milliseconds that a record stays. */
  readonly keep: number;
  /** Milliseconds between two looks. */
  readonly every?: number;
  /** Told when a look failed; the next one is taken all the same. */
  readonly onError: (error: unknown) => void;
}

/** Removes old records from the audit log, and leaves one that says so; from `start` to `stop`. */
export class AuditRetention implements AsyncDisposable {
  readonly #options: AuditRetentionOptions;
  #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: AuditRetentionOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#running !== undefined) return;
    this.#stopping = new AbortController();
    this.#running = this.#run(this.#stopping.signal);
  }

  /** Removes what is old enough now. */
  async sweep(signal?: AbortSignal): Promise<void> {
    const { audit, clock, keep } = this.#options;
    const before = clock.now() - keep;
    const removed = await audit.prune(before, signal);
    if (removed === 0) return;
    await audit.write({
      actor: { kind: 'system', name: 'audit-retention' },
      action: 'audit.prune',
      result: 'done',
      detail: { removed, older_than: new Date(before).toISOString() },
    });
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    this.#running = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, every = 3_600_000, onError } = this.#options;
    while (!signal.aborted) {
      try {
        await clock.sleep(every, signal);
        await this.sweep(signal);
      } catch (error) {
        if (!signal.aborted) onError(error);
      }
    }
  }
}
