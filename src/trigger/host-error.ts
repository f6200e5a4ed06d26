import { CodedError } from '../base/coded-error.ts';

/**
 * - unauthorized: the host does not take the token (any more)
 * - forbidden: the account may not do this
 * - not-found: there is no such thing, or the account may not see it
 * - rate-limited: too many requests; `retryAfter` milliseconds
 * - unavailable: no answer, or a 5xx
 * - unexpected: an answer that cannot be understood
 * - cancelled: the caller's signal fired
 */
export type HostErrorCode =
  | 'unauthorized'
  | 'forbidden'
  | 'not-found'
  | 'rate-limited'
  | 'unavailable'
  | 'unexpected'
  | 'cancelled';

export class HostError extends CodedError<HostErrorCode> {
  readonly retryAfter: number | undefined;
  /** Nobody knows whether the host has taken the request, or will yet. */
  readonly unanswered: boolean;
  /** The host has said no: nothing was done. */
  readonly refused: boolean;

  constructor(
    code: HostErrorCode,
    message: string,
    options: {
      readonly cause?: unknown;
      readonly retryAfter?: number;
      readonly unanswered?: boolean;
      readonly refused?: boolean;
    } = {},
  ) {
    super(code, message, options.cause);
    this.retryAfter = options.retryAfter;
    this.unanswered = options.unanswered ?? false;
    this.refused = options.refused ?? false;
  }
}
