import { HostError } from '../host-error.ts';
import { hostErrorIn, retryAfterOf, statusError, untilReset } from './host-status.ts';

/** An answer that says no, as the requester of gitlab-client.ts throws it. */
export class GitlabRefusal extends Error {
  readonly status: number;
  readonly headers: Headers;
  /** The body, if it was JSON. */
  readonly data: unknown;

  constructor(status: number, headers: Headers, data: unknown) {
    super(`GitLab answered ${status}`);
    this.status = status;
    this.headers = headers;
    this.data = data;
  }
}

/** All that gitbeaker and its requests throw becomes a HostError here. */
export function gitlabError(thrown: unknown, what: string, now: number): HostError {
  const own = hostErrorIn(thrown);
  if (own !== undefined) return own;
  if (!(thrown instanceof GitlabRefusal))
    return new HostError('unexpected', `GitLab gave an answer that cannot be understood when ${what}.`);
  const { status, headers, data } = thrown;
  const retryAfter =
    retryAfterOf(headers.get('retry-after')) ?? untilReset(headers.get('ratelimit-reset'), now);
  return statusError({
    host: 'GitLab',
    status,
    what,
    detail: wordsOf(data),
    ...(retryAfter === undefined ? {} : { retryAfter }),
  });
}

/** `message` is text, a list, or lists by field; OAuth's errors are `error` and `error_description`. */
function wordsOf(data: unknown): string | undefined {
  if (typeof data !== 'object' || data === null) return undefined;
  const { message, error_description: description, error } = data as Readonly<Record<string, unknown>>;
  const words = message ?? description ?? error;
  if (typeof words === 'string') return words;
  return words === undefined ? undefined : JSON.stringify(words);
}
