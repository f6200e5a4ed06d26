import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { createInterface } from 'node:readline';
import { maskSecrets } from '../mask-secrets.ts';
import { type Access, type Connection, fingerprintOf } from './access.ts';

/** What a call was for, for messages: `create jobs`. */
export interface Call {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** Begins with a slash; has the query. */
  readonly path: string;
  readonly body?: object;
  readonly verb: string;
  readonly resource: string;
}

/** The API answered with something else than success. */
export class ApiFailure extends Error {
  readonly status: number;
  readonly reason: string;
  readonly call: Call;

  constructor(status: number, reason: string, message: string, call: Call) {
    super(message);
    this.name = 'ApiFailure';
    this.status = status;
    this.reason = reason;
    this.call = call;
  }
}

/** No answer came. `cause` is Node's error. */
export class NoAnswer extends Error {
  readonly call: Call;

  constructor(call: Call, cause: unknown) {
    super('no answer', { cause });
    this.name = 'NoAnswer';
    this.call = call;
  }
}

export interface ApiClientOptions {
  readonly connection: Connection;
  /** Milliseconds for one call. */
  readonly timeout: number;
}

const answerLimit = 256 * 1024 * 1024;
const failureLimit = 64 * 1024;
const sockets = 16;

/** The few calls of the Kubernetes API that workers need, over connections that are kept. */
export class ApiClient {
  readonly #options: ApiClientOptions;
  #agent: { readonly of: string; readonly agent: HttpAgent | HttpsAgent } | undefined;

  constructor(options: ApiClientOptions) {
    this.#options = options;
  }

  /** Throws ApiFailure, NoAnswer, or the signal's reason. */
  async json<T>(call: Call, signal?: AbortSignal): Promise<T> {
    return JSON.parse(await this.text(call, signal)) as T;
  }

  async text(call: Call, signal?: AbortSignal): Promise<string> {
    const limited = AbortSignal.any([
      AbortSignal.timeout(this.#options.timeout),
      ...(signal === undefined ? [] : [signal]),
    ]);
    try {
      const response = await this.#send(call, limited);
      return await bodyOf(response, answerLimit);
    } catch (thrown) {
      if (signal?.aborted) throw signal.reason;
      throw isOurs(thrown) ? thrown : new NoAnswer(call, limited.aborted ? limited.reason : thrown);
    }
  }

  /** The lines of an answer that goes on, until it ends or is cut. */
  async *lines(call: Call, signal: AbortSignal): AsyncGenerator<string> {
    const response = await this.#send(call, signal);
    try {
      yield* createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY });
    } finally {
      response.destroy();
    }
  }

  async #send(call: Call, signal: AbortSignal): Promise<IncomingMessage> {
    const access = await this.#options.connection();
    const response = await this.#request(access, call, signal);
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return response;
    throw failureOf(status, await bodyOf(response, failureLimit), call, secretsOf(access));
  }

  #request(access: Access, { method, path, body }: Call, signal: AbortSignal): Promise<IncomingMessage> {
    const url = new URL(access.server + path);
    const text = body === undefined ? undefined : JSON.stringify(body);
    const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    return new Promise((resolve, reject) => {
      const request = (url.protocol === 'http:' ? httpRequest : httpsRequest)(
        url,
        {
          method,
          agent: this.#agentFor(access),
          signal,
          headers: {
            ...access.headers,
            accept: 'application/json, */*;q=0.1',
            'user-agent': 'slipway',
            ...(text === undefined
              ? {}
              : { 'content-type': type, 'content-length': Buffer.byteLength(text) }),
          },
        },
        resolve,
      );
      request.once('error', reject);
      request.end(text);
    });
  }

  #agentFor(access: Access): HttpAgent | HttpsAgent {
    const of = fingerprintOf(access);
    if (this.#agent?.of === of) return this.#agent.agent;
    this.#agent?.agent.destroy();
    const kept = { keepAlive: true, maxSockets: sockets, scheduling: 'lifo' } as const;
    const agent = access.server.startsWith('http:')
      ? new HttpAgent(kept)
      : new HttpsAgent({ ...kept, ...access.tls });
    this.#agent = { of, agent };
    return agent;
  }

  close(): void {
    this.#agent?.agent.destroy();
    this.#agent = undefined;
  }
}

/** What it is sent that nobody else may read: the token, with and without its kind. */
function secretsOf({ headers }: Access): readonly string[] {
  return Object.values(headers).flatMap((value) => [value, value.replace(/^\S+\s+/, '')]);
}

function isOurs(thrown: unknown): boolean {
  return thrown instanceof ApiFailure || (thrown instanceof Error && thrown.name === 'ExecutorError');
}

async function bodyOf(response: IncomingMessage, limit: number): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > limit) throw new Error(`the answer is longer than ${limit} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** A Status object, or what something in between answered; either may repeat what was sent. */
function failureOf(status: number, body: string, call: Call, secrets: readonly string[]): ApiFailure {
  const failure = (reason: string, message: string) =>
    new ApiFailure(status, maskSecrets(reason, secrets), maskSecrets(message, secrets), call);
  try {
    const { reason, message } = JSON.parse(body) as { readonly reason?: unknown; readonly message?: unknown };
    return failure(text(reason), text(message));
  } catch {
    // Masked before it is cut, which could leave a part that nothing knows.
    return failure('', maskSecrets(body, secrets).slice(0, 200).trim());
  }
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
