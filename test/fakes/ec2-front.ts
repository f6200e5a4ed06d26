import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Ec2Call {
  readonly action: string;
  readonly form: URLSearchParams;
}

export type Ec2Answer =
  /** EC2's error XML. */
  | { readonly status: number; readonly code: string; readonly message?: string }
  /** An answer of the test's own. */
  | { readonly xml: string }
  /** The call is carried out, and its answer is lost. */
  | 'lost'
  /** Nothing happens, for ever. */
  | 'hang';

interface Started {
  readonly parameters: string;
  readonly answer: Promise<Answer>;
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

/**
 * Stands in front of an EC2 API and adds what the emulator behind it lacks: client tokens, which make a start idempotent,
 * and trouble on demand. Everything else is passed on as it is, signature included.
 */
export class Ec2Front implements AsyncDisposable {
  readonly calls: Ec2Call[] = [];
  /** Called with each instance that was started, before its answer is sent. */
  onStarted: ((id: string, userData: string) => Promise<void> | void) | undefined;
  readonly #behind: URL;
  readonly #server: Server;
  readonly #planned: { readonly action: string; readonly answer: Ec2Answer; left: number }[] = [];
  readonly #started = new Map<string, Started>();

  constructor(behind: string) {
    this.#behind = new URL(behind);
    this.#server = createServer((incoming, response) => {
      this.#handle(incoming, response).catch((thrown: unknown) => {
        if (!response.headersSent) response.writeHead(502);
        response.end(String(thrown));
      });
    });
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  count(action: string): number {
    return this.calls.filter((call) => call.action === action).length;
  }

  /** The next calls of this name are answered so. */
  plan(action: string, answer: Ec2Answer, times = Number.POSITIVE_INFINITY): void {
    this.#planned.push({ action, answer, left: times });
  }

  /** From now on everything goes through. */
  recover(): void {
    this.#planned.length = 0;
  }

  async #handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = '';
    for await (const part of incoming) body += String(part);
    const form = new URLSearchParams(body);
    const action = form.get('Action') ?? '';
    this.calls.push({ action, form });
    const planned = this.#planned.find((plan) => plan.action === action && plan.left > 0);
    if (planned !== undefined) {
      planned.left -= 1;
      const { answer } = planned;
      if (answer === 'hang') return;
      if (answer === 'lost') {
        await this.#carryOut(incoming, body, form);
        response.destroy();
        return;
      }
      const xml = 'xml' in answer ? answer.xml : errorXml(answer.code, answer.message ?? 'as planned');
      reply(response, { status: 'xml' in answer ? 200 : answer.status, body: xml });
      return;
    }
    reply(response, await this.#carryOut(incoming, body, form));
  }

  async #carryOut(incoming: IncomingMessage, body: string, form: URLSearchParams): Promise<Answer> {
    if (form.get('Action') !== 'RunInstances') return await this.#pass(incoming, body);
    const token = form.get('ClientToken') ?? '';
    const before = this.#started.get(token);
    if (before !== undefined) {
      if (before.parameters === body) return await before.answer;
      const message =
        'Arguments on this idempotent request are inconsistent with those used in previous request(s).';
      return { status: 400, body: errorXml('IdempotentParameterMismatch', message) };
    }
    const answer = this.#run(incoming, body, form);
    this.#started.set(token, { parameters: body, answer });
    // What was refused may be asked again.
    if ((await answer).status !== 200) this.#started.delete(token);
    return await answer;
  }

  async #run(incoming: IncomingMessage, body: string, form: URLSearchParams): Promise<Answer> {
    const answer = await this.#pass(incoming, body);
    const id = /<instanceId>(i-[0-9a-f]+)</.exec(answer.body)?.[1];
    if (answer.status === 200 && id !== undefined) {
      await this.onStarted?.(id, Buffer.from(form.get('UserData') ?? '', 'base64').toString());
    }
    return answer;
  }

  #pass(incoming: IncomingMessage, body: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const options = {
        host: this.#behind.hostname,
        port: this.#behind.port,
        method: incoming.method ?? 'POST',
        path: incoming.url ?? '/',
        headers: incoming.headers,
      };
      const outgoing = request(options, (answer) => {
        let text = '';
        answer.on('data', (part: Buffer) => {
          text += part.toString();
        });
        answer.on('end', () => resolve({ status: answer.statusCode ?? 502, body: text }));
        answer.on('error', reject);
      });
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function reply(response: ServerResponse, { status, body }: Answer): void {
  response.writeHead(status, { 'content-type': 'text/xml' });
  response.end(body);
}

function errorXml(code: string, message: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?><Response><Errors><Error><Code>${code}</Code><Message>${message}</Message></Error></Errors><RequestID>00000000-0000-4000-8000-000000000000</RequestID></Response>`;
}
