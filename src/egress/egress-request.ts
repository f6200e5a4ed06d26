import http from 'node:http';
import https from 'node:https';
import { isIP } from 'node:net';
import { type Readable, Transform } from 'node:stream';
import { messageOf } from '../base/coded-error.ts';
import { redactUrl } from '../model/redact-url.ts';
import { EgressError } from './egress-error.ts';
import { type EgressGuard, portOf } from './egress-guard.ts';

export interface EgressRequest {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'HEAD';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Bytes of the body at most; one more is `too-large`. */
  readonly maxBytes: number;
  /** Milliseconds for everything, from the first name look-up to the last byte. */
  readonly timeout: number;
  /** Milliseconds without a single byte. Default 60 s. */
  readonly idleTimeout?: number;
  /** Redirects followed at most; only GET and HEAD follow any. Default 5. */
  readonly maxRedirects?: number;
  /** The statuses that are not an error. Default 200 to 299. */
  readonly accepts?: (status: number) => boolean;
  readonly signal?: AbortSignal;
}

export interface EgressResponse {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  /** Where the answer came from, after redirects. Not redacted. */
  readonly url: URL;
  /** Fails with an EgressError on a limit, an early end or the signal. Must be read or destroyed. */
  readonly body: Readable;
}

const redirectStatus = new Set([301, 302, 303, 307, 308]);
/** Headers that must not follow a redirect to another origin. */
const originBound = new Set(['authorization', 'cookie', 'proxy-authorization']);

/**
 * A request to a URL that a user gave. Every hop is checked by the guard and connected to the very address that
 * was checked. Throws EgressError; so does the body while it is read.
 */
export async function egressRequest(
  guard: EgressGuard,
  target: string,
  request: EgressRequest,
): Promise<EgressResponse> {
  const limits = new RequestLimits(request);
  try {
    return await follow(guard, target, request, limits);
  } catch (error) {
    limits.stop();
    throw limits.translate(error, target);
  }
}

async function follow(
  guard: EgressGuard,
  target: string,
  request: EgressRequest,
  limits: RequestLimits,
): Promise<EgressResponse> {
  const method = request.method ?? 'GET';
  const mayFollow = method === 'GET' || method === 'HEAD';
  const accepts = request.accepts ?? ((status) => status >= 200 && status < 300);
  let url = guard.checkUrl(target);
  let headers: Record<string, string> = {
    'accept-encoding': 'identity',
    ...lowerCased(request.headers ?? {}),
  };
  for (let hop = 0; ; hop++) {
    const response = await send(guard, url, method, headers, request.body, limits.signal);
    const status = response.statusCode ?? 0;
    const location = response.headers.location;
    if (mayFollow && redirectStatus.has(status) && location !== undefined) {
      response.destroy();
      if (hop >= (request.maxRedirects ?? 5)) {
        throw new EgressError(
          'redirects',
          `${redactUrl(target)} redirects too often. Give the final address.`,
        );
      }
      const next = checkRedirect(guard, url, location);
      if (next.origin !== url.origin) headers = withoutOriginBound(headers);
      url = next;
      continue;
    }
    if (!accepts(status)) {
      response.destroy();
      const reason = http.STATUS_CODES[status] ?? '';
      throw new EgressError(
        'status',
        `${redactUrl(url.href)} answered ${`${status} ${reason}`.trim()}.`,
        undefined,
        status,
      );
    }
    return {
      status,
      headers: response.headers,
      url,
      body: limits.guardBody(response, url, method === 'HEAD'),
    };
  }
}

function checkRedirect(guard: EgressGuard, from: URL, location: string): URL {
  let href: string;
  try {
    href = new URL(location, from).href;
  } catch (error) {
    throw new EgressError(
      'redirects',
      `${redactUrl(from.href)} redirects to something that is not a URL.`,
      error,
    );
  }
  const next = guard.checkUrl(href);
  if (from.protocol === 'https:' && next.protocol === 'http:') {
    throw new EgressError(
      'redirects',
      `${redactUrl(from.href)} redirects from https to http (${redactUrl(href)}), which is refused.`,
    );
  }
  return next;
}

function send(
  guard: EgressGuard,
  url: URL,
  method: string,
  headers: Record<string, string>,
  body: string | Uint8Array | undefined,
  signal: AbortSignal,
): Promise<http.IncomingMessage> {
  const client = url.protocol === 'https:' ? https : http;
  const bare = new URL(url);
  bare.username = '';
  bare.password = '';
  const auth =
    url.username === '' && url.password === ''
      ? {}
      : { auth: `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}` };
  return new Promise((resolve, reject) => {
    const options: https.RequestOptions = {
      method,
      headers:
        body === undefined ? headers : { ...headers, 'content-length': String(Buffer.byteLength(body)) },
      agent: false,
      lookup: guard.lookupFor(portOf(url)),
      signal,
      ...auth,
      ...(isIP(url.hostname.replace(/^\[|\]$/g, '')) === 0 && url.protocol === 'https:'
        ? { servername: url.hostname }
        : {}),
    };
    const outgoing = client.request(bare, options, resolve);
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** Owns the timers of one request; `stop` is called exactly when the request has ended, whichever way. */
class RequestLimits {
  readonly #abort = new AbortController();
  readonly #request: EgressRequest;
  readonly #total: NodeJS.Timeout;
  readonly #idle: NodeJS.Timeout;
  readonly #onCancel: () => void;

  constructor(request: EgressRequest) {
    this.#request = request;
    const seconds = (milliseconds: number) => `${Math.round(milliseconds / 100) / 10} s`;
    const idle = request.idleTimeout ?? 60_000;
    this.#total = setTimeout(
      () => this.#fail('too-slow', `It took longer than ${seconds(request.timeout)}.`),
      request.timeout,
    );
    this.#idle = setTimeout(() => this.#fail('too-slow', `Nothing was received for ${seconds(idle)}.`), idle);
    this.#onCancel = () => this.#fail('cancelled', 'The request was cancelled.');
    if (request.signal?.aborted) this.#onCancel();
    request.signal?.addEventListener('abort', this.#onCancel, { once: true });
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  stop(): void {
    clearTimeout(this.#total);
    clearTimeout(this.#idle);
    this.#request.signal?.removeEventListener('abort', this.#onCancel);
  }

  #fail(code: 'too-slow' | 'cancelled', message: string): void {
    this.#abort.abort(new EgressError(code, message));
  }

  translate(error: unknown, target: string): EgressError {
    const reason: unknown = this.#abort.signal.reason;
    if (reason instanceof EgressError) {
      return new EgressError(reason.code, `${redactUrl(target)}: ${reason.message}`, error);
    }
    if (error instanceof EgressError) return error;
    return new EgressError(
      'unreachable',
      `${redactUrl(target)} cannot be reached: ${messageOf(error)}.`,
      error,
    );
  }

  guardBody(response: http.IncomingMessage, url: URL, noBody: boolean): Readable {
    const { maxBytes } = this.#request;
    const announced = noBody ? Number.NaN : Number(response.headers['content-length'] ?? Number.NaN);
    const tooLarge = () =>
      new EgressError(
        'too-large',
        `${redactUrl(url.href)} is larger than ${maxBytes} bytes, the most that is allowed.`,
      );
    let received = 0;
    const idle = this.#idle;
    const body = new Transform({
      highWaterMark: 1 << 18,
      transform(chunk: Buffer, _encoding, done) {
        received += chunk.length;
        idle.refresh();
        if (received > maxBytes) done(tooLarge());
        else done(null, chunk);
      },
    });
    let settled = false;
    const settle = (error?: unknown) => {
      if (settled) return;
      settled = true;
      this.stop();
      if (error === undefined) body.end();
      else body.destroy(this.#translateBody(error, url));
    };
    body.on('close', () => {
      settled = true;
      this.stop();
      response.destroy();
    });
    // The caller may look at the body later; until then an error waits in it.
    body.on('error', () => {});
    if (announced > maxBytes) {
      response.destroy();
      throw tooLarge();
    }
    response.on('error', settle);
    this.#abort.signal.addEventListener('abort', () => settle(this.#abort.signal.reason), { once: true });
    response.on('close', () => {
      if (!response.complete)
        settle(new EgressError('truncated', `${redactUrl(url.href)} ended early, after ${received} bytes.`));
    });
    response.on('end', () => settle());
    response.pipe(body, { end: false });
    return body;
  }

  #translateBody(error: unknown, url: URL): EgressError {
    const aborted: unknown = this.#abort.signal.reason;
    if (aborted instanceof EgressError) return this.translate(error, url.href);
    if (error instanceof EgressError) return error;
    return new EgressError('truncated', `${redactUrl(url.href)} ended early: ${messageOf(error)}.`, error);
  }
}

function lowerCased(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

function withoutOriginBound(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !originBound.has(name)));
}
