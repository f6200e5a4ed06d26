import type { AuditLog } from '../audit/audit-log.ts';
import type { Clock } from '../base/clock.ts';
import type { Database } from '../db/database.ts';
import type { Phase } from '../model/phase.ts';
import { formatRepositoryName } from '../model/repository-name.ts';
import { failureStreak } from './failure-streak.ts';
import type { AutomaticReason } from './notices.ts';
import { RecurringTask } from './recurring-task.ts';
import type { SqlNotices } from './sql-notices.ts';
import type { SqlTriggerStore } from './sql-trigger-store.ts';
import type { TriggerId } from './trigger.ts';
import type { TriggerLog, TriggerMetrics } from './trigger-events.ts';
import { triggerIdOf } from './trigger-rows.ts';

export interface FailureWatchOptions {
  readonly database: Database;
  readonly store: SqlTriggerStore;
  readonly notices: SqlNotices;
  readonly audit: Pick<AuditLog, 'write'>;
  readonly clock: Clock;
  readonly metrics: TriggerMetrics;
  readonly log: TriggerLog;
  /** In a row; undefined: never. */
  readonly failureThreshold: number | undefined;
  readonly internalErrorThreshold: number | undefined;
  /** Milliseconds between two looks; 10,000 unless given. */
  readonly every?: number;
}

/** How far the first look goes back, and how much two looks overlap: the clocks of managers differ. */
const firstLook = 24 * 3_600_000;
const overlap = 120_000;
/** Builds that are looked at of one trigger; thresholds are lower. */
const mostBuilds = 2_000;

/**
 * Switches triggers off whose builds fail again and again. It counts what the builds' rows say, so every manager comes to
 * the same, and doing it twice changes nothing.
 */
export class FailureWatch {
  readonly #options: FailureWatchOptions;
  readonly #task: RecurringTask;
  #lookedAt: number | undefined;

  constructor(options: FailureWatchOptions) {
    const { clock, log, every = 10_000 } = options;
    this.#options = options;
    this.#task = new RecurringTask({
      clock,
      every,
      work: async () => {
        await this.round();
        return false;
      },
      onError: (thrown) =>
        log.error({ err: thrown }, 'failures of triggers could not be counted; it is tried again'),
    });
  }

  start(): void {
    this.#task.start();
  }

  async stop(): Promise<void> {
    await this.#task.stop();
  }

  async round(): Promise<void> {
    const { database, clock } = this.#options;
    const now = clock.now();
    const since = this.#lookedAt === undefined ? now - firstLook : this.#lookedAt - overlap;
    const rows = await database.sql
      .selectFrom('builds')
      .select('trigger_id')
      .distinct()
      .where('finished_at', '>=', since)
      .where('trigger_id', 'is not', null)
      .where('phase', 'in', ['error', 'internalerror', 'expired'])
      .execute();
    for (const { trigger_id } of rows) if (trigger_id !== null) await this.#count(triggerIdOf(trigger_id));
    this.#lookedAt = now;
  }

  async #count(id: TriggerId): Promise<void> {
    const { database, failureThreshold, internalErrorThreshold } = this.#options;
    const most = Math.max(failureThreshold ?? 0, internalErrorThreshold ?? 0);
    if (most === 0) return;
    const rows = await database.sql
      .selectFrom('builds')
      .innerJoin('triggers', 'triggers.id', 'builds.trigger_id')
      .select('builds.phase')
      .where('builds.trigger_id', '=', id)
      .where('triggers.enabled', '=', 1)
      .whereRef('builds.number', '>', 'triggers.counted_from')
      .where('builds.finished_at', 'is not', null)
      // Strangers can make builds of pull requests fail, and are not to switch anything off.
      .where('builds.request_json', 'not like', '%"untrusted":true%')
      .where('builds.request_json', 'not like', '%"push":false%')
      .orderBy('builds.number', 'desc')
      .limit(Math.min(most * 4, mostBuilds))
      .execute();
    const streak = failureStreak(rows.map(({ phase }) => phase as Phase));
    if (failureThreshold !== undefined && streak.failures >= failureThreshold)
      await this.#disable(id, 'successive_build_failures', streak.failures);
    else if (internalErrorThreshold !== undefined && streak.internalErrors >= internalErrorThreshold)
      await this.#disable(id, 'successive_build_internal_errors', streak.internalErrors);
  }

  async #disable(id: TriggerId, reason: AutomaticReason, count: number): Promise<void> {
    const { database, store, notices, audit, metrics, log } = this.#options;
    const trigger = await database.transaction(async (sql) => {
      const disabled = await store.disable(id, reason, sql);
      if (disabled !== undefined) await notices.add(sql, disabled, messageFor(reason, count));
      return disabled;
    });
    // Somebody else was faster.
    if (trigger === undefined) return;
    metrics.disabled(reason);
    log.warn({ trigger: id, reason, count }, 'a trigger was switched off');
    await audit.write({
      actor: { kind: 'system', name: 'triggers' },
      action: 'trigger.disable',
      target: { kind: 'trigger', name: id, namespace: trigger.repository.namespace },
      result: 'done',
      detail: { repository: formatRepositoryName(trigger.repository), reason, count },
    });
  }
}

function messageFor(reason: AutomaticReason, count: number): string {
  const what =
    reason === 'successive_build_failures'
      ? `its last ${count} builds failed`
      : `its last ${count} builds could not be carried out`;
  return `The build trigger was switched off because ${what}. Look at their logs, and switch it on again.`;
}
