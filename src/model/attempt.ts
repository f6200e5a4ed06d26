import { unreachable } from '../base/unreachable.ts';
import type { Digest } from './digest.ts';
import type { Fault, FaultOwner } from './fault.ts';

/**
 * One try at one job, by one worker. A retry is a new attempt with the next epoch.
 *
 * | state      | meaning                                    | may become                          |
 * |------------|--------------------------------------------|-------------------------------------|
 * | queued     | waits in the queue from `availableAt` on   | scheduled, done                     |
 * | scheduled  | a manager claimed it and starts a worker   | registered, queued (see below), done|
 * | registered | the worker has its build pack              | unpacking … pushing, done           |
 * | unpacking  | fetches and unpacks the source             | pulling … pushing, done             |
 * | pulling    | pulls base images and cache                | building, pushing, done             |
 * | building   | runs the steps                             | pushing, done                       |
 * | pushing    | pushes the image                           | done                                |
 * | done       | has its outcome; never changes             | –                                   |
 *
 * Forwards only; stages may be skipped. The one way back is scheduled → queued, when no worker was started and so
 * nobody holds a token of this epoch (no executor had room): that costs no try and keeps the epoch.
 */
export const attemptStates = [
  'queued',
  'scheduled',
  'registered',
  'unpacking',
  'pulling',
  'building',
  'pushing',
  'done',
] as const;

export type AttemptState = (typeof attemptStates)[number];

/** The states a worker moves an attempt through itself. */
export const workerStages = ['unpacking', 'pulling', 'building', 'pushing'] as const;
export type WorkerStage = (typeof workerStages)[number];

export interface PushedImage {
  readonly digest: Digest;
  /** Bytes, compressed: config and layers. 0 when the worker did not say. */
  readonly size: number;
}

/** How an attempt ended. */
export type Outcome =
  | { readonly kind: 'complete'; readonly image?: PushedImage }
  | { readonly kind: 'error'; readonly fault: Fault }
  | { readonly kind: 'internal-error'; readonly fault: Fault; readonly refunded: boolean }
  | { readonly kind: 'cancelled'; readonly by: string }
  | { readonly kind: 'expired'; readonly at: AttemptState; readonly fault: Fault };

/** What a stage report does to an attempt that is in `from`. */
export type StageVerdict = 'moves' | 'same' | 'late';

/** `late`: the report is behind what is already known, so it is answered and ignored. */
export function judgeStage(from: AttemptState, to: AttemptState): StageVerdict {
  if (from === to) return 'same';
  return attemptStates.indexOf(to) > attemptStates.indexOf(from) && from !== 'done' ? 'moves' : 'late';
}

export function isRunning(state: AttemptState): boolean {
  return state !== 'queued' && state !== 'done';
}

/** What becomes of the job after an attempt ended so. */
export type AfterAttempt = 'finished' | 'retry-try-used' | 'retry-try-kept';

export function afterAttempt(outcome: Outcome): AfterAttempt {
  switch (outcome.kind) {
    case 'complete':
    case 'error':
    case 'cancelled':
      return 'finished';
    case 'internal-error':
      return outcome.refunded ? 'retry-try-kept' : 'retry-try-used';
    case 'expired':
      return 'retry-try-used';
    default:
      return unreachable(outcome);
  }
}

/** The outcome of a fault, by whose it is. */
export function outcomeOfFault(fault: Fault, owner: FaultOwner): Outcome {
  switch (owner) {
    case 'user':
      return { kind: 'error', fault };
    case 'slipway':
      return { kind: 'internal-error', fault, refunded: true };
    case 'infrastructure':
      return { kind: 'internal-error', fault, refunded: false };
    default:
      return unreachable(owner);
  }
}
