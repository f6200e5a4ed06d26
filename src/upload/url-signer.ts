import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { UploadError } from './upload-error.ts';

/** What a signed URL allows: one method on one path, until a moment, with so many bytes at most. */
export interface SignedGrant {
  readonly method: 'GET' | 'PUT';
  readonly path: string;
  /** Seconds since 1970. */
  readonly expires: number;
  /** Bytes; 0 where no body is sent. */
  readonly maxSize: number;
}

/** The query of a signed URL, as it comes in. */
export interface SignedQuery {
  readonly expires: number;
  readonly max: number;
  readonly signature: string;
}

/** Signs paths of this server with HMAC-SHA256. Every server that shares the key accepts them. */
export class UrlSigner {
  readonly #key: Uint8Array;
  readonly #clock: Clock;

  /** `key`: 32 random bytes or more. */
  constructor(key: Uint8Array, clock: Clock) {
    if (key.byteLength < 32) throw new TypeError('a key that signs URLs has 32 bytes at least');
    this.#key = key;
    this.#clock = clock;
  }

  /** `lifetime` is milliseconds. The result begins with the path. */
  sign({ method, path, maxSize, lifetime }: Omit<SignedGrant, 'expires'> & { lifetime: number }): string {
    const expires = Math.ceil((this.#clock.now() + lifetime) / 1000);
    const signature = this.#mac({ method, path, expires, maxSize }).toString('base64url');
    return `${path}?expires=${expires}&max=${maxSize}&signature=${signature}`;
  }

  /** Throws UploadError `bad-signature` or `expired`. */
  verify(method: 'GET' | 'PUT', path: string, { expires, max, signature }: SignedQuery): SignedGrant {
    const grant: SignedGrant = { method, path, expires, maxSize: max };
    const given = Buffer.from(signature, 'base64url');
    const right = this.#mac(grant);
    if (given.length !== right.length || !timingSafeEqual(given, right))
      throw new UploadError(
        'bad-signature',
        'The signature of the URL is wrong. Use the URL exactly as it was given.',
      );
    if (this.#clock.now() >= expires * 1000)
      throw new UploadError('expired', 'The URL has expired. Ask for a new one.');
    return grant;
  }

  #mac({ method, path, expires, maxSize }: SignedGrant): Buffer {
    return createHmac('sha256', this.#key).update(`${method}\n${path}\n${expires}\n${maxSize}`).digest();
  }
}
