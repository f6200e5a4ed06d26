import { HostError } from '../host-error.ts';
import { hostErrorIn, retryAfterOf, statusError, untilReset } from './host-status.ts';

/** What octokit throws, as far as it is looked at. */
interface RequestFailure {
  readonly status: number;
  readonly response?: {
    readonly headers: Readonly<Record<string, string | number | undefined>>;
    readonly data: unknown;
  };
}

function isRequestFailure(thrown: unknown): thrown is Error & RequestFailure {
  return thrown instanceof Error && 'status' in thrown && typeof thrown.status === 'number';
}

/** All that octokit throws becomes a HostError here. */
export function githubError(thrown: unknown, what: string, now: number): HostError {
  const own = hostErrorIn(thrown);
  if (own !== undefined) return own;
  if (!isRequestFailure(thrown) || thrown.response === undefined)
    return new HostError('unexpected', `GitHub gave an answer that cannot be understood when ${what}.`);
  const { status, response } = thrown;
  const { headers } = response;
  const detail = wordsOf(response.data);
  const header = (name: string) => (headers[name] === undefined ? undefined : String(headers[name]));
  // A limit is told by 403 or 429: of an hour by the headers, of a short time by Retry-After or by words alone.
  const limited =
    status === 429 ||
    (status === 403 &&
      (header('x-ratelimit-remaining') === '0' ||
        header('retry-after') !== undefined ||
        /rate limit/i.test(detail ?? '')));
  if (!limited) return statusError({ host: 'GitHub', status, what, detail });
  const used = header('x-ratelimit-remaining') === '0';
  const retryAfter =
    retryAfterOf(header('retry-after')) ?? (used ? untilReset(header('x-ratelimit-reset'), now) : undefined);
  return statusError({
    host: 'GitHub',
    status,
    what,
    detail,
    code: 'rate-limited',
    ...(retryAfter === undefined ? {} : { retryAfter }),
  });
}

function wordsOf(data: unknown): string | undefined {
  if (typeof data !== 'object' || data === null || !('message' in data)) return undefined;
  const errors: unknown = 'errors' in data ? data.errors : undefined;
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  const more =
    typeof first === 'object' && first !== null && 'message' in first && typeof first.message === 'string'
      ? `: ${first.message}`
      : '';
  return typeof data.message === 'string' ? `${data.message}${more}` : undefined;
}
