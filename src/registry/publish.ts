import type { Digest } from '../model/digest.ts';
import type { Tag } from '../model/tag.ts';
import type { OciClient } from './oci-client.ts';
import { type Descriptor, parseManifest } from './oci-manifest.ts';
import type { PublicationFence } from './publication-fence.ts';
import type { ImageSize, Publication } from './registry.ts';
import { RegistryError } from './registry-error.ts';

/** Asked around the writing of each tag; false: whoever writes has lost the right to. */
export interface TagFence {
  before(): Promise<boolean>;
  written(tag: Tag, mediaType: string): Promise<boolean>;
}

/**
 * Puts tags on a manifest that was pushed by digest: reads it by digest, stores the same bytes under each tag,
 * and asks each tag what it stands for. Doing it again changes nothing.
 *
 * It is asked last, when the tag is recorded: a straggler that wrote before that is seen here and written over, and one
 * that writes later finds the record (`putBack`).
 */
export async function publish(
  client: OciClient,
  { repository, digest, tags }: Publication,
  fence: TagFence,
  signal: AbortSignal,
): Promise<'published' | 'lost'> {
  const manifest = await client.getManifest(repository, digest, signal);
  for (const tag of tags) {
    if (!(await fence.before())) return 'lost';
    await client.putManifest(repository, tag, manifest, signal);
    if (!(await fence.written(tag, manifest.mediaType))) return 'lost';
    const served = await client.headManifest(repository, tag, signal);
    if (served?.digest !== digest) {
      throw new RegistryError(
        'digest-mismatch',
        `${client.name}/${repository}:${tag} was set to ${digest}, but the registry serves ${served?.digest ?? 'nothing'}. ` +
          'Somebody else may be pushing the same tag; build again.',
      );
    }
  }
  return 'published';
}

/**
 * Gives each tag back to what was recorded for it last, after it may have been written by one who had lost the right to.
 * The record is read again after each write: what is recorded later than that is looked at by who recorded it. A tag that
 * nobody recorded, or that was deleted, stays as it is.
 */
export async function putBack(
  client: OciClient,
  { repository, tags }: Pick<Publication, 'repository' | 'tags'>,
  fence: Pick<PublicationFence, 'recorded'>,
  signal: AbortSignal,
): Promise<void> {
  for (const tag of tags) {
    for (let last = await fence.recorded(repository, tag); last !== undefined; ) {
      const served = await client.headManifest(repository, tag, signal);
      if (served === undefined || served.digest === last) break;
      const manifest = await manifestIfThere(client, repository, last, signal);
      if (manifest === undefined) break;
      await client.putManifest(repository, tag, manifest, signal);
      const now = await fence.recorded(repository, tag);
      if (now === last) break;
      last = now;
    }
  }
}

async function manifestIfThere(client: OciClient, repository: string, digest: Digest, signal: AbortSignal) {
  try {
    return await client.getManifest(repository, digest, signal);
  } catch (thrown) {
    if (thrown instanceof RegistryError && thrown.code === 'manifest-unknown') return undefined;
    throw thrown;
  }
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
