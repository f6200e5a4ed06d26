import { cutText } from '../base/cut-text.ts';
import { unreachable } from '../base/unreachable.ts';
import type { Row } from '../db/schema.ts';
import type { StoredEvent } from './stored-event.ts';
import { type DeliveryId, parseDeliveryId, type TriggerId } from './trigger.ts';
import { known, triggerIdOf } from './trigger-rows.ts';
import type { Delivery, DeliveryOutcome } from './triggers.ts';

/** A delivery that somebody is to make a build of. */
export interface DeliveryWork {
  readonly id: DeliveryId;
  readonly triggerId: TriggerId;
  readonly by: Delivery['by'];
  readonly receivedAt: number;
  readonly ref: string;
  readonly event: StoredEvent;
  /** Who sent it again. */
  readonly askedBy?: string;
  readonly traceParent?: string;
  /** Counted from 1. */
  readonly tries: number;
}

type DeliveryRow = Row<'trigger_deliveries'>;

export function deliveryOf(row: DeliveryRow): Delivery {
  return {
    id: deliveryIdOf(row.id),
    triggerId: triggerIdOf(row.trigger_id),
    receivedAt: row.received_at,
    by: cameBy(row.came_by),
    ...(row.name === null ? {} : { name: row.name }),
    ...(row.event === null ? {} : { event: row.event }),
    ...(row.ref === '' ? {} : { ref: row.ref }),
    ...(row.commit_sha === null ? {} : { commit: row.commit_sha }),
    repeats: row.repeats,
    outcome: outcomeOf(row),
    ...(row.redelivery_of === null ? {} : { redeliveryOf: deliveryIdOf(row.redelivery_of) }),
  };
}

export function workOf(row: DeliveryRow): DeliveryWork {
  return {
    id: deliveryIdOf(row.id),
    triggerId: triggerIdOf(row.trigger_id),
    by: cameBy(row.came_by),
    receivedAt: row.received_at,
    ref: row.ref,
    event: JSON.parse(
      known(row.event_json ?? undefined, 'trigger_deliveries.event_json', 'null'),
    ) as StoredEvent,
    ...(row.asked_by === null ? {} : { askedBy: row.asked_by }),
    ...(row.trace_parent === null ? {} : { traceParent: row.trace_parent }),
    tries: row.tries,
  };
}

/** Of a reason that is kept. */
export const longestReason = 2_000;

/** The columns that say how a delivery ended. */
export function outcomeColumns(outcome: DeliveryOutcome): {
  readonly outcome: string;
  readonly reason: string | null;
  readonly build_id: string | null;
} {
  switch (outcome.kind) {
    case 'waiting':
      return { outcome: 'waiting', reason: null, build_id: null };
    case 'queued':
      return { outcome: 'queued', reason: null, build_id: outcome.build };
    case 'skipped':
    case 'refused':
    case 'failed':
      return { outcome: outcome.kind, reason: cutText(outcome.reason, longestReason), build_id: null };
    default:
      return unreachable(outcome);
  }
}

function outcomeOf({ outcome, reason, build_id }: DeliveryRow): DeliveryOutcome {
  switch (outcome) {
    case 'queued':
      return { kind: 'queued', build: build_id ?? '' };
    case 'skipped':
    case 'refused':
    case 'failed':
      return { kind: outcome, reason: reason ?? '' };
    case 'waiting':
      return { kind: 'waiting' };
    default:
      return known<DeliveryOutcome>(undefined, 'trigger_deliveries.outcome', outcome);
  }
}

export function deliveryIdOf(text: string): DeliveryId {
  return known(parseDeliveryId(text), 'trigger_deliveries.id', text);
}

function cameBy(text: string): Delivery['by'] {
  const ways = ['hook', 'poll', 'cron', 'person'] as const;
  return known(
    ways.find((each) => each === text),
    'trigger_deliveries.came_by',
    text,
  );
}
