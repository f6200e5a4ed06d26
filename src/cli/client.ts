import type { Readable } from 'node:stream';
import { messageOf } from '../base/coded-error.ts';
import { CliError } from './cli-error.ts';
import type { Login } from './profile.ts';

/** The view of a build that the REST API gives; only what the CLI shows. */
export interface BuildView {
  readonly id: string;
  readonly phase: string;
  readonly status?: string;
  readonly started: string;
  readonly display_name: string;
  readonly tags: readonly string[];
  readonly repository: { readonly namespace: string; readonly name: string };
  readonly error?: string | null;
  readonly error_code?: string | null;
  readonly digest?: string | null;
  readonly image_size?: number | null;
  readonly queue_position?: number | null;
  readonly manual_user?: string | null;
  readonly [key: string]: unknown;
}

export interface ServerEvent {
  readonly event: string;
  readonly id: string | undefined;
  readonly data: string;
}

/** Talks REST to one server with one token. Failures are CliErrors that say what to do. */
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

  async delete(path: string): Promise<void> {
    await this.#send('DELETE', path, {});
  }

  /** Streams bytes to a URL the server gave out (absolute, or a path of this server). */
  async upload(url: string, body: Readable, contentType: string, signal?: AbortSignal): Promise<void> {
    const target = new URL(url, this.server);
    const own = target.origin === new URL(this.server).origin;
    await this.#send('PUT', target.toString(), {
      body: body as unknown as ReadableStream,
      duplex: 'half',
      headers: { 'content-type': contentType, ...(own ? { authorization: this.#authorization } : {}) },
      ...(signal === undefined ? {} : { signal }),
    });
  }

  async download(path: string, signal?: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    const response = await this.#send('GET', path, signal === undefined ? {} : { signal });
    if (response.body === null)
      throw new CliError('server-failed', `${this.server} sent no body for ${path}`);
    return response.body;
  }

  /** Server-sent events, until the server ends the stream. Throws `unreachable` when the connection is lost. */
  async *events(path: string, lastId: string | undefined, signal: AbortSignal): AsyncGenerator<ServerEvent> {
    const response = await this.#send('GET', path, {
      headers: { accept: 'text/event-stream', ...(lastId === undefined ? {} : { 'last-event-id': lastId }) },
      signal,
    });
    if (response.body === null) return;
    const decoder = new TextDecoder();
    let held = '';
    let event = { event: 'message', id: undefined as string | undefined, data: [] as string[] };
    try {
      for await (const chunk of response.body) {
        held += decoder.decode(chunk, { stream: true });
        const lines = held.split('\n');
        held = lines.pop() ?? '';
        for (const line of lines) {
          if (line === '') {
            if (event.data.length > 0)
              yield { event: event.event, id: event.id, data: event.data.join('\n') };
            event = { event: 'message', id: undefined, data: [] };
          } else if (line.startsWith('data:')) event.data.push(line.slice(line.startsWith('data: ') ? 6 : 5));
          else if (line.startsWith('event:')) event.event = line.slice(6).trim();
          else if (line.startsWith('id:')) event.id = line.slice(3).trim();
        }
      }
    } catch (cause) {
      if (signal.aborted) throw signal.reason;
      throw this.#unreachable(cause);
    }
  }

  async #json<T>(
    method: string,
    path: string,
    body: unknown,
    signal?: AbortSignal,
    headers: Record<string, string> = {},
  ): Promise<T> {
    const response = await this.#send(method, path, {
      ...(body === undefined
        ? { headers }
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } }),
      ...(signal === undefined ? {} : { signal }),
    });
    try {
      return (await response.json()) as T;
    } catch (cause) {
      throw new CliError(
        'server-failed',
        `${this.server} answered ${method} ${path} with something that is not JSON`,
        {
          cause,
        },
      );
    }
  }

  async #send(method: string, path: string, init: RequestInit & { duplex?: 'half' }): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(new URL(path, this.server), {
        ...init,
        method,
        headers: {
          authorization: this.#authorization,
          ...(init.headers as Record<string, string> | undefined),
        },
      });
    } catch (cause) {
      if (init.signal?.aborted) throw init.signal.reason;
      throw this.#unreachable(cause);
    }
    if (response.ok) return response;
    throw await this.#refusal(response);
  }

  #unreachable(cause: unknown): CliError {
    const inner = cause instanceof Error && cause.cause !== undefined ? cause.cause : cause;
    return new CliError(
      'unreachable',
      `Cannot reach ${this.server}: ${messageOf(inner)}. Is it running? Start one with: slipway up`,
      { cause },
    );
  }

  async #refusal(response: Response): Promise<CliError> {
    const text = await response.text().catch(() => '');
    let message = text.slice(0, 500);
    try {
      const body = JSON.parse(text) as { error_message?: string; detail?: string; message?: string };
      message = body.error_message ?? body.detail ?? body.message ?? message;
    } catch {
      // Not Slipway's error shape (a proxy in between, say): its text is shown as it is.
    }
    if (response.status === 401)
      return new CliError(
        'not-logged-in',
        `${this.server} does not accept the login: ${message || 'unauthorized'}. Run: slipway login --server ${this.server}`,
        { status: 401 },
      );
    const code = response.status >= 500 ? 'server-failed' : 'refused';
    return new CliError(code, message || `${this.server} answered ${response.status}`, {
      status: response.status,
    });
  }
}

export function buildPath(view: Pick<BuildView, 'id' | 'repository'>): string {
  return `${repositoryPath(view.repository)}/build/${view.id}`;
}

export function repositoryPath({ namespace, name }: { namespace: string; name: string }): string {
  // A name may have parts of its own, joined by `/`.
  return `/api/v1/repository/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;
}
