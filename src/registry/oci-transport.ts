import {
  Agent as HttpAgent,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestOptions,
  request,
} from 'node:http';
import { Agent as HttpsAgent, request as secureRequest } from 'node:https';
import type { LookupFunction } from 'node:net';
import { pipeline, type Readable } from 'node:stream';

/** How to reach a registry. */
export type RegistryEndpoint =
  | { readonly kind: 'socket'; readonly socketPath: string; readonly name: string }
  | {
      readonly kind: 'network';
      /** `host[:port]`. */
      readonly host: string;
      /** `http`: no TLS at all. `unverified`: TLS with any certificate. */
      readonly security: 'tls' | 'unverified' | 'http';
      /** PEM of further certificate authorities. */
      readonly ca?: string;
      /**
       * Asked before every request, wherever redirects, token services and upload addresses lead: how to resolve the
       * name. Throws for an address that may not be reached.
       */
      readonly reach?: (url: URL) => LookupFunction;
    };

export interface OciRequest {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';
  /** A path with query on the registry, or a URL that an answer's Location led to. */
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Bytes, or a maker of a fresh stream for each try; a stream's length goes into `headers`. */
  readonly body?: Uint8Array | (() => Readable);
}

/** An answer whose body must be read to its end or destroyed, or its connection stays taken. */
export interface OciAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: IncomingMessage;
  /** Where the answer came from. */
  readonly url: URL;
}

const silenceMilliseconds = 60_000;
const mostRedirects = 5;

/** One registry's HTTP: kept connections, redirects, no retries and no opinion about statuses. */
export class OciTransport {
  readonly #endpoint: RegistryEndpoint;
  readonly #base: URL;
  readonly #plain: HttpAgent;
  readonly #secure: HttpsAgent;

  constructor(endpoint: RegistryEndpoint) {
    this.#endpoint = endpoint;
    this.#base =
      endpoint.kind === 'socket'
        ? new URL('http://registry.invalid')
        : new URL(`${endpoint.security === 'http' ? 'http' : 'https'}://${apiHost(endpoint.host)}`);
    this.#plain = new HttpAgent({ keepAlive: true });
    this.#secure = new HttpsAgent({
      keepAlive: true,
      ...(endpoint.kind === 'network' && endpoint.ca !== undefined ? { ca: endpoint.ca } : {}),
      ...(endpoint.kind === 'network' && endpoint.security === 'unverified'
        ? { rejectUnauthorized: false }
        : {}),
    });
  }

  /** The registry's name in messages. */
  get name(): string {
    return this.#endpoint.kind === 'socket' ? this.#endpoint.name : this.#endpoint.host;
  }

  /** Whether credentials for this registry may go to that address: never from TLS to clear text. */
  trusts(url: URL): boolean {
    return url.protocol === 'https:' || (url.protocol === 'http:' && this.#base.protocol === 'http:');
  }

  /** Follows redirects of GET and HEAD; the Authorization header stays with the registry's own origin. */
  async send(message: OciRequest, signal: AbortSignal): Promise<OciAnswer> {
    let url = new URL(message.target, this.#base);
    for (let redirects = 0; ; redirects += 1) {
      const answer = await this.#sendOnce(message, url, signal);
      const location = answer.headers.location;
      const follow = [301, 302, 303, 307, 308].includes(answer.status) && location !== undefined;
      if (!follow || (message.method !== 'GET' && message.method !== 'HEAD')) return answer;
      answer.body.resume();
      if (redirects >= mostRedirects) throw new Error(`more than ${mostRedirects} redirects`);
      url = new URL(location, url);
      if (!this.trusts(url)) throw new Error(`a redirect to ${url.protocol}//${url.host}`);
    }
  }

  /** Asks a token service, wherever it is. It alone gets the password. */
  async sendTo(url: URL, authorization: string | undefined, signal: AbortSignal): Promise<OciAnswer> {
    return await this.#sendOnce({ method: 'GET', target: '' }, url, signal, authorization);
  }

  close(): void {
    this.#plain.destroy();
    this.#secure.destroy();
  }

  #sendOnce(
    message: OciRequest,
    url: URL,
    signal: AbortSignal,
    foreignAuthorization?: string,
  ): Promise<OciAnswer> {
    return new Promise((resolve, reject) => {
      const own = url.origin === this.#base.origin;
      const { authorization: ownAuthorization, ...others } = message.headers ?? {};
      const authorization = foreignAuthorization ?? (own ? ownAuthorization : undefined);
      const secure = url.protocol === 'https:';
      const options: RequestOptions = {
        method: message.method,
        signal,
        agent: secure ? this.#secure : this.#plain,
        timeout: silenceMilliseconds,
        headers: {
          ...others,
          ...(authorization === undefined ? {} : { authorization }),
          ...(message.body instanceof Uint8Array ? { 'content-length': String(message.body.length) } : {}),
          ...(message.body === undefined && message.method !== 'GET' && message.method !== 'HEAD'
            ? { 'content-length': '0' }
            : {}),
        },
        ...(this.#endpoint.kind === 'socket' && own ? { socketPath: this.#endpoint.socketPath } : {}),
        ...(this.#endpoint.kind === 'network' && this.#endpoint.reach !== undefined
          ? { lookup: this.#endpoint.reach(url) }
          : {}),
      };
      const outgoing = (secure ? secureRequest : request)(url, options);
      outgoing.once('timeout', () =>
        outgoing.destroy(new Error(`silent for ${silenceMilliseconds / 1000} s`)),
      );
      // Stays for good: a late error of an answered request must not end the process.
      outgoing.on('error', (error) => reject(signal.aborted ? signal.reason : error));
      outgoing.once('response', (body) => {
        body.once('error', () => {});
        resolve({ status: body.statusCode ?? 0, headers: body.headers, body, url });
      });
      if (typeof message.body === 'function')
        pipeline(message.body(), outgoing, (error) => error && reject(error));
      else outgoing.end(message.body);
    });
  }
}

/** Docker Hub's images are named `docker.io`, its registry answers elsewhere. */
function apiHost(host: string): string {
  return host === 'docker.io' ? 'registry-1.docker.io' : host;
}
