import { redactUrlsIn } from '../../model/redact-url.ts';
import { HostError, type HostErrorCode } from '../host-error.ts';

/** What a status means at every host; where one means something else, its own translation says so. */
export function codeOfStatus(status: number): HostErrorCode {
  if (status === 401) return 'unauthorized';
  if (status === 403) return 'forbidden';
  if (status === 404 || status === 410) return 'not-found';
  if (status === 429) return 'rate-limited';
  if (status === 408 || status >= 500) return 'unavailable';
  return 'unexpected';
}

const advice: Readonly<Record<HostErrorCode, string>> = {
  unauthorized: 'Connect the account again.',
  forbidden: 'Connect an account that may do this.',
  'not-found': 'Check the name, and whether the account may see it.',
  'rate-limited': 'Try again later.',
  unavailable: 'Try again later.',
  unexpected: 'Check what is configured for the host.',
  cancelled: '',
};

const shortest = 1000;
const longest = 3600_000;

/**
 * The error of an answer. It has no cause: what the clients' libraries throw has the request in it, with the secret of a
 * webhook.
 */
export function statusError(failure: {
  readonly host: string;
  readonly status: number;
  /** What was tried: "installing the webhook at acme/web". */
  readonly what: string;
  /** In the words of the host. */
  readonly detail: string | undefined;
  readonly code?: HostErrorCode;
  readonly retryAfter?: number;
}): HostError {
  const code = failure.code ?? codeOfStatus(failure.status);
  const detail = failure.detail === undefined ? '' : tame(failure.detail);
  const message = `${failure.host} answered ${failure.status} when ${failure.what}${detail === '' ? '' : ` (${detail})`}. ${advice[code]}`;
  // 408 is said also by what stands between.
  const refused = failure.status >= 400 && failure.status < 500 && failure.status !== 408;
  if (code !== 'rate-limited') return new HostError(code, message, { refused });
  const wait = failure.retryAfter ?? 60_000;
  return new HostError(code, message, { refused, retryAfter: Math.min(Math.max(wait, shortest), longest) });
}

/** A host's words may repeat what was sent to it, and are anybody's words. */
function tame(text: string): string {
  return redactUrlsIn(text.slice(0, 1000))
    .replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ')
    .trim()
    .slice(0, 200)
    .toWellFormed()
    .replace(/[.\s]+$/, '');
}

/** Milliseconds of a `Retry-After` header in seconds. */
export function retryAfterOf(header: string | null | undefined): number | undefined {
  return header !== null && header !== undefined && /^\d{1,9}$/.test(header)
    ? Number(header) * 1000
    : undefined;
}

/** Milliseconds until a header's time in seconds since 1970. */
export function untilReset(header: string | null | undefined, now: number): number | undefined {
  return header !== null && header !== undefined && /^\d{1,12}$/.test(header)
    ? Number(header) * 1000 - now
    : undefined;
}

/** The first HostError in a chain of causes: libraries wrap what `fetch` throws. */
export function hostErrorIn(thrown: unknown): HostError | undefined {
  for (let at = thrown, depth = 0; at instanceof Error && depth < 10; at = at.cause, depth++)
    if (at instanceof HostError) return at;
  return undefined;
}
