import { messageOf } from '../base/coded-error.ts';
import { LoginError } from './login-error.ts';

/** No answer of a provider is nearly as large. Bytes. */
const largestAnswer = 1024 * 1024;
const defaultTimeout = 10_000;

export interface ProviderRequest {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | URLSearchParams;
  readonly signal: AbortSignal;
}

/** A request to a provider's address, which an administrator configured. Follows no redirect. */
export type ProviderFetch = (url: string, request: ProviderRequest) => Promise<Response>;

/** The answer is read whole, within bounds of size and time. Throws LoginError `unreachable`. */
export function providerFetch({ timeout = defaultTimeout } = {}): ProviderFetch {
  return async (url, { signal, ...request }) => {
    const patience = AbortSignal.any([signal, AbortSignal.timeout(timeout)]);
    try {
      const response = await fetch(url, { ...request, redirect: 'manual', signal: patience });
      const text = await boundedText(response);
      const { status, statusText, headers } = response;
      const empty = status === 204 || status === 304;
      return new Response(empty ? null : text, { status, statusText, headers: new Headers(headers) });
    } catch (thrown) {
      if (thrown instanceof LoginError) throw thrown;
      signal.throwIfAborted();
      throw unreachableProvider(`${new URL(url).origin}: ${whyNot(thrown)}`);
    }
  };
}

export function unreachableProvider(detail: string): LoginError {
  return new LoginError(
    'unreachable',
    'The login service does not answer at this moment. Try again later, or sign in another way.',
    detail,
  );
}

export function badAnswer(detail: string): LoginError {
  return new LoginError(
    'bad-answer',
    'The login service answered something that cannot be trusted, so you are not signed in. Try again; if it stays, tell an administrator.',
    detail,
  );
}

export function refusedByProvider(detail: string): LoginError {
  return new LoginError(
    'refused',
    'The login service did not accept this login. Begin again; if it stays, tell an administrator.',
    detail,
  );
}

/** The JSON of an answer, or what is wrong as a LoginError. */
export async function jsonOf(response: Response, what: string): Promise<unknown> {
  const { status } = response;
  if (status >= 500 || status === 429) throw unreachableProvider(`${what}: HTTP ${status}`);
  if (status < 200 || status >= 300) throw refusedByProvider(`${what}: HTTP ${status}`);
  try {
    return await response.json();
  } catch {
    throw badAnswer(`${what}: not JSON`);
  }
}

async function boundedText(response: Response): Promise<string> {
  if (response.body === null) return '';
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body as AsyncIterable<Uint8Array>) {
    size += part.byteLength;
    if (size > largestAnswer) throw badAnswer(`an answer of more than ${largestAnswer} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** The words of fetch's error are of no use without its cause's. */
function whyNot(thrown: unknown): string {
  const cause = thrown instanceof Error && thrown.cause !== undefined ? `: ${messageOf(thrown.cause)}` : '';
  return `${messageOf(thrown)}${cause}`;
}
