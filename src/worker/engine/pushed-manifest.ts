import { type Digest, digestOf } from '../../model/digest.ts';
import type { PushedImage, PushTarget } from './engine.ts';
import { askRegistry, boundedBody, field } from './registry-exchange.ts';

/**
 * Reads back the manifest a push has left in the registry: buildah says its digest but not what a pull will cost,
 * and so it is also certain that the registry serves what the engine reports. Throws an ordinary Error; the push
 * is tried again with it.
 */
export async function readPushedManifest(
  digest: Digest,
  target: PushTarget,
  signal: AbortSignal,
): Promise<PushedImage> {
  const path = `/v2/${target.repository}/manifests/${digest}`;
  const response = await askRegistry(target, path, { headers: { accept: accepted } }, signal);
  if (!response.ok) {
    await response.body?.cancel();
    throw new Error(`${target.registry} answered ${response.status} for the manifest just pushed`);
  }
  const bytes = await boundedBody(response);
  if (digestOf(bytes) !== digest) {
    throw new Error(`${target.registry} serves another manifest than the one pushed (${digest})`);
  }
  const manifest: unknown = JSON.parse(bytes.toString('utf8'));
  return { digest, size: sizeOf(manifest), mediaType: mediaTypeOf(manifest, response) };
}

const accepted = [
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
].join(', ');

function sizeOf(manifest: unknown): number {
  const layers = field(manifest, 'layers');
  const parts = [field(manifest, 'config'), ...(Array.isArray(layers) ? layers : [])];
  return parts.reduce<number>((sum, part) => {
    const size = field(part, 'size');
    if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
      throw new Error('the registry serves a manifest without sizes');
    }
    return sum + size;
  }, 0);
}

function mediaTypeOf(manifest: unknown, response: Response): string {
  const own = field(manifest, 'mediaType');
  return typeof own === 'string' ? own : (response.headers.get('content-type') ?? 'application/json');
}
