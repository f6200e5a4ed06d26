import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream';

/** What the front does with a request instead of passing it on; nothing: passes it on. */
export type Meddle = (request: IncomingMessage) => { readonly status: number } | 'hang' | undefined;

/** An HTTP proxy in front of a real registry that notes what comes by, and can answer by itself. */
export class RegistryFront implements AsyncDisposable {
  /** `METHOD path` of each request with the status it was answered with, in order. */
  readonly seen: string[] = [];
  meddle: Meddle = () => undefined;
  readonly #server: Server;
  readonly #port: number;

  private constructor(host: string) {
    this.#port = Number(host.split(':')[1]);
    this.#server = createServer((incoming, response) => this.#pass(incoming, response));
  }

  static async open(host: string): Promise<RegistryFront> {
    const front = new RegistryFront(host);
    front.#server.listen(0, '127.0.0.1');
    await once(front.#server, 'listening');
    return front;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  #pass(incoming: IncomingMessage, response: ServerResponse): void {
    const note = (status: number) => this.seen.push(`${incoming.method} ${incoming.url} ${status}`);
    const meddled = this.meddle(incoming);
    if (meddled === 'hang') return;
    if (meddled !== undefined) {
      note(meddled.status);
      incoming.resume();
      response.writeHead(meddled.status).end();
      return;
    }
    const { method, url, headers } = incoming;
    // With the Host of the front, so that the addresses in answers lead here again.
    const onward = request({ host: '127.0.0.1', port: this.#port, method, path: url, headers }, (answer) => {
      note(answer.statusCode ?? 0);
      response.writeHead(answer.statusCode ?? 0, answer.headers);
      pipeline(answer, response, () => {});
    });
    onward.on('error', () => response.destroy());
    pipeline(incoming, onward, () => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
