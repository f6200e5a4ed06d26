import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Agent, createServer, request, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { ControlPlane } from './control-plane.ts';

/** A call as it passes. */
export interface PassingCall {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly watch: boolean;
  /** What the client sent; empty for most. */
  readonly body: string;
}

type Which = (call: PassingCall) => boolean;

type Mishap =
  /** The API server does what is asked, and the answer never arrives: the connection is reset. */
  | { readonly kind: 'lost-answer' }
  /** The connection is reset before the API server hears of it. */
  | { readonly kind: 'lost-request' }
  | { readonly kind: 'refused'; readonly status: number; readonly headers: Readonly<Record<string, string>> }
  | { readonly kind: 'late'; readonly milliseconds: number };

/**
 * A way to the API server on which answers get lost and watches break. It ends TLS itself, with a certificate of the same
 * authority, so clients come with tokens: their certificates would stay here. For a bad network below TLS there is
 * test/fakes/tcp-proxy.ts.
 */
export class ApiProxy implements AsyncDisposable {
  /** What passed, refused calls too, in the order of their beginning. */
  readonly calls: PassingCall[] = [];
  readonly #server: Server;
  readonly #agent: Agent;
  readonly #target: number;
  readonly #watches = new Set<ServerResponse>();
  readonly #mishaps: { readonly which: Which; readonly mishap: Mishap; times: number }[] = [];
  readonly #lost: PassingCall[] = [];

  private constructor(server: Server, agent: Agent, target: number) {
    this.#server = server;
    this.#agent = agent;
    this.#target = target;
    server.on('request', (near, answer) => {
      void this.#pass(near, answer).catch(() => near.socket.destroy());
    });
    server.on('tlsClientError', () => {});
  }

  static async open(plane: ControlPlane): Promise<ApiProxy> {
    const { certificate, key } = await plane.authority.forServer('api-proxy');
    const server = createServer({ cert: certificate, key });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new ApiProxy(server, new Agent({ ca: plane.authority.pem, keepAlive: true }), plane.port);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** host:port */
  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Watches that are open. */
  get watches(): number {
    return this.#watches.size;
  }

  /** Calls whose answer was lost after the API server had given it. */
  get lost(): readonly PassingCall[] {
    return this.#lost;
  }

  loseAnswers(which: Which, times = 1): void {
    this.#mishaps.push({ which, mishap: { kind: 'lost-answer' }, times });
  }

  loseRequests(which: Which, times = 1): void {
    this.#mishaps.push({ which, mishap: { kind: 'lost-request' }, times });
  }

  /** The API server does not hear of these calls. */
  refuse(which: Which, status: number, headers: Readonly<Record<string, string>> = {}, times = 1): void {
    this.#mishaps.push({ which, mishap: { kind: 'refused', status, headers }, times });
  }

  delay(which: Which, milliseconds: number, times = 1): void {
    this.#mishaps.push({ which, mishap: { kind: 'late', milliseconds }, times });
  }

  /** From now on nothing goes wrong any more. */
  mend(): void {
    this.#mishaps.length = 0;
  }

  /** Resets the watches that are open; new ones pass. */
  cutWatches(): number {
    const cut = [...this.#watches];
    for (const answer of cut) answer.socket?.destroy();
    return cut.length;
  }

  async #pass(near: IncomingMessage, answer: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(near.url ?? '/', 'https://proxy');
    const body = await buffer(near);
    const watching = searchParams.get('watch');
    const call: PassingCall = {
      method: near.method ?? 'GET',
      path: pathname,
      query: searchParams,
      watch: watching === 'true' || watching === '1',
      body: body.toString(),
    };
    this.calls.push(call);
    const mishap = this.#mishapOf(call);
    if (mishap?.kind === 'lost-request') {
      near.socket.destroy();
      return;
    }
    if (mishap?.kind === 'refused') {
      const status = { kind: 'Status', apiVersion: 'v1', status: 'Failure', code: mishap.status };
      answer.writeHead(mishap.status, { 'content-type': 'application/json', ...mishap.headers });
      answer.end(JSON.stringify({ ...status, message: 'refused by the proxy', metadata: {} }));
      return;
    }
    if (mishap?.kind === 'late') await new Promise((resolve) => setTimeout(resolve, mishap.milliseconds));
    const far = await this.#ask(near, body);
    if (mishap?.kind === 'lost-answer') {
      await buffer(far);
      this.#lost.push(call);
      near.socket.destroy();
      return;
    }
    answer.writeHead(far.statusCode ?? 502, far.headers);
    if (call.watch) {
      this.#watches.add(answer);
      answer.flushHeaders();
    }
    answer.once('close', () => {
      this.#watches.delete(answer);
      far.destroy();
    });
    // The API server went away in the middle of it: so does this.
    far.once('error', () => near.socket.destroy());
    far.pipe(answer);
  }

  #mishapOf(call: PassingCall): Mishap | undefined {
    const found = this.#mishaps.find(({ which, times }) => times > 0 && which(call));
    if (found === undefined) return undefined;
    found.times -= 1;
    return found.mishap;
  }

  async #ask(near: IncomingMessage, body: Buffer): Promise<IncomingMessage> {
    return await new Promise((resolve, reject) => {
      const outgoing = request({
        ...{ host: '127.0.0.1', port: this.#target, agent: this.#agent },
        ...{ method: near.method, path: near.url, headers: near.headers },
      });
      outgoing.once('response', resolve);
      outgoing.once('error', reject);
      outgoing.end(body);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
    this.#agent.destroy();
  }
}
