import type { IncomingMessage } from 'node:http';
import type { Clock } from '../base/clock.ts';
import { ApiError } from './api-error.ts';

export interface WebhookBodiesOptions {
  readonly clock: Clock;
  /** Bytes of one body. */
  readonly limit: number;
  /** Milliseconds for all of a body; 20,000 unless given. */
  readonly patience?: number;
  /** Bytes up to which a body is always taken; 1 MiB unless given. */
  readonly small?: number;
  /** Larger ones that are held at once; 8 unless given. */
  readonly mostLarge?: number;
}

/**
 * Bodies of deliveries, as the bytes they came as: signatures are made over these. Strangers can send them, so the large
 * ones are few at once, and the slow ones are not waited for. The usual ones are small, and never stand behind those.
 */
export class WebhookBodies {
  readonly #clock: Clock;
  readonly #limit: number;
  readonly #patience: number;
  readonly #small: number;
  readonly #mostLarge: number;
  #large = 0;

  constructor({ clock, limit, patience = 20_000, small = 1024 * 1024, mostLarge = 8 }: WebhookBodiesOptions) {
    this.#clock = clock;
    this.#limit = limit;
    this.#patience = patience;
    this.#small = small;
    this.#mostLarge = mostLarge;
  }

  /** Reads a body and holds it for `work`. Throws ApiError `too_large`, `too_slow`, `unavailable`, `invalid_request`. */
  async use<T>(incoming: IncomingMessage, work: (body: Buffer) => Promise<T>): Promise<T> {
    const declared = Number(incoming.headers['content-length'] ?? 0);
    if (declared > this.#limit) throw this.#tooLarge();
    const over = new AbortController();
    let large = false;
    const admit = (size: number): void => {
      if (size > this.#limit) throw this.#tooLarge();
      if (large || size <= this.#small) return;
      if (this.#large >= this.#mostLarge)
        throw new ApiError(
          'unavailable',
          'Too many large deliveries come at this moment. Send it again in a few seconds.',
          { retryAfter: 5 },
        );
      large = true;
      this.#large += 1;
    };
    try {
      admit(declared);
      const late = this.#clock.sleep(this.#patience, over.signal).then(() => {
        throw new ApiError(
          'too_slow',
          `The body did not come within ${this.#patience / 1000} s. Send it at once.`,
        );
      });
      // It is given up when the body is there.
      late.catch(() => {});
      const body = await Promise.race([read(incoming, admit, over.signal), late]);
      over.abort();
      return await work(body);
    } finally {
      over.abort();
      if (large) this.#large -= 1;
    }
  }

  #tooLarge(): ApiError {
    return new ApiError(
      'too_large',
      `The delivery is larger than the ${this.#limit} bytes that are taken. Push fewer commits at once.`,
    );
  }
}

async function read(
  incoming: IncomingMessage,
  admit: (size: number) => void,
  over: AbortSignal,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  return await new Promise<Buffer>((resolve, reject) => {
    const onData = (chunk: Buffer): void => {
      size += chunk.length;
      try {
        admit(size);
        chunks.push(chunk);
      } catch (thrown) {
        end();
        reject(thrown);
      }
    };
    const onEnd = (): void => {
      end();
      resolve(Buffer.concat(chunks, size));
    };
    const onLost = (): void => {
      end();
      reject(new ApiError('invalid_request', 'The delivery was broken off before its end. Send it again.'));
    };
    const end = (): void => {
      incoming.off('data', onData).off('end', onEnd).off('error', onLost).off('close', onLost);
      over.removeEventListener('abort', end);
    };
    over.addEventListener('abort', end);
    incoming.on('data', onData).on('end', onEnd).on('error', onLost).on('close', onLost);
  });
}
