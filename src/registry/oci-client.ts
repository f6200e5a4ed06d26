import type { Readable } from 'node:stream';
import type { Clock } from '../base/clock.ts';
import { type Digest, digestOf, parseDigest } from '../model/digest.ts';
import { parseTag, type Tag } from '../model/tag.ts';
import { OciAuthorization, type OciCredentials } from './oci-authorization.ts';
import type { RequestPurpose } from './oci-errors.ts';
import { type Descriptor, manifestAccept, type StoredManifest, verifyBytes } from './oci-manifest.ts';
import { mostPages, nextPage } from './oci-pages.ts';
import { OciReferrers } from './oci-referrers.ts';
import { OciSession } from './oci-session.ts';
import { OciTransport, type RegistryEndpoint } from './oci-transport.ts';
import { type BlobSource, OciUploads } from './oci-uploads.ts';
import { deleting, pulling, pushing } from './registry-access.ts';
import { isAbsent, RegistryError } from './registry-error.ts';

export interface OciClientOptions {
  readonly endpoint: RegistryEndpoint;
  readonly credentials: OciCredentials;
  readonly clock: Clock;
}

const pageSize = 1_000;

/**
 * A client of the OCI distribution protocol for one registry. Every method throws RegistryError or the signal's
 * reason. Answers of 5xx, 429 and broken connections are tried again, up to four times in all. Digests are
 * checked over the bytes, whatever the registry says.
 */
export class OciClient {
  readonly #transport: OciTransport;
  readonly #session: OciSession;
  readonly #uploads: OciUploads;
  readonly #referrers: OciReferrers;

  constructor({ endpoint, credentials, clock }: OciClientOptions) {
    this.#transport = new OciTransport(endpoint);
    this.#session = new OciSession(
      this.#transport,
      new OciAuthorization(this.#transport, credentials, clock),
      clock,
    );
    this.#uploads = new OciUploads(this.#session);
    this.#referrers = new OciReferrers(this.#session, this);
  }

  /** The registry's name in messages. */
  get name(): string {
    return this.#session.name;
  }

  /** Checks that the registry is there and accepts our credentials. */
  async ping(signal: AbortSignal): Promise<void> {
    const purpose: RequestPurpose = { registry: this.name, what: 'a look at /v2/', absent: 'name-unknown' };
    const { headers } = await this.#session.document(
      { method: 'GET', target: '/v2/', access: [], purpose, expect: [200] },
      signal,
    );
    if (headers['content-type']?.startsWith('text/html') === true)
      throw new RegistryError('invalid', `${this.name} answers ${purpose.what} with a web page.`);
  }

  /** Checks that our credentials may push to a repository, and leaves nothing there. */
  async rehearsePush(repository: string, signal: AbortSignal): Promise<void> {
    await this.#uploads.rehearse(repository, signal);
  }

  /** What a tag or digest stands for; undefined when there is none. */
  async headManifest(
    repository: string,
    reference: Tag | Digest,
    signal: AbortSignal,
  ): Promise<{ digest: Digest; mediaType: string; size: number } | undefined> {
    try {
      const { headers } = await this.#session.document(
        this.#manifestExchange('HEAD', repository, reference, 'a look at'),
        signal,
      );
      const digest = parseDigest(String(headers['docker-content-digest'] ?? ''));
      if (digest !== undefined) {
        const mediaType = headers['content-type'] ?? '';
        return { digest, mediaType, size: Number(headers['content-length'] ?? 0) };
      }
      const { bytes, ...manifest } = await this.getManifest(repository, reference, signal);
      return { ...manifest, size: bytes.length };
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  async getManifest(
    repository: string,
    reference: Tag | Digest,
    signal: AbortSignal,
  ): Promise<StoredManifest> {
    const { headers, body } = await this.#session.document(
      this.#manifestExchange('GET', repository, reference, 'pulling'),
      signal,
    );
    const said = parseDigest(reference) ?? parseDigest(String(headers['docker-content-digest'] ?? ''));
    if (said !== undefined) verifyBytes(body, said, `${this.name}/${join(repository, reference)}`);
    return { digest: said ?? digestOf(body), mediaType: headers['content-type'] ?? '', bytes: body };
  }

  /** Stores a manifest or an index under a tag or its own digest. Returns its digest. */
  async putManifest(
    repository: string,
    reference: Tag | Digest,
    { mediaType, bytes }: Omit<StoredManifest, 'digest'>,
    signal: AbortSignal,
  ): Promise<Digest> {
    const digest = digestOf(bytes);
    const { headers } = await this.#session.document(
      {
        ...this.#manifestExchange('PUT', repository, reference, 'pushing'),
        headers: { 'content-type': mediaType },
        body: bytes,
        expect: [200, 201, 202],
      },
      signal,
    );
    const said = headers['docker-content-digest'];
    if (said !== undefined && said !== digest) {
      throw new RegistryError(
        'digest-mismatch',
        `${this.name} stored ${join(repository, reference)} as ${said}, but it was sent ${digest}.`,
      );
    }
    return digest;
  }

  /** Removes a manifest (a digest) or, where the registry can, a tag. Returns whether it was there. */
  async deleteManifest(repository: string, reference: Tag | Digest, signal: AbortSignal): Promise<boolean> {
    try {
      const exchange = this.#manifestExchange('DELETE', repository, reference, 'deleting');
      await this.#session.document({ ...exchange, expect: [200, 202, 204] }, signal);
      return true;
    } catch (error) {
      if (isAbsent(error)) return false;
      throw error;
    }
  }

  /** All tags, page by page; none for an unknown repository. */
  async listTags(repository: string, signal: AbortSignal): Promise<Tag[]> {
    const tags: Tag[] = [];
    let target: string | undefined = `/v2/${repository}/tags/list?n=${pageSize}`;
    const purpose: RequestPurpose = {
      registry: this.name,
      what: `listing the tags of ${repository}`,
      absent: 'name-unknown',
    };
    try {
      for (let page = 0; target !== undefined; page += 1) {
        if (page >= mostPages)
          throw new RegistryError('invalid', `${this.name} goes on listing tags for ever.`);
        const answer = await this.#session.document(
          { method: 'GET', target, access: pulling(repository), purpose, expect: [200] },
          signal,
        );
        tags.push(...parseTags(answer.body, this.name));
        target = nextPage(answer.headers.link, answer.url);
      }
    } catch (error) {
      if (error instanceof RegistryError && error.code === 'name-unknown') return [];
      throw error;
    }
    return tags;
  }

  /** A blob's size; undefined when there is none. */
  async headBlob(repository: string, digest: Digest, signal: AbortSignal): Promise<number | undefined> {
    try {
      const { headers } = await this.#session.document(
        this.#blobExchange('HEAD', repository, digest),
        signal,
      );
      return Number(headers['content-length'] ?? 0);
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  /** A blob's bytes as a stream, which the caller must read or destroy, and check against the digest. */
  async getBlob(
    repository: string,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<{ size: number | undefined; stream: Readable }> {
    const exchange = this.#blobExchange('GET', repository, digest);
    const { headers, body } = await this.#session.retrying(
      () => this.#session.once(exchange, signal),
      signal,
    );
    const length = headers['content-length'];
    return { size: length === undefined ? undefined : Number(length), stream: body };
  }

  /** Uploads a blob unless the repository has it already; with `chunkSize`, in pieces of that many bytes. */
  async putBlob(
    repository: string,
    source: BlobSource,
    signal: AbortSignal,
    chunkSize?: number,
  ): Promise<void> {
    if ((await this.headBlob(repository, source.digest, signal)) !== undefined) return;
    await this.#uploads.upload(repository, source, signal, chunkSize);
  }

  /** Makes another repository's blob this one's without moving its bytes. False: it has to be uploaded. */
  async mountBlob(repository: string, from: string, digest: Digest, signal: AbortSignal): Promise<boolean> {
    return await this.#uploads.mount(repository, from, digest, signal);
  }

  /** What refers to a manifest by its `subject`: by the registry's own list, else by the fall-back tag. */
  async referrers(
    repository: string,
    subject: Digest,
    signal: AbortSignal,
    artifactType?: string,
  ): Promise<Descriptor[]> {
    return await this.#referrers.list(repository, subject, signal, artifactType);
  }

  /** Pushes a manifest that has a `subject`, and keeps the fall-back tag where the registry has no list of its own. */
  async putReferrer(
    repository: string,
    subject: Digest,
    manifest: Omit<StoredManifest, 'digest'>,
    signal: AbortSignal,
  ): Promise<Digest> {
    return await this.#referrers.put(repository, subject, manifest, signal);
  }

  /** Closes the connections that are kept. */
  close(): void {
    this.#transport.close();
  }

  #manifestExchange(
    method: 'GET' | 'HEAD' | 'PUT' | 'DELETE',
    repository: string,
    reference: Tag | Digest,
    verb: string,
  ) {
    return {
      method,
      target: `/v2/${repository}/manifests/${reference}`,
      headers: { accept: manifestAccept },
      access:
        method === 'PUT'
          ? pushing(repository)
          : method === 'DELETE'
            ? deleting(repository)
            : pulling(repository),
      purpose: {
        registry: this.name,
        what: `${verb} ${join(repository, reference)}`,
        absent: 'manifest-unknown',
      },
      expect: [200],
    } as const;
  }

  #blobExchange(method: 'GET' | 'HEAD', repository: string, digest: Digest) {
    return {
      method,
      target: `/v2/${repository}/blobs/${digest}`,
      access: pulling(repository),
      purpose: {
        registry: this.name,
        what: `pulling the blob ${join(repository, digest)}`,
        absent: 'blob-unknown',
      },
      expect: [200],
    } as const;
  }
}

function join(repository: string, reference: Tag | Digest): string {
  return parseDigest(reference) === undefined ? `${repository}:${reference}` : `${repository}@${reference}`;
}

function parseTags(body: Buffer, name: string): Tag[] {
  let answer: { tags?: unknown } | null;
  try {
    answer = JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw new RegistryError('invalid', `${name} did not list its tags in JSON.`, error);
  }
  const tags = answer?.tags ?? [];
  if (!Array.isArray(tags)) throw new RegistryError('invalid', `${name} did not list its tags.`);
  return tags.flatMap((tag) => (typeof tag === 'string' ? (parseTag(tag) ?? []) : []));
}
