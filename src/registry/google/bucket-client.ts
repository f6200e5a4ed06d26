import { type IncomingMessage, Agent as PlainAgent, request as plainRequest } from 'node:http';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';
import type { Readable } from 'node:stream';
import type { Clock } from '../../base/clock.ts';
import { messageOf } from '../../base/coded-error.ts';
import { RegistryError } from '../registry-error.ts';
import { authorizationOf, type SigningKeys, sha256, signingTime } from './signature.ts';

/** A bucket of Google Cloud Storage, reached through the S3-compatible API with an HMAC key. */
export interface GoogleBucket {
  readonly bucket: string;
  /** `http(s)://host[:port]` */
  readonly endpoint: string;
  readonly region: string;
  readonly credentials: SigningKeys;
}

export interface BucketRequest {
  readonly method: string;
  /** Path, which begins with the bucket, and query, as they go on the wire. */
  readonly target: string;
  /** In lower case; without those of the signature. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Readable;
  /** SHA-256 of the body, or `UNSIGNED-PAYLOAD`; absent: there is no body. */
  readonly payloadHash?: string;
}

const emptyHash = sha256('');
/** Copies and completed uploads are answered late. */
const silence = 300_000;

/** Signs requests and sends them to Google; the answer's body is the caller's to read or destroy. */
export class BucketClient {
  readonly #bucket: GoogleBucket;
  readonly #clock: Clock;
  readonly #url: URL;
  readonly #agent: PlainAgent;

  constructor(bucket: GoogleBucket, clock: Clock) {
    this.#bucket = bucket;
    this.#clock = clock;
    this.#url = new URL(bucket.endpoint);
    const settings = { keepAlive: true, maxFreeSockets: 32 };
    this.#agent = this.#isTls ? new TlsAgent(settings) : new PlainAgent(settings);
  }

  get #isTls(): boolean {
    return this.#url.protocol === 'https:';
  }

  /** Throws RegistryError `unavailable` when no answer comes; whatever Google answers is returned. */
  send(request: BucketRequest, signal: AbortSignal): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const { body } = request;
      const sent = (this.#isTls ? tlsRequest : plainRequest)(this.#url, {
        method: request.method,
        path: request.target,
        headers: this.#signed(request),
        agent: this.#agent,
        signal,
      });
      const fail = (cause: unknown) => {
        const message = `${this.#url.host} cannot be reached: ${messageOf(cause)}. Is the network up, and is the host allowed by the firewall?`;
        reject(new RegistryError('unavailable', message, cause));
      };
      const broken = () => sent.destroy(new Error('the body of the request broke off'));
      sent.setTimeout(silence, () => sent.destroy(new Error(`no byte came for ${silence / 1_000} s`)));
      sent.once('response', resolve);
      // Stays: an error after the answer's head is told by the answer's body.
      sent.on('error', fail);
      if (body === undefined) {
        sent.end();
        return;
      }
      body.once('error', broken);
      sent.once('close', () => body.off('error', broken).on('error', () => {}));
      body.pipe(sent);
    });
  }

  close(): void {
    this.#agent.destroy();
  }

  #signed({ method, target, headers = {}, payloadHash = emptyHash }: BucketRequest): Record<string, string> {
    const { region, credentials } = this.#bucket;
    const time = signingTime(this.#clock.now());
    const signed: Record<string, string> = {
      host: this.#url.host,
      'x-amz-content-sha256': payloadHash,
      'x-amz-date': time,
    };
    // Google's front end changes some headers on the way (accept-encoding), so only those that have to be are signed.
    for (const [name, value] of Object.entries(headers)) if (name.startsWith('x-amz-')) signed[name] = value;
    const request = { method, target, headers: signed, payloadHash };
    return {
      ...headers,
      ...signed,
      'accept-encoding': 'identity',
      authorization: authorizationOf(request, time, region, credentials),
    };
  }
}
