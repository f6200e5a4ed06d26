import { type Digest, digestOf } from '../model/digest.ts';
import type { Tag } from '../model/tag.ts';
import type { RequestPurpose } from './oci-errors.ts';
import { type Descriptor, mediaTypes, parseManifest, type StoredManifest } from './oci-manifest.ts';
import { mostPages, nextPage } from './oci-pages.ts';
import type { OciSession } from './oci-session.ts';
import { pulling } from './registry-access.ts';
import { isAbsent, RegistryError } from './registry-error.ts';

/** Reads and writes manifests of one registry. */
export interface ManifestStore {
  getManifest(repository: string, reference: Tag | Digest, signal: AbortSignal): Promise<StoredManifest>;
  putManifest(
    repository: string,
    reference: Tag | Digest,
    manifest: Omit<StoredManifest, 'digest'>,
    signal: AbortSignal,
  ): Promise<Digest>;
}

/**
 * What refers to a manifest by its `subject`: signatures, lists of contents. Registries of version 1.1 of the
 * protocol keep a list themselves; for others the pusher keeps an index under the tag `sha256-<hex>`. Two that
 * push at the same time may lose each other's entry there: the protocol has nothing against it.
 */
export class OciReferrers {
  readonly #session: OciSession;
  readonly #manifests: ManifestStore;

  constructor(session: OciSession, manifests: ManifestStore) {
    this.#session = session;
    this.#manifests = manifests;
  }

  async list(
    repository: string,
    subject: Digest,
    signal: AbortSignal,
    artifactType?: string,
  ): Promise<Descriptor[]> {
    const found =
      (await this.#listed(repository, subject, signal)) ?? (await this.#tagged(repository, subject, signal));
    return artifactType === undefined ? found : found.filter((entry) => entry.artifactType === artifactType);
  }

  async put(
    repository: string,
    subject: Digest,
    manifest: Omit<StoredManifest, 'digest'>,
    signal: AbortSignal,
  ): Promise<Digest> {
    const own = digestOf(manifest.bytes);
    const digest = await this.#manifests.putManifest(repository, own, manifest, signal);
    if ((await this.#listed(repository, subject, signal)) !== undefined) return digest;
    const known = await this.#tagged(repository, subject, signal);
    const bytes = withReferrer(known, digest, manifest);
    if (bytes !== undefined) {
      const index = { mediaType: mediaTypes.ociIndex, bytes };
      await this.#manifests.putManifest(repository, fallbackTag(subject), index, signal);
    }
    return digest;
  }

  /** Undefined: the registry keeps no such list. */
  async #listed(repository: string, subject: Digest, signal: AbortSignal): Promise<Descriptor[] | undefined> {
    const found: Descriptor[] = [];
    const what = `listing what refers to ${repository}@${subject}`;
    const purpose: RequestPurpose = { registry: this.#session.name, what, absent: 'name-unknown' };
    let target: string | undefined = `/v2/${repository}/referrers/${subject}`;
    for (let page = 0; target !== undefined && page < mostPages; page += 1) {
      const answer = await this.#session.document(
        { method: 'GET', target, access: pulling(repository), purpose, expect: [200, 404, 405] },
        signal,
      );
      if (answer.status !== 200) return undefined;
      found.push(...parseReferrers(answer.body, subject));
      target = nextPage(answer.headers.link, answer.url);
    }
    return found;
  }

  async #tagged(repository: string, subject: Digest, signal: AbortSignal): Promise<Descriptor[]> {
    try {
      const { bytes } = await this.#manifests.getManifest(repository, fallbackTag(subject), signal);
      return parseReferrers(bytes, subject);
    } catch (error) {
      if (isAbsent(error)) return [];
      throw error;
    }
  }
}

function fallbackTag(subject: Digest): Tag {
  return subject.replace(':', '-') as Tag;
}

function parseReferrers(bytes: Buffer, subject: Digest): Descriptor[] {
  const index = parseManifest({ digest: subject, bytes });
  if (index.kind === 'index') return [...index.manifests];
  throw new RegistryError('invalid', `What lists the referrers of ${subject} is not an index.`);
}

/** The index with one referrer more; undefined when it is in there already. */
function withReferrer(
  known: readonly Descriptor[],
  digest: Digest,
  { mediaType, bytes }: Omit<StoredManifest, 'digest'>,
): Buffer | undefined {
  if (known.some((entry) => entry.digest === digest)) return undefined;
  const manifest: { artifactType?: unknown; annotations?: unknown; config?: { mediaType?: unknown } } =
    JSON.parse(bytes.toString('utf8'));
  // An artifact without a type of its own has that of its configuration.
  const artifactType = manifest.artifactType ?? manifest.config?.mediaType;
  const entry = {
    mediaType,
    digest,
    size: bytes.length,
    ...(typeof artifactType === 'string' ? { artifactType } : {}),
    ...(typeof manifest.annotations === 'object' ? { annotations: manifest.annotations } : {}),
  };
  const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [...known, entry] };
  return Buffer.from(JSON.stringify(index));
}
