import type { StoredEvent } from './stored-event.ts';
import type { DeliveryId, TriggerId } from './trigger.ts';
import type { Delivery, DeliveryOutcome } from './triggers.ts';

/** What the key of a delivery begins with that is known by the SHA-256 of its body, which follows. */
export const bodyKey = 'body ';

/** A delivery that is to be kept. */
export interface NewDelivery {
  readonly triggerId: TriggerId;
  readonly by: Delivery['by'];
  /** The same key is the same delivery: it is counted, and changes nothing. */
  readonly key: string;
  /**
   * SHA-256 of a body that is new once only, however long ago that was; see `SqlDeliveryStore.prune` for what is remembered.
   */
  readonly onceDigest?: string;
  /** The same name is the same delivery too. */
  readonly name?: string;
  /**
   * When the same key may come again and mean something new: once another commit was delivered for the ref (`elsewhere`),
   * or a day has passed as well (`or-a-day`). Who pushes a branch back to where it was sends the same body again; only
   * GitHub's has the time in it.
   */
  readonly mayRecur: false | 'elsewhere' | 'or-a-day';
  readonly eventName?: string;
  readonly ref?: string;
  readonly commit?: string;
  /** What is to be built, or was and a person may ask for it again; never absent while it waits. */
  readonly event?: StoredEvent;
  readonly outcome: DeliveryOutcome;
  readonly redeliveryOf?: DeliveryId;
  readonly askedBy?: string;
  readonly traceParent?: string;
}

export interface StoredDelivery {
  /** Absent: it came so long ago that nothing else is known of it. */
  readonly id?: DeliveryId;
  /** It was there before. */
  readonly repeated: boolean;
}
