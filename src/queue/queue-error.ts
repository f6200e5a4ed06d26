import { CodedError } from '../base/coded-error.ts';

/**
 * - queue-full: the namespace has as many waiting builds as it may have
 * - bad-row: a stored row is not what this version wrote
 */
export type QueueErrorCode = 'queue-full' | 'bad-row';

export class QueueError extends CodedError<QueueErrorCode> {}
