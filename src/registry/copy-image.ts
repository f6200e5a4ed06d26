import { Readable } from 'node:stream';
import type { Digest } from '../model/digest.ts';
import type { Tag } from '../model/tag.ts';
import type { OciClient } from './oci-client.ts';
import { type Descriptor, parseManifest, type StoredManifest } from './oci-manifest.ts';
import { isTransient, RegistryError } from './registry-error.ts';

export interface ImageCopy {
  readonly source: OciClient;
  readonly target: OciClient;
  /** Paths in the two registries. */
  readonly from: string;
  readonly to: string;
  readonly digest: Digest;
  readonly tags: readonly Tag[];
  /** Other paths in the target that may have some of the blobs. */
  readonly siblings: readonly string[];
  /** Asked before each blob and each tag; rejects when the copy must not go on. */
  readonly still: () => Promise<void>;
  /** Told of each tag once the target serves the digest under it. */
  readonly onTag: (tag: Tag) => void;
}

/** Of an index, itself included. */
const mostManifests = 200;

/**
 * Copies an image, or an index with its images, by digest, and then puts the tags on it, in their order. The bytes of
 * the manifests stay the same, so both registries serve one digest. What the target has is not sent again: a copy that
 * was broken off goes on after the last whole blob. Blobs are streamed one after the other, never held.
 */
export async function copyImage(copy: ImageCopy, signal: AbortSignal): Promise<void> {
  const seen = new Set<Digest>();
  const manifest = await copyParts(copy, copy.digest, seen, signal);
  for (const tag of copy.tags) {
    await copy.still();
    await copy.target.putManifest(copy.to, tag, manifest, signal);
    const served = await copy.target.headManifest(copy.to, tag, signal);
    if (served?.digest !== copy.digest)
      throw new RegistryError(
        'digest-mismatch',
        `${copy.target.name}/${copy.to}:${tag} was set to ${copy.digest}, but the registry serves ${served?.digest ?? 'nothing'}. ` +
          'Somebody else may be pushing the same tag; build again.',
      );
    copy.onTag(tag);
  }
}

/** Everything a manifest needs before the target accepts it; for an index, its manifests as well. */
async function copyParts(
  copy: ImageCopy,
  digest: Digest,
  seen: Set<Digest>,
  signal: AbortSignal,
): Promise<StoredManifest> {
  seen.add(digest);
  if (seen.size > mostManifests)
    throw new RegistryError(
      'too-large',
      `The image ${copy.digest} has more than ${mostManifests} manifests.`,
    );
  const manifest = await fromSource(() => copy.source.getManifest(copy.from, digest, signal));
  const parts = parseManifest(manifest);
  if (parts.kind === 'image') {
    for (const blob of [parts.config, ...parts.layers]) {
      if (seen.has(blob.digest) || isForeign(blob)) continue;
      seen.add(blob.digest);
      await copyBlob(copy, blob, signal);
    }
    return manifest;
  }
  for (const { digest: child } of parts.manifests) {
    if (seen.has(child)) continue;
    const inner = await copyParts(copy, child, seen, signal);
    await copy.still();
    await copy.target.putManifest(copy.to, child, inner, signal);
  }
  return manifest;
}

/** Layers that are nobody's to spread: the manifest says where they are. */
function isForeign({ mediaType }: Descriptor): boolean {
  return mediaType.includes('.foreign.') || mediaType.includes('.nondistributable.');
}

async function copyBlob(copy: ImageCopy, { digest, size }: Descriptor, signal: AbortSignal): Promise<void> {
  const { source, target, from, to } = copy;
  await copy.still();
  if ((await target.headBlob(to, digest, signal)) !== undefined) return;
  for (const sibling of copy.siblings) if (await mounted(copy, sibling, digest, signal)) return;
  await target.putBlob(
    to,
    { digest, size, open: () => Readable.from(bytes(), { objectMode: false }) },
    signal,
  );

  async function* bytes(): AsyncGenerator<Buffer> {
    const { stream } = await fromSource(() => source.getBlob(from, digest, signal));
    yield* stream;
  }
}

/** A registry that cannot mount, or does not let us read there, gets the bytes. */
async function mounted(
  { target, to }: ImageCopy,
  from: string,
  digest: Digest,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    return await target.mountBlob(to, from, digest, signal);
  } catch (error) {
    if (error instanceof RegistryError && !isTransient(error)) return false;
    throw error;
  }
}

/** Whatever our own registry says, the fault is not the target's: it is worth another try. */
async function fromSource<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof RegistryError) || isTransient(error)) throw error;
    throw new RegistryError('unavailable', error.message, error);
  }
}
