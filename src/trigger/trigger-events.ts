import type { DeliveryOutcome } from './triggers.ts';

/** What is counted. Labels are from closed sets. */
export interface TriggerMetrics {
  delivered(outcome: DeliveryOutcome['kind'] | 'repeated' | 'forbidden'): void;
  /** A build that is new in the queue. */
  queued(): void;
  statusSent(result: 'sent' | 'failed' | 'dropped'): void;
  disabled(reason: string): void;
}

/** Where faults go that nobody waits for. */
export interface TriggerLog {
  info(detail: object, message: string): void;
  warn(detail: object, message: string): void;
  error(detail: object, message: string): void;
}
