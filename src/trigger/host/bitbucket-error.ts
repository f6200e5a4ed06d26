import { HostError } from '../host-error.ts';
import { hostErrorIn, retryAfterOf, statusError } from './host-status.ts';

/** An answer that says no. */
export class BitbucketRefusal extends Error {
  readonly status: number;
  readonly headers: Headers;
  /** The body, if it was JSON. */
  readonly data: unknown;

  constructor(status: number, headers: Headers, data: unknown) {
    super(`Bitbucket answered ${status}`);
    this.status = status;
    this.headers = headers;
    this.data = data;
  }
}

/** All that requests to Bitbucket throw becomes a HostError here. */
export function bitbucketError(thrown: unknown, what: string): HostError {
  const own = hostErrorIn(thrown);
  if (own !== undefined) return own;
  if (!(thrown instanceof BitbucketRefusal))
    return new HostError('unexpected', `Bitbucket gave an answer that cannot be understood when ${what}.`);
  const { status, headers, data } = thrown;
  // Its limits are counted by the hour, and it does not always say when the next one begins.
  const retryAfter = retryAfterOf(headers.get('retry-after'));
  return statusError({
    host: 'Bitbucket',
    status,
    what,
    detail: wordsOf(data),
    ...(retryAfter === undefined ? {} : { retryAfter }),
  });
}

/** `{ type: "error", error: { message, detail } }` */
function wordsOf(data: unknown): string | undefined {
  if (typeof data !== 'object' || data === null || !('error' in data)) return undefined;
  const { error } = data;
  if (typeof error === 'string') return error;
  if (typeof error !== 'object' || error === null || !('message' in error)) return undefined;
  return typeof error.message === 'string' ? error.message : undefined;
}
