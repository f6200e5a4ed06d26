import type { Readable } from 'node:stream';
import { answerError, connectionError } from './answer-error.ts';
import { CliError } from './cli-error.ts';
import { readEvents, type ServerEvent } from './event-stream.ts';
import type { Login } from './profile.ts';

/** The view of a build that the REST API gives; only what the CLI shows. */
export interface BuildView {
  readonly id: string;
  readonly phase: string;
  /** RFC 2822. */
  readonly started: string;
  readonly display_name: string;
  readonly tags: readonly string[];
  readonly repository: { readonly namespace: string; readonly name: string };
  readonly push?: boolean;
  readonly error?: string | null;
  readonly error_code?: string | null;
  readonly digest?: string | null;
  /** Under which another registry serves the image. */
  readonly image_references?: readonly string[];
  readonly image_size?: number | null;
  readonly queue_position?: number | null;
  readonly manual_user?: string | null;
  readonly cancelled_by?: string | null;
  readonly timings?: { readonly started: string | null; readonly seconds: number | null };
  readonly attempts?: readonly AttemptView[];
}

export interface AttemptView {
  readonly platform: string;
  readonly epoch: number;
  readonly state: string;
  readonly outcome: string | null;
  readonly error_code: string | null;
  readonly error: string | null;
  /** ISO 8601, by the state that was entered. */
  readonly entered: Readonly<Record<string, string>>;
}

/** Milliseconds for a request that is not a stream. */
const patience = 60_000;

type Init = Omit<RequestInit, 'headers'> & { headers?: Record<string, string>; duplex?: 'half' };

/** Talks REST to one server with one login. Failures are CliErrors that say what to do. */
export class Client {
  readonly server: string;
  readonly #authorization: string;

  constructor(server: string, authorization: string) {
    this.server = server;
    this.#authorization = authorization;
  }

  static of(login: Login): Client {
    return new Client(login.server, `Bearer ${login.token}`);
  }

  static basic(server: string, username: string, password: string): Client {
    return new Client(server, `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`);
  }

  async get<T>(path: string, signal?: AbortSignal): Promise<T> {
    return await this.#json<T>('GET', path, undefined, signal);
  }

  async post<T>(path: string, body: unknown, headers: Record<string, string> = {}): Promise<T> {
    return await this.#json<T>('POST', path, body, undefined, headers);
  }

  async put<T>(path: string, body: unknown): Promise<T> {
    return await this.#json<T>('PUT', path, body);
  }

  async delete(path: string): Promise<void> {
    const response = await this.#send('DELETE', path, { signal: AbortSignal.timeout(patience) });
    await response.body?.cancel();
  }

  /** Like `delete`; the answer, where there is one. */
  async remove<T>(path: string): Promise<T | undefined> {
    const response = await this.#send('DELETE', path, { signal: AbortSignal.timeout(patience) });
    const text = await response.text();
    return text === '' || response.status === 204 ? undefined : (JSON.parse(text) as T);
  }

  /** Streams bytes to a URL the server gave out (absolute, or a path of this server). */
  async upload(url: string, body: Readable, contentType: string, signal?: AbortSignal): Promise<void> {
    const target = new URL(url, this.server);
    const response = await this.#send('PUT', target.toString(), {
      body: body as unknown as ReadableStream,
      duplex: 'half',
      headers: { 'content-type': contentType },
      ...(signal === undefined ? {} : { signal }),
    });
    await response.body?.cancel();
  }

  async *download(path: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const response = await this.#send('GET', path, signal === undefined ? {} : { signal });
    yield* this.#bytes(response, signal);
  }

  /** Server-sent events, until the server ends the stream. Throws `unreachable` when the connection is lost. */
  async *events(path: string, lastId: string | undefined, signal: AbortSignal): AsyncGenerator<ServerEvent> {
    const response = await this.#send('GET', path, {
      headers: { accept: 'text/event-stream', ...(lastId === undefined ? {} : { 'last-event-id': lastId }) },
      signal,
    });
    yield* readEvents(this.#bytes(response, signal));
  }

  /** Does something and hears how it goes. */
  async *postEvents(path: string, signal: AbortSignal): AsyncGenerator<ServerEvent> {
    const response = await this.#send('POST', path, { headers: { accept: 'text/event-stream' }, signal });
    yield* readEvents(this.#bytes(response, signal));
  }

  async *#bytes(response: Response, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
    if (response.body === null) return;
    const chunks = response.body[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await chunks.next().catch((thrown: unknown) => {
          throw signal?.aborted ? signal.reason : connectionError(this.server, thrown);
        });
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      // Whoever stops reading lets go of the connection.
      await chunks.return?.().catch(() => {});
    }
  }

  async #json<T>(
    method: string,
    path: string,
    body: unknown,
    signal?: AbortSignal,
    headers: Record<string, string> = {},
  ): Promise<T> {
    const timeout = AbortSignal.timeout(patience);
    const response = await this.#send(method, path, {
      ...(body === undefined
        ? { headers }
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } }),
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
    });
    try {
      return (await response.json()) as T;
    } catch (cause) {
      throw new CliError(
        'server-failed',
        `${this.server} answered ${method} ${path} with something that is not JSON. Is it a Slipway server?`,
        { cause },
      );
    }
  }

  async #send(method: string, path: string, init: Init): Promise<Response> {
    const url = new URL(path, this.server);
    // A signed URL may lead elsewhere (object storage), where the login must not go.
    const own = url.origin === new URL(this.server).origin;
    let response: Response;
    try {
      response = await fetch(url, {
        ...init,
        method,
        headers: { ...(own ? { authorization: this.#authorization } : {}), ...init.headers },
      });
    } catch (thrown) {
      const reason: unknown = init.signal?.aborted ? init.signal.reason : undefined;
      const timedOut = reason instanceof Error && reason.name === 'TimeoutError';
      if (reason !== undefined && !timedOut) throw reason;
      throw connectionError(this.server, timedOut ? `no answer in ${patience / 1000} s` : thrown);
    }
    if (response.ok) return response;
    throw await answerError(this.server, response);
  }
}

export function buildPath(view: Pick<BuildView, 'id' | 'repository'>): string {
  return `${repositoryPath(view.repository)}/build/${view.id}`;
}

export function repositoryPath({ namespace, name }: { namespace: string; name: string }): string {
  // A name may have parts of its own, joined by `/`.
  return `/api/v1/repository/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;
}
