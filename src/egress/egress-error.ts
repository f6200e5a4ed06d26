import { CodedError } from '../base/coded-error.ts';

/**
 * | code        | meaning                                                              | worth a retry |
 * |-------------|----------------------------------------------------------------------|---------------|
 * | bad-url     | not a URL, wrong scheme, credentials in it                            | no            |
 * | forbidden   | the host resolves to an address that is not allowed                   | no            |
 * | unresolved  | the name has no address                                               | yes           |
 * | unreachable | refused, reset, timed out while connecting, TLS failure               | yes           |
 * | status      | the server answered with a status the caller does not take            | see `status`  |
 * | redirects   | more than the allowed redirects, or one that may not be followed      | no            |
 * | too-large   | more bytes than allowed                                               | no            |
 * | too-slow    | longer than allowed                                                   | yes           |
 * | truncated   | the connection ended before the announced length                      | yes           |
 * | cancelled   | the caller's signal fired                                             | no            |
 */
export type EgressErrorCode =
  | 'bad-url'
  | 'forbidden'
  | 'unresolved'
  | 'unreachable'
  | 'status'
  | 'redirects'
  | 'too-large'
  | 'too-slow'
  | 'truncated'
  | 'cancelled';

/** What went wrong with a request to a URL that a user gave. Messages hold redacted URLs only. */
export class EgressError extends CodedError<EgressErrorCode> {
  /** The HTTP status, for code `status`. */
  readonly status: number | undefined;

  constructor(code: EgressErrorCode, message: string, cause?: unknown, status?: number) {
    super(code, message, cause);
    this.status = status;
  }
}
