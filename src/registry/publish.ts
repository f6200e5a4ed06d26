import type { Digest } from '../model/digest.ts';
import type { OciClient } from './oci-client.ts';
import { type Descriptor, parseManifest } from './oci-manifest.ts';
import type { ImageSize, Publication } from './registry.ts';
import { RegistryError } from './registry-error.ts';

/**
 * Puts tags on a manifest that was pushed by digest: reads it by digest, stores the same bytes under each tag,
 * and asks each tag what it stands for. Returns the manifest's media type. Doing it again changes nothing.
 */
export async function publish(
  client: OciClient,
  { repository, digest, tags }: Publication,
  signal: AbortSignal,
): Promise<{ mediaType: string }> {
  const manifest = await client.getManifest(repository, digest, signal);
  for (const tag of tags) {
    await client.putManifest(repository, tag, manifest, signal);
    const served = await client.headManifest(repository, tag, signal);
    if (served?.digest !== digest) {
      throw new RegistryError(
        'digest-mismatch',
        `${client.name}/${repository}:${tag} was set to ${digest}, but the registry serves ${served?.digest ?? 'nothing'}. ` +
          'Somebody else may be pushing the same tag; build again.',
      );
    }
  }
  return { mediaType: manifest.mediaType };
}

/** The stored bytes of an image, or of all images of an index. What several share counts once. */
export async function imageSize(
  client: OciClient,
  repository: string,
  digest: Digest,
  signal: AbortSignal,
): Promise<ImageSize> {
  const blobs = new Map<Digest, Descriptor>();
  const layers = new Set<Digest>();
  const seen = new Set<Digest>();
  const visit = async (current: Digest): Promise<void> => {
    if (seen.has(current)) return;
    seen.add(current);
    if (seen.size > mostManifests) {
      throw new RegistryError(
        'too-large',
        `${client.name}/${repository}@${digest} has more than ${mostManifests} manifests.`,
      );
    }
    const manifest = parseManifest(await client.getManifest(repository, current, signal));
    if (manifest.kind === 'index') {
      for (const entry of manifest.manifests) await visit(entry.digest);
      return;
    }
    for (const blob of [manifest.config, ...manifest.layers]) blobs.set(blob.digest, blob);
    for (const layer of manifest.layers) layers.add(layer.digest);
  };
  await visit(digest);
  const bytes = [...blobs.values()].reduce((sum, blob) => sum + blob.size, 0);
  return { bytes, layers: layers.size };
}

const mostManifests = 200;
