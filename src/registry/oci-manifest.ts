import { type Digest, digestOf, parseDigest } from '../model/digest.ts';
import { RegistryError } from './registry-error.ts';

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A manifest's exact bytes, as its digest covers them, with what they are. */
export interface StoredManifest {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Buffer;
}

export type Manifest =
  | { readonly kind: 'image'; readonly config: Descriptor; readonly layers: readonly Descriptor[] }
  | { readonly kind: 'index'; readonly manifests: readonly Descriptor[] };

export const mediaTypes = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
} as const;

/** What we accept when we ask for a manifest. */
export const manifestAccept = Object.values(mediaTypes).join(', ');

/** Reads a manifest, whatever its media type says: its fields decide. Throws RegistryError `invalid`. */
export function parseManifest({ digest, bytes }: Pick<StoredManifest, 'digest' | 'bytes'>): Manifest {
  const value = parseObject(bytes, digest);
  if (Array.isArray(value.manifests)) {
    return { kind: 'index', manifests: value.manifests.map((entry) => parseDescriptor(entry, digest)) };
  }
  if (!Array.isArray(value.layers)) {
    throw new RegistryError('invalid', `The manifest ${digest} is neither an image nor an index.`);
  }
  return {
    kind: 'image',
    config: parseDescriptor(value.config, digest),
    layers: value.layers.map((entry) => parseDescriptor(entry, digest)),
  };
}

/** Checks that bytes are those of a digest. */
export function verifyBytes(bytes: Uint8Array, expected: Digest, what: string): void {
  const actual = digestOf(bytes);
  if (actual === expected) return;
  throw new RegistryError('digest-mismatch', `${what} should be ${expected}, but its bytes are ${actual}.`);
}

function parseObject(bytes: Buffer, digest: Digest): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new RegistryError('invalid', `The manifest ${digest} is not JSON.`, error);
  }
  if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  throw new RegistryError('invalid', `The manifest ${digest} is not a JSON object.`);
}

function parseDescriptor(value: unknown, manifest: Digest): Descriptor {
  const { mediaType, digest, size, artifactType, annotations } = (value ?? {}) as Record<string, unknown>;
  const parsed = typeof digest === 'string' ? parseDigest(digest) : undefined;
  if (typeof mediaType !== 'string' || parsed === undefined || typeof size !== 'number' || !(size >= 0)) {
    throw new RegistryError(
      'invalid',
      `The manifest ${manifest} refers to something without type, digest or size.`,
    );
  }
  return {
    mediaType,
    digest: parsed,
    size,
    ...(typeof artifactType === 'string' ? { artifactType } : {}),
    ...(typeof annotations === 'object' && annotations !== null
      ? { annotations: annotations as Record<string, string> }
      : {}),
  };
}
