import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { errorBody } from '../../src/api/api-error.ts';
import { FakeBuild } from './slipway-build.ts';

interface RawAnswer {
  readonly status: number;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

/**
 * The part of Slipway's REST API that the command line client uses, in memory, on a port of its own on loopback. It
 * answers with the real API's shapes; what happens to its builds is up to the test.
 */
export class SlipwayApi {
  readonly username = 'ada';
  readonly password = 'pa55 word';
  readonly token = 'slp_fake-token';
  readonly repositories = new Set<string>();
  readonly builds: FakeBuild[] = [];
  readonly uploads = new Map<string, Buffer>();
  /** `METHOD /path?query`, in order. */
  readonly requests: string[] = [];
  /** The Last-Event-ID of each connection that followed a log, in order. */
  readonly resumedAt: (string | undefined)[] = [];
  /** Entries in one event of a log. */
  page = 2;
  /** Called with every new build before its request is answered. */
  onBuild: (build: FakeBuild) => void = () => {};
  /** Called when a build is cancelled. */
  onCancel: (build: FakeBuild) => void = (build) =>
    build.change({ phase: 'cancelled', cancelled_by: this.username });
  /** Called with every request before it is answered. */
  onRequest: (request: IncomingMessage) => void = () => {};
  readonly #answers: RawAnswer[] = [];
  #always: RawAnswer | undefined;
  readonly #cuts: number[] = [];
  #server: Server | undefined;
  #port = 0;

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Starts, on the same port as before when it was stopped. */
  async start(): Promise<void> {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        fail(response, 500, 'internal_error', String(error));
      });
    });
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Breaks all connections off. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  }

  /** The next request is answered so, whatever it is. */
  answerNext(answer: RawAnswer): void {
    this.#answers.push(answer);
  }

  /** From now on every request is answered so. */
  answerAlways(answer: RawAnswer): void {
    this.#always = answer;
  }

  /** The next connection that follows a log breaks after so many bytes of its body. */
  cutNextStream(afterBytes: number): void {
    this.#cuts.push(afterBytes);
  }

  /** Forgets the cuts that no connection has met. */
  dropCuts(): void {
    this.#cuts.length = 0;
  }

  addBuild(repository = { namespace: 'ada', name: 'web' }, asked: Record<string, unknown> = {}): FakeBuild {
    this.repositories.add(`${repository.namespace}/${repository.name}`);
    const build = new FakeBuild(repository, asked, this.username);
    this.builds.unshift(build);
    return build;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<unknown> {
    const url = new URL(request.url ?? '/', this.url);
    const path = url.pathname.replace(/\/$/, '');
    const { method = 'GET' } = request;
    this.requests.push(`${method} ${request.url}`);
    this.onRequest(request);
    const raw = this.#answers.shift() ?? this.#always;
    if (raw !== undefined) {
      request.resume();
      return response.writeHead(raw.status, raw.headers).end(raw.body ?? '');
    }
    if (method === 'PUT' && path.startsWith('/userfiles/'))
      return await this.#takeUpload(request, response, url);
    const basic = `Basic ${Buffer.from(`${this.username}:${this.password}`).toString('base64')}`;
    const { authorization } = request.headers;
    if (authorization !== basic && authorization !== `Bearer ${this.token}`)
      return fail(response, 401, 'invalid_token', 'The token is wrong, revoked or expired. Sign in again.');
    const body = JSON.parse((await read(request)).toString() || '{}') as Record<string, unknown>;
    switch (`${method} ${path}`) {
      case 'POST /api/v1/user/tokens':
        return reply(response, 201, { id: '1', name: body.name, scopes: body.scopes, token: this.token });
      case 'GET /api/v1/user':
        return reply(response, 200, { username: this.username, anonymous: false, super_user: false });
      case 'POST /api/v1/filedrop': {
        const id = randomUUID();
        return reply(response, 200, { url: `${this.url}/userfiles/${id}?signature=s`, file_id: id });
      }
      case 'POST /api/v1/repository':
        this.repositories.add(`${body.namespace}/${body.repository}`);
        return reply(response, 201, { namespace: body.namespace, name: body.repository });
      case 'GET /api/v1/builds': {
        const prefix = url.searchParams.get('id') ?? '';
        return this.#list(
          response,
          url,
          this.builds.filter(({ id }) => id.startsWith(prefix)),
        );
      }
      default:
        return this.#inRepository(request, response, url, body);
    }
  }

  #inRepository(
    request: IncomingMessage,
    response: ServerResponse,
    url: URL,
    body: Record<string, unknown>,
  ): ServerResponse {
    const [, namespace = '', name = '', rest = ''] =
      /^\/api\/v1\/repository\/([^/]+)\/([^/]+)\/?(.*?)\/?$/.exec(url.pathname) ?? [];
    const repository = { namespace, name: decodeURIComponent(name) };
    const full = `${repository.namespace}/${repository.name}`;
    if (!this.repositories.has(full))
      return fail(response, 404, 'not_found', `There is no repository ${full}.`);
    const image = `${new URL(this.url).host}/${full}`;
    if (rest === '') return reply(response, 200, { ...repository, image });
    if (rest === 'build' && request.method === 'POST') {
      const build = this.addBuild(repository, body);
      this.onBuild(build);
      return reply(response, 201, build.view);
    }
    const own = this.builds.filter(
      ({ view }) => `${view.repository.namespace}/${view.repository.name}` === full,
    );
    if (rest === 'build') return this.#list(response, url, own);
    const [, id, , part] = /^build\/([^/]+)(\/(.+))?$/.exec(rest) ?? [];
    const build = own.find((candidate) => candidate.id === id);
    if (build === undefined) return fail(response, 404, 'not_found', `There is no build ${id} in ${full}.`);
    switch (`${request.method} ${part ?? ''}`) {
      case 'GET ':
        return reply(response, 200, build.view);
      case 'DELETE ':
        this.onCancel(build);
        return reply(response, 201, build.view);
      case 'GET logs': {
        const start = Number(url.searchParams.get('start') ?? 0);
        const logs = build.log.slice(start, start + this.page);
        return reply(response, 200, { start, total: build.log.length, logs });
      }
      case 'GET logs/download':
        response.setHeader('content-type', 'text/plain; charset=utf-8');
        return response.end(build.log.map(({ message }) => `${message}\n`).join(''));
      case 'GET logs/stream':
        return this.#stream(request, response, build);
      default:
        return fail(response, 404, 'not_found', `There is nothing at ${url.pathname}.`);
    }
  }

  #stream(request: IncomingMessage, response: ServerResponse, build: FakeBuild): ServerResponse {
    const lastId = request.headers['last-event-id'] as string | undefined;
    this.resumedAt.push(lastId);
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
    const cut = this.#cuts.shift();
    if (cut !== undefined) cutAfter(response, cut);
    build.follow(response, Number(lastId ?? 0), this.page);
    return response;
  }

  #list(response: ServerResponse, url: URL, builds: readonly FakeBuild[]): ServerResponse {
    const limit = Number(url.searchParams.get('limit') ?? 5);
    return reply(response, 200, { builds: builds.slice(0, limit).map(({ view }) => view) });
  }

  async #takeUpload(request: IncomingMessage, response: ServerResponse, url: URL): Promise<unknown> {
    const bytes = await read(request);
    this.uploads.set(url.pathname.split('/').at(-1) ?? '', bytes);
    return reply(response, 200, {
      size: bytes.length,
      checksum: createHash('sha256').update(bytes).digest('hex'),
    });
  }
}

/** Lets so many bytes of the body through and breaks the connection, in the middle of an event if need be. */
function cutAfter(response: ServerResponse, bytes: number): void {
  const write = response.write.bind(response) as (chunk: Buffer, done: () => void) => boolean;
  let left = bytes;
  const limited = (chunk: string): boolean => {
    if (left === 0) return false;
    const part = Buffer.from(chunk).subarray(0, left);
    left -= part.length;
    return write(part, () => {
      if (left === 0) response.destroy();
    });
  };
  response.write = limited as typeof response.write;
  response.end = ((chunk?: string) => {
    if (chunk !== undefined) limited(chunk);
    return response;
  }) as typeof response.end;
}

function reply(response: ServerResponse, status: number, body: unknown): ServerResponse {
  return response
    .writeHead(status, { 'content-type': 'application/json; charset=utf-8' })
    .end(JSON.stringify(body));
}

function fail(
  response: ServerResponse,
  status: number,
  code: Parameters<typeof errorBody>[0],
  message: string,
): ServerResponse {
  return reply(response, status, errorBody(code, message));
}

async function read(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
