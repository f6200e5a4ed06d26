import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { messageOf } from '../base/coded-error.ts';
import { BlobError } from './blob-error.ts';
import type { StoredBlob } from './blob-store.ts';

/**
 * What is to be stored, piece by piece, counted and hashed on its way. What goes wrong with the source is thrown as a
 * BlobError, so that it is told apart from what goes wrong with the store.
 */
export class BlobSource implements AsyncIterable<Uint8Array> {
  readonly #source: Readable;
  readonly #limit: number;
  readonly #signal: AbortSignal | undefined;
  readonly #hash = createHash('sha256');
  #size = 0;

  constructor(source: Readable, limit: number, signal: AbortSignal | undefined) {
    this.#source = source;
    this.#limit = limit;
    this.#signal = signal;
    // Somebody must hear of a source that fails before it is read; what it says is told by the iterator.
    source.once('error', () => {});
  }

  /** To be asked once, when everything was read. */
  stored(): StoredBlob {
    return { size: this.#size, sha256: this.#hash.digest('hex') };
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    const abort = () => this.#source.destroy();
    this.#signal?.addEventListener('abort', abort, { once: true });
    const pieces = this.#source[Symbol.asyncIterator]();
    try {
      // It may have fired before the listener was there.
      this.#signal?.throwIfAborted();
      for (;;) {
        const next = await pieces.next().catch(interrupted);
        if (next.done === true) break;
        const bytes: Uint8Array = typeof next.value === 'string' ? Buffer.from(next.value) : next.value;
        this.#size += bytes.byteLength;
        if (this.#size > this.#limit) {
          throw new BlobError(
            'too-large',
            `More than the ${this.#limit} bytes that are allowed were sent; send less, or have the limit raised.`,
          );
        }
        this.#hash.update(bytes);
        yield bytes;
      }
    } finally {
      this.#signal?.removeEventListener('abort', abort);
      await pieces.return?.();
    }
  }
}

function interrupted(thrown: unknown): never {
  if (thrown instanceof BlobError) throw thrown;
  throw new BlobError(
    'interrupted',
    `What was to be stored stopped before its end (${messageOf(thrown)}); send it again.`,
    thrown,
  );
}
