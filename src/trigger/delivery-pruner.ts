import type { Clock } from '../base/clock.ts';
import { RecurringTask } from './recurring-task.ts';
import type { SqlDeliveryStore } from './sql-delivery-store.ts';
import type { TriggerLog } from './trigger-events.ts';

const every = 30 * 60_000;

/** Removes old deliveries, from `start` to `stop`. */
export class DeliveryPruner {
  readonly #task: RecurringTask;

  constructor({
    deliveries,
    clock,
    log,
  }: {
    readonly deliveries: SqlDeliveryStore;
    readonly clock: Clock;
    readonly log: TriggerLog;
  }) {
    this.#task = new RecurringTask({
      clock,
      every,
      work: async (signal) => {
        await deliveries.prune(signal);
        return false;
      },
      onError: (thrown) =>
        log.error({ err: thrown }, 'old deliveries could not be removed; it is tried again'),
    });
  }

  start(): void {
    this.#task.start();
  }

  async stop(): Promise<void> {
    await this.#task.stop();
  }
}
