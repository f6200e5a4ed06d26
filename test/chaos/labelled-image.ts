import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { digestOf } from '../../src/model/digest.ts';
import { mediaTypes } from '../../src/registry/oci-manifest.ts';
import { attemptLabel } from './attempt-engine.ts';

const emptyTar = Buffer.alloc(1_024);

/** An image of one empty layer whose label tells which attempt made it. */
export function labelledImage(attemptId: string) {
  const config = blobOf(
    Buffer.from(
      JSON.stringify({
        architecture: 'amd64',
        os: 'linux',
        config: { Labels: { [attemptLabel]: attemptId } },
        rootfs: { type: 'layers', diff_ids: [digestOf(emptyTar)] },
      }),
    ),
  );
  const layer = blobOf(gzipSync(emptyTar));
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        digest: config.digest,
        size: config.size,
      },
      layers: [
        {
          mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
          digest: layer.digest,
          size: layer.size,
        },
      ],
    }),
  );
  return { blobs: [layer, config], manifest: { mediaType: mediaTypes.ociManifest, bytes } };
}

function blobOf(bytes: Buffer) {
  return { digest: digestOf(bytes), size: bytes.length, open: () => Readable.from([bytes]) };
}
