import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

const mediaType = 'application/vnd.git-lfs+json';

/** What one request to the fake was. */
export interface LfsRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
}

/**
 * A server of Git LFS: the batch API and the transfer "basic", as the specification at github.com/git-lfs/git-lfs has it.
 * It keeps objects in memory; a test sets what it does wrong.
 */
export class LfsServer {
  readonly requests: LfsRequest[] = [];
  /** What `Authorization` must be at the batch API. */
  wanted: string | undefined;
  /** What downloads want instead, and get by the `header` of the answer. */
  ticket = 'RemoteAuth ticket';
  /** Where objects are said to be, instead of here. */
  href: ((oid: string) => string) | undefined;
  /** What is sent instead of an object's bytes. */
  forged: Buffer | undefined;
  /** Leaves downloads without an answer. */
  silent = false;
  readonly #objects = new Map<string, Buffer>();
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => this.handle(request, response));
  }

  static async start(): Promise<LfsServer> {
    const made = new LfsServer();
    await new Promise<void>((resolve) => made.#server.listen(0, '127.0.0.1', resolve));
    return made;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Keeps an object; gives the pointer that stands for it in a repository. */
  add(content: Buffer): string {
    const oid = createHash('sha256').update(content).digest('hex');
    this.#objects.set(oid, content);
    return `version https://git-lfs.github.com/spec/v1\noid sha256:${oid}\nsize ${content.length}\n`;
  }

  handle(request: IncomingMessage, response: ServerResponse): void {
    const path = new URL(request.url ?? '/', 'http://localhost').pathname;
    this.requests.push({ method: request.method ?? '', path, headers: request.headers });
    const answer = path.endsWith('/objects/batch')
      ? this.#batch(request, response)
      : this.#download(path, request, response);
    answer.catch((error: unknown) => response.destroy(error as Error));
  }

  async #batch(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { authorization, accept, 'content-type': type, host } = request.headers;
    const asked = JSON.parse(await text(request)) as {
      readonly operation: string;
      readonly transfers?: readonly string[];
      readonly objects: readonly { readonly oid: string; readonly size: number }[];
    };
    response.setHeader('content-type', mediaType);
    if (authorization !== this.wanted) {
      response.writeHead(401, { 'lfs-authenticate': 'Basic realm="LFS"' });
      response.end(JSON.stringify({ message: 'Credentials needed' }));
      return;
    }
    const basic = asked.transfers === undefined || asked.transfers.includes('basic');
    if (
      request.method !== 'POST' ||
      accept !== mediaType ||
      type !== mediaType ||
      asked.operation !== 'download' ||
      !basic
    ) {
      response.writeHead(422).end(JSON.stringify({ message: 'Not a request for downloads' }));
      return;
    }
    const objects = asked.objects.map(({ oid, size }) => {
      if (!this.#objects.has(oid))
        return { oid, size, error: { code: 404, message: 'Object does not exist' } };
      const href = this.href?.(oid) ?? `http://${host}/storage/${oid}`;
      const download = { href, header: { Authorization: this.ticket }, expires_in: 600 };
      return { oid, size, authenticated: true, actions: { download } };
    });
    response.end(JSON.stringify({ transfer: 'basic', objects, hash_algo: 'sha256' }));
  }

  async #download(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const content = this.#objects.get(path.split('/').at(-1) ?? '');
    if (this.silent) return;
    if (request.headers.authorization !== this.ticket) response.writeHead(403).end();
    else if (content === undefined) response.writeHead(404).end();
    else response.end(this.forged ?? content);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
