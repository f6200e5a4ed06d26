import { type BackOffOptions, backOff } from '../base/back-off.ts';
import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/coded-error.ts';
import { Turns } from '../base/turns.ts';
import { QueueError } from '../queue/queue-error.ts';
import type { BuildDispatch } from './build-dispatch.ts';
import { accountRefusal, type BuilderAccounts } from './builder-accounts.ts';
import type { Full } from './claim-deliveries.ts';
import type { HostConnections } from './connections.ts';
import { judge } from './delivery-judgement.ts';
import type { DeliveryWork } from './delivery-rows.ts';
import { HostError } from './host-error.ts';
import { RecurringTask } from './recurring-task.ts';
import type { SqlDeliveryStore } from './sql-delivery-store.ts';
import type { SqlTriggerStore, TriggerForBuilds } from './sql-trigger-store.ts';
import type { TriggerId } from './trigger.ts';
import type { TriggerLog, TriggerMetrics } from './trigger-events.ts';
import type { DeliveryOutcome } from './triggers.ts';

export interface DeliveryWorkerOptions {
  readonly store: SqlTriggerStore;
  readonly deliveries: SqlDeliveryStore;
  readonly connections: HostConnections;
  readonly accounts: BuilderAccounts;
  readonly dispatch: BuildDispatch;
  readonly clock: Clock;
  readonly metrics: TriggerMetrics;
  readonly log: TriggerLog;
  /** Milliseconds between two looks for deliveries that another manager left; 3,000 unless given. */
  readonly every?: number;
  readonly random?: () => number;
}

/** Deliveries that are taken in one round. */
const most = 64;
/**
 * Refs of one trigger, and of all triggers of one kind of host, that are worked on while more of them are taken: what a host
 * that hangs can keep busy. A round may go over it once.
 */
const mostOfTrigger = 32;
const mostOfService = 256;
/** Milliseconds: when many come, what a round costs is paid by all that came meanwhile, and nobody waits for it. */
const gather = 100;
/** Milliseconds after which a delivery that somebody took is free again. */
const lease = 120_000;
/** Milliseconds for which a host that does not answer is asked again. */
const patience = 15 * 60_000;
/** Milliseconds for which a delivery that was answered with "Okay" waits for room in its namespace. */
const queuePatience = 24 * 3_600_000;
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
  readonly #turns = new Turns();
  /** Lanes that are under way. */
  readonly #lanes = new Set<Lane>();

  constructor(options: DeliveryWorkerOptions) {
    const { clock, log, every = 3_000, random } = options;
    this.#options = options;
    this.#backOff = { first: 2_000, cap: 60_000, ...(random === undefined ? {} : { random }) };
    this.#task = new RecurringTask({
      clock,
      every,
      gather,
      work: async (signal) => (await this.#begin(signal)).length > 0,
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
    await Promise.all([...this.#lanes].map(({ ended }) => ended));
  }

  /** Takes what waits, and makes builds of it. Says whether there may be more. */
  async round(signal: AbortSignal): Promise<boolean> {
    const lanes = await this.#begin(signal);
    await Promise.all(lanes.map(({ ended }) => ended));
    return lanes.length > 0;
  }

  /**
   * Takes what waits, and lets each ref go its way: a host that does not answer holds up nobody who does not ask it. What
   * is behind a ref that is under way is taken when that has ended.
   */
  async #begin(signal: AbortSignal): Promise<readonly Lane[]> {
    const works = await this.#options.deliveries.claim(most, lease, this.#full());
    const triggers = new Map<TriggerId, Promise<TriggerForBuilds | undefined>>();
    for (const { triggerId } of works)
      if (!triggers.has(triggerId)) {
        const found = this.#options.store.findForBuilds(triggerId);
        // Each lane that waits for it is told; there may be none.
        found.catch(() => {});
        triggers.set(triggerId, found);
      }
    return [...Map.groupBy(works, ({ triggerId, ref }) => `${triggerId} ${ref}`).values()].flatMap((each) => {
      const [first] = each;
      if (first === undefined) return [];
      const { triggerId, service } = first;
      const found = triggers.get(triggerId) ?? Promise.resolve(undefined);
      const lane: Lane = { triggerId, service, ended: this.#lane(each, found, signal) };
      this.#lanes.add(lane);
      void lane.ended.then(() => {
        this.#lanes.delete(lane);
        this.#task.wake();
      });
      return [lane];
    });
  }

  /** Of whom nothing more is taken now. */
  #full(): Full {
    const lanes = [...this.#lanes];
    const atLeast = <Key>(groups: Map<Key, unknown[]>, limit: number) =>
      [...groups].filter(([, each]) => each.length >= limit).map(([key]) => key);
    return {
      triggers: atLeast(
        Map.groupBy(lanes, ({ triggerId }) => triggerId),
        mostOfTrigger,
      ),
      services: atLeast(
        Map.groupBy(lanes, ({ service }) => service),
        mostOfService,
      ),
    };
  }

  /**
   * One ref's deliveries, in their order: first each is judged, then builds of all are asked for in one go. When one has to
   * wait, so do those behind it.
   */
  async #lane(
    lane: readonly DeliveryWork[],
    trigger: Promise<TriggerForBuilds | undefined>,
    signal: AbortSignal,
  ): Promise<void> {
    const judged: { readonly work: DeliveryWork; readonly build: () => Promise<Ended> }[] = [];
    let waitUntil: number | undefined;
    for (const work of lane) {
      if (waitUntil !== undefined) await this.#postpone(work, waitUntil, undefined);
      else
        waitUntil = await this.#attempt(work, signal, async () => {
          judged.push({ work, build: await this.#judge(work, await trigger, signal) });
        });
    }
    await Promise.all(
      judged.map(async ({ work, build }) => {
        await this.#attempt(work, signal, async () => await this.#finish(work, await build()));
      }),
    );
  }

  /** A time: it did not succeed, and the delivery waits until then. What will never succeed ends as failed. */
  async #attempt(
    work: DeliveryWork,
    signal: AbortSignal,
    step: () => Promise<void>,
  ): Promise<number | undefined> {
    const { clock, log } = this.#options;
    try {
      if (!signal.aborted) {
        await step();
        return undefined;
      }
    } catch (thrown) {
      if (!signal.aborted) {
        const foreseen = thrown instanceof HostError || thrown instanceof QueueError;
        if (!foreseen) log.error({ err: thrown, delivery: work.id }, 'no build could be made of a delivery');
        const wait = this.#waitAfter(thrown, work);
        const longest = thrown instanceof QueueError ? queuePatience : patience;
        if (wait !== undefined && clock.now() - work.receivedAt + wait <= longest)
          return await this.#postpone(work, clock.now() + wait, messageOf(thrown));
        const reason = foreseen
          ? messageOf(thrown)
          : 'Something in Slipway failed; its log says more. Send the delivery again.';
        // If this cannot be written either, somebody takes the delivery again after its lease.
        await this.#finish(work, { outcome: { kind: 'failed', reason } }).catch((error: unknown) =>
          log.error({ err: error, delivery: work.id }, 'a delivery could not be ended'),
        );
        return undefined;
      }
    }
    // Another manager goes on with it, or this one when it is there again.
    return await this.#postpone(work, clock.now(), undefined);
  }

  async #postpone({ id }: DeliveryWork, until: number, reason: string | undefined): Promise<number> {
    const { deliveries, log } = this.#options;
    await deliveries.postpone(id, until, reason).catch((error: unknown) =>
      // It is free again after its lease.
      log.error({ err: error, delivery: id }, 'a delivery could not be put back'),
    );
    return until;
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

  /** What comes of it: how it ends, or a build that is to be asked for. */
  async #judge(
    work: DeliveryWork,
    found: TriggerForBuilds | undefined,
    signal: AbortSignal,
  ): Promise<() => Promise<Ended>> {
    const { connections, dispatch, deliveries, accounts, clock } = this.#options;
    const ended = (outcome: DeliveryOutcome) => async () => ({ outcome });
    const config = found?.trigger.config;
    if (found === undefined || config === undefined || !found.trigger.enabled)
      return ended({ kind: 'refused', reason: 'The trigger was switched off before a build was made.' });
    const refusal = await accountRefusal(found.trigger, accounts);
    if (refusal !== undefined) return ended({ kind: 'refused', reason: refusal });
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
      return ended({ kind: 'skipped', reason: 'The push was found before its delivery came, and built.' });
    const judgement = await judge(event, { config, client, signal, turns: this.#turns });
    if (judgement.kind === 'skip') return ended({ kind: 'skipped', reason: judgement.reason });
    const { order } = judgement;
    const { commit } = order.metadata;
    return async () => {
      const build = await dispatch.dispatch(found, config, {
        ...order,
        // What comes from a fork pulls nothing in the name of whoever sent it again.
        ...(work.askedBy === undefined || !order.trusted ? {} : { manualUser: work.askedBy }),
        idempotencyKey: `trigger-delivery ${work.id}`,
        traceParent: work.traceParent,
      });
      return {
        outcome: { kind: 'queued', build: build.id },
        ...(client === undefined || commit === undefined ? {} : { commit }),
      };
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

/** One ref's deliveries that were taken together. */
interface Lane {
  readonly triggerId: TriggerId;
  readonly service: string;
  /** Never rejects. */
  readonly ended: Promise<void>;
}

interface Ended {
  readonly outcome: DeliveryOutcome;
  /** The host is told how the build of this commit goes. */
  readonly commit?: string;
}
