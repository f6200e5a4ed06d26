import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { digestOf } from '../../src/model/digest.ts';
import { mediaTypes } from '../../src/registry/oci-manifest.ts';

/** An OCI layout folder, below `folder`, with one image that is like no other and whose layer is an empty archive. */
export async function ociLayout(folder: string): Promise<string> {
  // Lower case, for clients make the image's name of the path.
  const at = path.join(folder, `layout-${randomBytes(8).toString('hex')}`);
  const blobs = path.join(at, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  const add = async (mediaType: string, bytes: Buffer) => {
    const digest = digestOf(bytes);
    await writeFile(path.join(blobs, digest.slice('sha256:'.length)), bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const tar = Buffer.alloc(10_240);
  const layer = await add('application/vnd.oci.image.layer.v1.tar', tar);
  const config = await add(
    'application/vnd.oci.image.config.v1+json',
    Buffer.from(
      JSON.stringify({
        architecture: 'amd64',
        os: 'linux',
        config: { Labels: { unique: randomBytes(8).toString('hex') } },
        rootfs: { type: 'layers', diff_ids: [digestOf(tar)] },
      }),
    ),
  );
  const manifest = await add(
    mediaTypes.ociManifest,
    Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [layer] }),
    ),
  );
  await writeFile(path.join(at, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  await writeFile(path.join(at, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [manifest] }));
  return at;
}
