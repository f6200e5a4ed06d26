import type { Digest } from '../model/digest.ts';
import type { Tag } from '../model/tag.ts';
import { type Descriptor, mediaTypes, parseManifest, type StoredManifest } from './oci-manifest.ts';
import { RegistryError } from './registry-error.ts';

/** The tag under which registries without a list of referrers keep one: `sha256-<hex>`. */
export function fallbackTag(subject: Digest): Tag {
  return subject.replace(':', '-') as Tag;
}

/** The entries of an index of referrers. */
export function parseReferrers(bytes: Buffer, subject: Digest): Descriptor[] {
  const index = parseManifest({ digest: subject, bytes });
  if (index.kind === 'index') return [...index.manifests];
  throw new RegistryError('invalid', `What lists the referrers of ${subject} is not an index.`);
}

/** The index with one referrer more; undefined when it is in there already. */
export function withReferrer(
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
  return Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [...known, entry] }),
  );
}
