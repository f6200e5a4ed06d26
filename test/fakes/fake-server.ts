import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface FakeRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly form: URLSearchParams;
}

export interface FakeAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** An object is sent as JSON. */
  readonly body?: unknown;
}

/** A foreign service on loopback. A path can be made to fail, or to hang, until it is told otherwise. */
export class FakeServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #failures = new Map<string, FakeAnswer | 'hang'>();
  readonly requests: FakeRequest[] = [];

  constructor(answer: (request: FakeRequest) => FakeAnswer) {
    this.#server = createServer((request, response) => void this.#handle(request, response, answer));
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  fail(path: string, answer: FakeAnswer | 'hang'): void {
    this.#failures.set(path, answer);
  }

  recover(): void {
    this.#failures.clear();
  }

  async #handle(
    request: IncomingMessage,
    response: ServerResponse,
    answer: (request: FakeRequest) => FakeAnswer,
  ): Promise<void> {
    const url = new URL(request.url ?? '/', this.url);
    let text = '';
    for await (const part of request) text += String(part);
    const seen: FakeRequest = {
      method: request.method ?? '',
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      form: new URLSearchParams(text),
    };
    this.requests.push(seen);
    const failure = this.#failures.get(url.pathname);
    if (failure === 'hang') return;
    const { status = 200, headers = {}, body = '' } = failure ?? answer(seen);
    const isText = typeof body === 'string';
    response.writeHead(status, { 'content-type': isText ? 'text/plain' : 'application/json', ...headers });
    response.end(isText ? body : JSON.stringify(body));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
