import { backOff } from '../base/back-off.ts';
import type { Clock } from '../base/clock.ts';
import { readBody } from './manifest-body.ts';
import type { OciAuthorization } from './oci-authorization.ts';
import { errorOfAnswer, errorOfConnection, type RequestPurpose } from './oci-errors.ts';
import type { OciAnswer, OciRequest, OciTransport } from './oci-transport.ts';
import type { RegistryAccess } from './registry-access.ts';
import { isTransient, RegistryError } from './registry-error.ts';

/** A request and what it needs to be understood. */
export interface OciExchange extends OciRequest {
  readonly access: readonly RegistryAccess[];
  readonly purpose: RequestPurpose;
  /** The statuses that are no error. */
  readonly expect: readonly number[];
}

export interface OciDocument {
  readonly status: number;
  readonly headers: OciAnswer['headers'];
  readonly body: Buffer;
  readonly url: URL;
}

const tries = 4;
const retryBackOff = { first: 250, cap: 4_000 };
const longestRetryAfter = 20_000;
const largestDocument = 4 * 1024 * 1024;
const largestErrorBody = 64 * 1024;

/** Requests to one registry with login, retries and errors in Slipway's words. */
export class OciSession {
  readonly #transport: OciTransport;
  readonly #authorization: OciAuthorization;
  readonly #clock: Clock;

  constructor(transport: OciTransport, authorization: OciAuthorization, clock: Clock) {
    this.#transport = transport;
    this.#authorization = authorization;
    this.#clock = clock;
  }

  get name(): string {
    return this.#transport.name;
  }

  /** Once, and again after a login. The caller reads the body. */
  async once(exchange: OciExchange, signal: AbortSignal): Promise<OciAnswer> {
    const { access, purpose, expect } = exchange;
    try {
      for (let again = 0; ; again += 1) {
        signal.throwIfAborted();
        const authorization = await this.#authorization.header(access, purpose, signal);
        const headers = { ...exchange.headers, ...(authorization === undefined ? {} : { authorization }) };
        const answer = await this.#transport.send({ ...exchange, headers }, signal);
        if (expect.includes(answer.status)) return answer;
        const body = await readBody(answer.body, largestErrorBody);
        if (answer.status === 401 && again === 0) {
          if (this.#authorization.refused(answer.headers['www-authenticate'], access, authorization))
            continue;
        }
        const error = errorOfAnswer(
          answer.status,
          Buffer.isBuffer(body) ? body.toString('utf8') : '',
          purpose,
        );
        throw attachRetryAfter(error, answer.headers['retry-after']);
      }
    } catch (error) {
      signal.throwIfAborted();
      throw errorOfConnection(error, purpose);
    }
  }

  /** Once or, while the registry is at fault, up to four times. Reads the whole body. */
  async document(exchange: OciExchange, signal: AbortSignal): Promise<OciDocument> {
    return await this.retrying(async () => {
      const answer = await this.once(exchange, signal);
      const body = await readBody(answer.body, largestDocument);
      if (body === 'too-large') {
        answer.body.destroy();
        throw new RegistryError(
          'too-large',
          `${this.name} answered ${exchange.purpose.what} with more than ${largestDocument} bytes.`,
        );
      }
      if (body === 'broken-off') throw errorOfConnection(new Error('the answer broke off'), exchange.purpose);
      return { status: answer.status, headers: answer.headers, body, url: answer.url };
    }, signal);
  }

  async retrying<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (let n = 0; ; n += 1) {
      try {
        return await work();
      } catch (error) {
        if (signal.aborted || !isTransient(error) || n + 1 >= tries) throw error;
        await this.#clock.sleep(retryAfterOf(error) ?? backOff(n, retryBackOff), signal);
      }
    }
  }
}

const retryAfter = new WeakMap<object, number>();

/** Only seconds; the header's other form, a date, is as good as none for waits this short. */
function attachRetryAfter(error: RegistryError, header: string | undefined): RegistryError {
  const seconds = Number(header);
  if (header !== undefined && Number.isFinite(seconds) && seconds >= 0) {
    retryAfter.set(error, Math.min(seconds * 1000, longestRetryAfter));
  }
  return error;
}

function retryAfterOf(error: unknown): number | undefined {
  return typeof error === 'object' && error !== null ? retryAfter.get(error) : undefined;
}
