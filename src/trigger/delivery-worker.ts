import { type BackOffOptions, backOff } from '../base/back-off.ts';
import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/coded-error.ts';
import { QueueError } from '../queue/queue-error.ts';
import type { BuildDispatch } from './build-dispatch.ts';
import type { HostConnections } from './connections.ts';
import { judge } from './delivery-judgement.ts';
import type { DeliveryWork } from './delivery-rows.ts';
import { HostError } from './host-error.ts';
import { RecurringTask } from './recurring-task.ts';
import type { SqlDeliveryStore } from './sql-delivery-store.ts';
import type { SqlTriggerStore } from './sql-trigger-store.ts';
import type { TriggerLog, TriggerMetrics } from './trigger-events.ts';
import type { DeliveryOutcome } from './triggers.ts';

export interface DeliveryWorkerOptions {
  readonly store: SqlTriggerStore;
  readonly deliveries: SqlDeliveryStore;
  readonly connections: HostConnections;
  readonly dispatch: BuildDispatch;
  readonly clock: Clock;
  readonly metrics: TriggerMetrics;
  readonly log: TriggerLog;
  /** Milliseconds between two looks for deliveries that another manager left; 3,000 unless given. */
  readonly every?: number;
  readonly random?: () => number;
}

/** Deliveries that are worked on at once. */
const most = 64;
/** Milliseconds after which a delivery that somebody took is free again. */
const lease = 120_000;
/** Milliseconds for which a host that does not answer is asked again. */
const patience = 15 * 60_000;
const longestWait = 5 * 60_000;
/** A delivery that came by the hook was found missing before, by a look at the source at most so long ago. */
const foundWithin = 3_600_000;

/**
 * Makes builds of deliveries, after they were answered. Every manager has one; a delivery is worked on by whoever takes it,
 * and by another one when that dies. The build's key is the delivery, so doing it twice makes one build.
 */
export class DeliveryWorker {
  readonly #options: DeliveryWorkerOptions;
  readonly #task: RecurringTask;
  readonly #backOff: BackOffOptions;

  constructor(options: DeliveryWorkerOptions) {
    const { clock, log, every = 3_000, random } = options;
    this.#options = options;
    this.#backOff = { first: 2_000, cap: 60_000, ...(random === undefined ? {} : { random }) };
    this.#task = new RecurringTask({
      clock,
      every,
      work: async (signal) => await this.round(signal),
      onError: (thrown) => log.error({ err: thrown }, 'deliveries could not be taken; it is tried again'),
    });
  }

  start(): void {
    this.#task.start();
  }

  wake(): void {
    this.#task.wake();
  }

  async stop(): Promise<void> {
    await this.#task.stop();
  }

  /** Takes what waits, and makes builds of it. Says whether there may be more. */
  async round(signal: AbortSignal): Promise<boolean> {
    const works = await this.#options.deliveries.claim(most, lease);
    const lanes = Map.groupBy(works, ({ triggerId, ref }) => `${triggerId} ${ref}`);
    await Promise.all([...lanes.values()].map(async (lane) => await this.#lane(lane, signal)));
    return works.length > 0;
  }

  /** One ref's deliveries, in their order. When one has to wait, so do those behind it. */
  async #lane(lane: readonly DeliveryWork[], signal: AbortSignal): Promise<void> {
    const { deliveries, log, clock } = this.#options;
    let waitUntil: number | undefined;
    for (const work of lane) {
      try {
        if (waitUntil === undefined && !signal.aborted) waitUntil = await this.#one(work, signal);
        else await deliveries.postpone(work.id, waitUntil ?? clock.now(), undefined);
      } catch (thrown) {
        // It is free again after its lease, if this cannot be written either.
        log.error({ err: thrown, delivery: work.id }, 'a delivery could not be finished; it is tried again');
        waitUntil = clock.now() + backOff(work.tries, this.#backOff);
        await deliveries.postpone(work.id, waitUntil, undefined).catch(() => {});
      }
    }
  }

  /** A time: the delivery waits until then. */
  async #one(work: DeliveryWork, signal: AbortSignal): Promise<number | undefined> {
    const { deliveries, clock } = this.#options;
    try {
      await this.#finish(work, await this.#build(work, signal));
      return undefined;
    } catch (thrown) {
      if (signal.aborted) {
        // Another manager goes on with it, or this one when it is there again.
        await deliveries.postpone(work.id, clock.now(), undefined);
        return clock.now();
      }
      const wait = this.#waitAfter(thrown, work);
      if (wait !== undefined && clock.now() - work.receivedAt + wait <= patience) {
        await deliveries.postpone(work.id, clock.now() + wait, messageOf(thrown));
        return clock.now() + wait;
      }
      if (!(thrown instanceof HostError || thrown instanceof QueueError) && wait === undefined) throw thrown;
      await this.#finish(work, { outcome: { kind: 'failed', reason: messageOf(thrown) } });
      return undefined;
    }
  }

  /** Undefined: another try is of no use. */
  #waitAfter(thrown: unknown, { tries }: DeliveryWork): number | undefined {
    const usual = backOff(tries - 1, this.#backOff);
    if (thrown instanceof QueueError) return thrown.code === 'queue-full' ? usual : undefined;
    if (!(thrown instanceof HostError)) return usual;
    switch (thrown.code) {
      case 'rate-limited':
        return Math.min(Math.max(thrown.retryAfter ?? usual, usual), longestWait);
      case 'unavailable':
      case 'cancelled':
        return usual;
      default:
        return undefined;
    }
  }

  async #build(work: DeliveryWork, signal: AbortSignal): Promise<Ended> {
    const { store, connections, dispatch, deliveries, clock } = this.#options;
    const found = await store.findWithSecrets(work.triggerId);
    const config = found?.trigger.config;
    if (found === undefined || config === undefined || !found.trigger.enabled)
      return {
        outcome: { kind: 'refused', reason: 'The trigger was switched off before a build was made.' },
      };
    const client = connections.client(found);
    const { event } = work;
    if (
      work.by === 'hook' &&
      client !== undefined &&
      event.kind === 'push' &&
      (await deliveries.foundBefore(
        work.triggerId,
        work.ref,
        event.metadata.commit,
        clock.now() - foundWithin,
      ))
    )
      return {
        outcome: { kind: 'skipped', reason: 'The push was found before its delivery came, and built.' },
      };
    const judgement = await judge(event, { config, client, signal });
    if (judgement.kind === 'skip') return { outcome: { kind: 'skipped', reason: judgement.reason } };
    const { order } = judgement;
    const build = await dispatch.dispatch(found, config, {
      ...order,
      // What comes from a fork pulls nothing in the name of whoever sent it again.
      ...(work.askedBy === undefined || !order.trusted ? {} : { manualUser: work.askedBy }),
      idempotencyKey: `trigger-delivery ${work.id}`,
      traceParent: work.traceParent,
    });
    const { commit } = order.metadata;
    return {
      outcome: { kind: 'queued', build: build.id },
      ...(client === undefined || commit === undefined ? {} : { commit }),
    };
  }

  async #finish(work: DeliveryWork, { outcome, commit }: Ended): Promise<void> {
    const { deliveries, metrics } = this.#options;
    await deliveries.finish({
      id: work.id,
      outcome,
      ...(commit === undefined || outcome.kind !== 'queued'
        ? {}
        : { report: { triggerId: work.triggerId, build: outcome.build, commit } }),
    });
    metrics.delivered(outcome.kind);
  }
}

interface Ended {
  readonly outcome: DeliveryOutcome;
  /** The host is told how the build of this commit goes. */
  readonly commit?: string;
}
