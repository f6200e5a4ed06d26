import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { digestOf } from '../../src/model/digest.ts';
import type { OciClient } from '../../src/registry/oci-client.ts';
import { mediaTypes } from '../../src/registry/oci-manifest.ts';

/** Pushes the blobs of a small image that is like no other; its manifest is left to the caller. */
export async function pushBlobs(client: OciClient, repository: string, signal: AbortSignal) {
  const put = async (bytes: Buffer) => {
    const digest = digestOf(bytes);
    const blob = { digest, size: bytes.length, open: () => Readable.from([bytes]) };
    await client.putBlob(repository, blob, signal);
    return { digest, size: bytes.length };
  };
  const config = await put(Buffer.from(JSON.stringify({ os: 'linux', id: randomBytes(8).toString('hex') })));
  const layer = await put(randomBytes(500));
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', ...layer }],
    }),
  );
  const size = config.size + layer.size;
  return { digest: digestOf(bytes), size, manifest: { mediaType: mediaTypes.ociManifest, bytes } };
}
