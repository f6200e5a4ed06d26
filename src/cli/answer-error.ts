import { CodedError, messageOf } from '../base/coded-error.ts';
import { CliError } from './cli-error.ts';
import { harmless } from './harmless-text.ts';

/** What `fetch` threw, or a body that broke off, as the error a person reads. An error of our own stays what it is. */
export function connectionError(server: string, thrown: unknown): Error {
  const inner = thrown instanceof Error && thrown.cause !== undefined ? thrown.cause : thrown;
  // A body we send can fail by itself: a file of the build context that cannot be read, say.
  if (thrown instanceof CodedError) return thrown;
  if (inner instanceof CodedError) return inner;
  return new CliError(
    'unreachable',
    `Cannot reach ${server}: ${reasonOf(inner)}. Is it running? Start one with: slipway up`,
    { cause: thrown },
  );
}

function reasonOf(thrown: unknown): string {
  // Several addresses were tried: Node's message is empty then.
  if (thrown instanceof AggregateError) return [...new Set(thrown.errors.map(messageOf))].join('; ');
  return messageOf(thrown);
}

/** An answer that is not 2xx. Slipway's own errors say what to do; of a proxy in between only the status is told. */
export async function answerError(server: string, response: Response): Promise<CliError> {
  const { status } = response;
  const told = messageIn(await response.text().catch(() => ''));
  const message =
    told ?? `${server} answered ${status}${response.statusText ? ` ${response.statusText}` : ''}`;
  if (status === 401)
    return new CliError('not-logged-in', sentence(message, `Run: slipway login --server ${server}`), {
      status,
    });
  const retryAfter = response.headers.get('retry-after');
  if (status === 429 && retryAfter !== null && /^\d+$/.test(retryAfter))
    return new CliError('refused', sentence(message, `Try again in ${retryAfter} s.`), { status });
  if (status >= 500 && told === undefined)
    return new CliError('server-failed', `${message}. Look into the log of the server.`, { status });
  return new CliError(status >= 500 ? 'server-failed' : 'refused', message, { status });
}

function sentence(text: string, next: string): string {
  return `${text}${/[.!?]$/.test(text) ? '' : '.'} ${next}`;
}

function messageIn(text: string): string | undefined {
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body !== 'object' || body === null) return undefined;
    const { error_message, detail, message } = body as Record<string, unknown>;
    const found = [error_message, detail, message].find((field) => typeof field === 'string' && field !== '');
    return found === undefined ? undefined : harmless(String(found), false);
  } catch {
    return undefined;
  }
}
