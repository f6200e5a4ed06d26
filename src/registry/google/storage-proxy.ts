import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import type { Clock } from '../../base/clock.ts';
import { messageOf } from '../../base/coded-error.ts';
import { type Answer, errorCode, readAnswer, refusal } from './answer.ts';
import { BucketClient, type GoogleBucket } from './bucket-client.ts';
import { multiDelete, parseMultiDelete } from './multi-delete.ts';
import { objectTarget } from './object-target.ts';
import { type AcceptedRequest, acceptRequest } from './request-check.ts';
import { type SigningKeys, sha256 } from './signature.ts';
import { streamedCopy } from './streamed-copy.ts';

/** Where the registry process finds the bucket, and with which key. */
export interface ProxiedBucket {
  readonly endpoint: string;
  readonly credentials: SigningKeys;
}

/** A thousand keys of a kibibyte, and what is around them. */
const longestDelete = 2 * 1024 * 1024;
const mostConnections = 1_024;

/** Of a request, what goes on to Google; not `x-amz-acl`, which a bucket with uniform access refuses. */
const forwardedHeaders = [
  'content-length',
  'content-md5',
  'content-type',
  'if-match',
  'if-none-match',
  'range',
  'x-amz-copy-source',
];
const hopHeaders = new Set(['alt-svc', 'connection', 'keep-alive', 'proxy-connection', 'transfer-encoding']);

/**
 * A bucket of Google Cloud Storage as docker-registry's driver for S3 expects one, on a port of the loopback. Only
 * who knows the key that `start` made is answered, so no other process of the machine comes through. What Google has
 * is passed on and signed anew; what it lacks is made of what it has.
 *
 * | state   | left by |
 * |---------|---------|
 * | stopped | start → started |
 * | started | stop → stopped |
 */
export class GoogleStorageProxy implements AsyncDisposable {
  readonly #bucket: GoogleBucket;
  readonly #clock: Clock;
  #server: Server | undefined;
  #client: BucketClient | undefined;
  readonly #running = new Set<Promise<void>>();

  constructor(bucket: GoogleBucket, clock: Clock) {
    this.#bucket = bucket;
    this.#clock = clock;
  }

  async start(): Promise<ProxiedBucket> {
    if (this.#server !== undefined) throw new Error('The proxy is started already.');
    const keys = {
      accessKey: `slipway${randomBytes(8).toString('hex')}`,
      secretKey: randomBytes(32).toString('base64url'),
    };
    const client = new BucketClient(this.#bucket, this.#clock);
    const server = createServer((request, response) => {
      const running = this.#serve(client, keys, request, response).finally(() =>
        this.#running.delete(running),
      );
      this.#running.add(running);
    });
    server.maxConnections = mostConnections;
    // A part is sent as fast as Google takes it.
    server.requestTimeout = 0;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    this.#server = server;
    this.#client = client;
    const address = server.address();
    if (address === null || typeof address === 'string') throw new TypeError('a TCP server has a port');
    return { endpoint: `http://127.0.0.1:${address.port}`, credentials: keys };
  }

  /** Breaks off what is under way: the registry has ended when this is called. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
    await Promise.all(this.#running);
    this.#client?.close();
    this.#client = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #serve(
    client: BucketClient,
    keys: SigningKeys,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    // What breaks is seen where the body is read; a request that is turned away has nobody who reads it.
    request.on('error', () => {});
    try {
      const accepted = acceptRequest(request, this.#bucket.bucket, keys, this.#clock.now());
      const answer =
        'refused' in accepted
          ? accepted.refused
          : await this.#carryOut(client, accepted.request, request, response, gone.signal);
      if (answer !== undefined) tell(response, request, answer);
    } catch (error) {
      // The registry's client tries again after such an answer, as it would with Google's own.
      if (response.headersSent) response.destroy();
      else tell(response, request, refusal(503, 'ServiceUnavailable', messageOf(error)));
    }
  }

  /** Returns the answer to give; undefined when it has been passed on. */
  async #carryOut(
    client: BucketClient,
    accepted: AcceptedRequest,
    request: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<Answer | undefined> {
    const { method, query, source } = accepted;
    if (request.headers['transfer-encoding'] !== undefined)
      return refusal(411, 'MissingContentLength', 'The request has to say how long it is.');
    if (method === 'POST' && query.has('delete'))
      return await this.#removeMany(client, accepted, request, signal);
    if (method === 'PUT' && source !== undefined)
      return await this.#copy(client, accepted, source, request, signal);
    const message = await client.send(
      {
        method,
        target: accepted.target,
        headers: forwarded(request),
        payloadHash: accepted.payloadHash,
        ...(hasBody(request) ? { body: request } : {}),
      },
      signal,
    );
    const headers = Object.entries(message.headersDistinct).flatMap(([name, values = []]) =>
      hopHeaders.has(name) ? [] : values.map((value): [string, string] => [name, value]),
    );
    response.writeHead(message.statusCode ?? 502, headers.flat());
    // The client's end aborts the request; that is no news to anybody.
    await pipeline(message, response).catch(() => response.destroy());
    return undefined;
  }

  async #removeMany(
    client: BucketClient,
    { payloadHash }: AcceptedRequest,
    request: IncomingMessage,
    signal: AbortSignal,
  ): Promise<Answer> {
    const body = await readBody(request, longestDelete);
    if (body === undefined) return refusal(400, 'MaxMessageLengthExceeded', 'The request is too long.');
    if (sha256(body) !== payloadHash)
      return refusal(400, 'XAmzContentSHA256Mismatch', 'The body is not the one that was signed.');
    const keys = parseMultiDelete(body.toString('utf8'));
    if (keys === undefined)
      return refusal(400, 'MalformedXML', 'The body is not a list of objects to remove.');
    return await multiDelete(keys, async (key) =>
      readAnswer(
        await client.send({ method: 'DELETE', target: objectTarget(this.#bucket.bucket, key) }, signal),
      ),
    );
  }

  /** Google copies whole objects by itself, but for some that were uploaded in parts, and never into a part. */
  async #copy(
    client: BucketClient,
    { target, query, payloadHash }: AcceptedRequest,
    source: string,
    request: IncomingMessage,
    signal: AbortSignal,
  ): Promise<Answer> {
    const { bucket } = this.#bucket;
    const headers = forwarded(request);
    if (!query.has('partNumber')) {
      const copying = { ...headers, 'content-length': '0' };
      const answer = await readAnswer(
        await client.send({ method: 'PUT', target, headers: copying, payloadHash }, signal),
      );
      if (errorCode(answer) !== 'NotImplemented') return answer;
    }
    const range = request.headers['x-amz-copy-source-range'];
    const contentType = headers['content-type'];
    return await streamedCopy(
      client,
      {
        bucket,
        source,
        target,
        ...(typeof range === 'string' ? { range } : {}),
        ...(contentType === undefined ? {} : { contentType }),
      },
      signal,
    );
  }
}

function forwarded(request: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const name of forwardedHeaders) {
    const value = request.headers[name];
    if (typeof value === 'string') headers[name] = value;
  }
  // Google refuses a request without a length where S3 takes it for empty.
  if (request.method === 'PUT' || request.method === 'POST') headers['content-length'] ??= '0';
  return headers;
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['content-length'] !== undefined && headers['content-length'] !== '0';
}

async function readBody(request: IncomingMessage, limit: number): Promise<Buffer | undefined> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    size += piece.length;
    if (size > limit) return undefined;
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function tell(response: ServerResponse, request: IncomingMessage, { status, body }: Answer): void {
  const unread = !request.complete;
  response.writeHead(status, {
    'content-type': 'application/xml',
    'content-length': Buffer.byteLength(body),
    ...(unread ? { connection: 'close' } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}
