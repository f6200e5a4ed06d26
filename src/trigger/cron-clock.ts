import type { Clock } from '../base/clock.ts';
import { SqlError, type SqlErrorCode } from '../db/sql-error.ts';
import { dueEntries, nextDue } from './cron-schedule.ts';
import type { DueTriggers } from './due-triggers.ts';
import { RecurringTask } from './recurring-task.ts';
import type { SqlDeliveryStore } from './sql-delivery-store.ts';
import type { Trigger } from './trigger.ts';
import type { TriggerLog, TriggerMetrics } from './trigger-events.ts';

export interface CronClockOptions {
  readonly due: DueTriggers;
  readonly deliveries: SqlDeliveryStore;
  readonly clock: Clock;
  readonly metrics: TriggerMetrics;
  readonly log: TriggerLog;
  readonly onWaiting: () => void;
  /** Milliseconds between two looks; 10,000 unless given. */
  readonly every?: number;
}

const most = 100;
/** Faults of the database and not of what is written. */
const passing: ReadonlySet<SqlErrorCode> = new Set([
  'serialization',
  'disk-full',
  'unavailable',
  'corrupt',
  'newer-schema',
  'refused',
]);

/**
 * Makes a delivery when a cron entry is due. Every manager looks; the delivery's key is the entry and its minute, so there is
 * one however many see it. What came due while no manager was there is made up for once.
 */
export class CronClock {
  readonly #options: CronClockOptions;
  readonly #task: RecurringTask;

  constructor(options: CronClockOptions) {
    const { clock, log, every = 10_000 } = options;
    this.#options = options;
    this.#task = new RecurringTask({
      clock,
      every,
      work: async () => await this.round(),
      onError: (thrown) =>
        log.error({ err: thrown }, 'cron entries could not be looked at; it is tried again'),
    });
  }

  start(): void {
    this.#task.start();
  }

  async stop(): Promise<void> {
    await this.#task.stop();
  }

  /** Says whether there may be more. */
  async round(): Promise<boolean> {
    const { due, clock, onWaiting } = this.#options;
    const now = clock.now();
    const found = await due.byCron(now, most);
    for (const { trigger, cronAt } of found) {
      try {
        await this.#strike(trigger, cronAt, now);
      } catch (thrown) {
        // A database that is away is so for all of them, and nothing is lost: they are due until it is there again.
        if (thrown instanceof SqlError && passing.has(thrown.code)) throw thrown;
        await this.#giveUp(trigger, cronAt, thrown);
      }
      await due.moveCron(trigger.id, cronAt, nextDue(trigger.config?.cron, now));
    }
    if (found.length > 0) onWaiting();
    return found.length === most;
  }

  /** What cannot be carried out keeps no other trigger from its time; this one's list says it. */
  async #giveUp(trigger: Trigger, cronAt: number, thrown: unknown): Promise<void> {
    const { deliveries, log, metrics } = this.#options;
    log.error(
      { err: thrown, trigger: trigger.id },
      'a cron entry of a build trigger could not be carried out',
    );
    const stored = await deliveries.store({
      triggerId: trigger.id,
      by: 'cron',
      key: `cron failed ${cronAt}`,
      mayRecur: false,
      eventName: 'cron',
      outcome: {
        kind: 'failed',
        reason:
          'The cron entries of this trigger could not be carried out; the log of the server says why. Save its configuration again, with other names of branches if they are unusual.',
      },
    });
    if (stored !== undefined && !stored.repeated) metrics.delivered('failed');
  }

  async #strike(trigger: Trigger, cronAt: number, now: number): Promise<void> {
    const { deliveries, metrics } = this.#options;
    for (const { entry, at } of dueEntries(trigger.config?.cron, cronAt - 1, now)) {
      const stored = await deliveries.store({
        triggerId: trigger.id,
        by: 'cron',
        key: `cron ${entry.schedule} ${entry.branch ?? ''} ${at}`,
        mayRecur: false,
        eventName: entry.schedule,
        ...(entry.branch === undefined ? {} : { ref: `refs/heads/${entry.branch}` }),
        event: { kind: 'head', ...(entry.branch === undefined ? {} : { branch: entry.branch }) },
        outcome: { kind: 'waiting' },
      });
      if (stored !== undefined && !stored.repeated) metrics.delivered('waiting');
    }
  }
}
