import type { Readable } from 'node:stream';
import type { Digest } from '../model/digest.ts';
import type { RequestPurpose } from './oci-errors.ts';
import type { OciSession } from './oci-session.ts';
import { deleting, pulling, pushing } from './registry-access.ts';
import { RegistryError } from './registry-error.ts';

/** A blob to be uploaded: `open` is called anew for every try. */
export interface BlobSource {
  readonly digest: Digest;
  readonly size: number;
  readonly open: () => Readable;
}

/** Uploads of blobs: whole, in chunks, or by reference to another repository. */
export class OciUploads {
  readonly #session: OciSession;

  constructor(session: OciSession) {
    this.#session = session;
  }

  /** After a fault of the registry the whole upload is begun again. */
  async upload(
    repository: string,
    source: BlobSource,
    signal: AbortSignal,
    chunkSize?: number,
  ): Promise<void> {
    await this.#session.retrying(async () => {
      const { location, shortestChunk } = await this.#begin(repository, source.digest, signal);
      if (chunkSize === undefined) await this.#whole(repository, source, location, signal);
      else await this.#inChunks(repository, source, location, Math.max(chunkSize, shortestChunk), signal);
    }, signal);
  }

  async mount(repository: string, from: string, digest: Digest, signal: AbortSignal): Promise<boolean> {
    const answer = await this.#session.document(
      {
        method: 'POST',
        target: `/v2/${repository}/blobs/uploads/?${new URLSearchParams({ mount: digest, from })}`,
        access: [...pushing(repository), ...pulling(from)],
        purpose: this.#purpose(repository, digest),
        expect: [201, 202],
      },
      signal,
    );
    if (answer.status === 201) return true;
    await this.#cancel(repository, digest, locationOf(answer, this.#session.name), signal);
    return false;
  }

  /** Begins an upload and gives it up at once: throws as a push would that may not be. */
  async rehearse(repository: string, signal: AbortSignal): Promise<void> {
    const { location } = await this.#begin(repository, undefined, signal);
    await this.#cancel(repository, undefined, location, signal);
  }

  async #begin(
    repository: string,
    digest: Digest | undefined,
    signal: AbortSignal,
  ): Promise<{ location: string; shortestChunk: number }> {
    const answer = await this.#session.document(
      {
        method: 'POST',
        target: `/v2/${repository}/blobs/uploads/`,
        access: pushing(repository),
        purpose: this.#purpose(repository, digest),
        expect: [202],
      },
      signal,
    );
    const shortest = Number(answer.headers['oci-chunk-min-length'] ?? 0);
    return {
      location: locationOf(answer, this.#session.name),
      shortestChunk: Number.isSafeInteger(shortest) ? shortest : 0,
    };
  }

  async #whole(repository: string, source: BlobSource, location: string, signal: AbortSignal): Promise<void> {
    await this.#finish(repository, source.digest, location, signal, {
      headers: { 'content-type': 'application/octet-stream', 'content-length': String(source.size) },
      body: source.open,
    });
  }

  async #inChunks(
    repository: string,
    source: BlobSource,
    start: string,
    chunkSize: number,
    signal: AbortSignal,
  ): Promise<void> {
    let location = start;
    let offset = 0;
    for await (const chunk of chunksOf(source.open(), chunkSize)) {
      const answer = await this.#session.once(
        {
          method: 'PATCH',
          target: location,
          headers: {
            'content-type': 'application/octet-stream',
            'content-range': `${offset}-${offset + chunk.length - 1}`,
          },
          body: chunk,
          access: pushing(repository),
          purpose: this.#purpose(repository, source.digest),
          expect: [202],
        },
        signal,
      );
      answer.body.resume();
      location = locationOf(answer, this.#session.name);
      offset += chunk.length;
    }
    await this.#finish(repository, source.digest, location, signal, {});
  }

  async #finish(
    repository: string,
    digest: Digest,
    location: string,
    signal: AbortSignal,
    content: { headers?: Record<string, string>; body?: () => Readable },
  ): Promise<void> {
    const url = new URL(location);
    url.searchParams.set('digest', digest);
    const answer = await this.#session.once(
      {
        ...content,
        method: 'PUT',
        target: url.href,
        access: pushing(repository),
        purpose: this.#purpose(repository, digest),
        expect: [201, 204],
      },
      signal,
    );
    answer.body.resume();
  }

  /** A registry forgets an upload by itself in time, so a failure to cancel is nobody's. */
  async #cancel(
    repository: string,
    digest: Digest | undefined,
    location: string,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      const answer = await this.#session.once(
        {
          method: 'DELETE',
          target: location,
          access: deleting(repository),
          purpose: this.#purpose(repository, digest),
          expect: [200, 202, 204],
        },
        signal,
      );
      answer.body.resume();
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
    }
  }

  #purpose(repository: string, digest: Digest | undefined): RequestPurpose {
    return {
      registry: this.#session.name,
      what: digest === undefined ? `a push to ${repository}` : `pushing the blob ${repository}@${digest}`,
      absent: 'blob-unknown',
    };
  }
}

function locationOf(answer: { headers: { location?: string | undefined }; url: URL }, name: string): string {
  const url = URL.parse(answer.headers.location ?? '', answer.url.href);
  if (url === null || answer.headers.location === undefined) {
    throw new RegistryError('invalid', `${name} did not say where to upload to.`);
  }
  return url.href;
}

/** Pieces of exactly `size` bytes, but for the last. */
async function* chunksOf(stream: Readable, size: number): AsyncGenerator<Buffer> {
  let waiting: Buffer[] = [];
  let length = 0;
  for await (const piece of stream as AsyncIterable<Buffer>) {
    let rest = piece;
    while (length + rest.length >= size) {
      yield Buffer.concat([...waiting, rest.subarray(0, size - length)]);
      rest = rest.subarray(size - length);
      waiting = [];
      length = 0;
    }
    if (rest.length > 0) waiting.push(rest);
    length += rest.length;
  }
  if (length > 0) yield Buffer.concat(waiting);
}
