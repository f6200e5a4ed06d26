import { CodedError } from '../base/coded-error.ts';

/**
 * - at-capacity: no room now; costs no try, try again later
 * - refused: this executor will not run this order, however long it waits (namespace, platform, tries)
 * - start-failed: it tried and could not; the next executor is asked
 * - misconfigured: its configuration is wrong
 * - unavailable: what it runs workers on does not answer
 * - circuit-open: its starts failed one after another, and it is left alone for a while
 */
export type ExecutorErrorCode =
  | 'at-capacity'
  | 'refused'
  | 'start-failed'
  | 'misconfigured'
  | 'unavailable'
  | 'circuit-open';

export class ExecutorError extends CodedError<ExecutorErrorCode> {}
