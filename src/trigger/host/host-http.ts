import { messageOf } from '../../base/coded-error.ts';
import { redactUrl } from '../../model/redact-url.ts';
import { HostError } from '../host-error.ts';

export interface HostRequest {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

const maxRedirects = 5;

/**
 * Requests to one host that the operator configured: a time limit, a bounded answer that is read to its end, and
 * redirects within the host only, because a token goes along. Throws HostError `unavailable`, `unexpected` and
 * `cancelled`; an answer of any status is no error here.
 */
export class HostHttp {
  readonly title: string;
  readonly #origin: string;
  /** Milliseconds for one request, redirects included. */
  readonly #timeout: number;
  readonly #mostBytes: number;

  constructor(options: {
    readonly title: string;
    /** What requests go to. */
    readonly base: string;
    readonly timeout?: number;
    readonly mostBytes?: number;
  }) {
    this.title = options.title;
    this.#origin = new URL(options.base).origin;
    this.#timeout = options.timeout ?? 30_000;
    this.#mostBytes = options.mostBytes ?? 32 * 2 ** 20;
  }

  async send(target: string, request: HostRequest, signal: AbortSignal): Promise<Response> {
    const limit = AbortSignal.timeout(this.#timeout);
    try {
      return await this.#follow(new URL(target), request, AbortSignal.any([signal, limit]));
    } catch (thrown) {
      if (thrown instanceof HostError) throw thrown;
      if (signal.aborted)
        throw new HostError('cancelled', `The request to ${this.title} was cancelled.`, { unanswered: true });
      const why = limit.aborted
        ? `it did not answer within ${this.#timeout / 1000} s`
        : messageOf(thrown instanceof Error && thrown.cause !== undefined ? thrown.cause : thrown);
      throw new HostError(
        'unavailable',
        `${this.title} cannot be reached at ${redactUrl(target)}: ${why}. Try again later.`,
        { unanswered: true },
      );
    }
  }

  async #follow(start: URL, request: HostRequest, signal: AbortSignal): Promise<Response> {
    let url = start;
    for (let hop = 0; hop <= maxRedirects; hop++) {
      if (url.origin !== this.#origin)
        throw new HostError(
          'unexpected',
          `${this.title} leads to another address, ${redactUrl(url.href)}; its token is sent to ${this.#origin} only. Configure the address that it answers at.`,
        );
      const response = await fetch(url.href, { ...request, redirect: 'manual', signal });
      const location = response.headers.get('location');
      if (![301, 302, 303, 307, 308].includes(response.status) || location === null)
        return await this.#readAll(response);
      await response.body?.cancel();
      const repeats = request.method === 'GET' || response.status === 307 || response.status === 308;
      if (!repeats || !URL.canParse(location, url.href))
        throw new HostError(
          'unexpected',
          `${this.title} redirects ${request.method} ${redactUrl(url.href)}, which cannot be followed. Configure the address that it answers at.`,
        );
      url = new URL(location, url);
    }
    throw new HostError('unexpected', `${this.title} redirects ${redactUrl(start.href)} too often.`);
  }

  async #readAll(response: Response): Promise<Response> {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    let size = 0;
    for await (const part of response.body ?? []) {
      size += part.byteLength;
      if (size > this.#mostBytes)
        throw new HostError(
          'unexpected',
          `${this.title} gave an answer of more than ${this.#mostBytes} bytes, which is not read.`,
        );
      parts.push(part);
    }
    const noBody = [204, 205, 304].includes(response.status);
    return new Response(noBody ? null : new Blob(parts), {
      status: response.status,
      headers: response.headers,
    });
  }
}
