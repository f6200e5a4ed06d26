import { blockSize, hasTarChecksum, isZeroBlock } from './tar-header.ts';

/** What a package is; `dockerfile` is a text that stands for itself. */
export type ArchiveType = 'tar' | 'tar.gz' | 'tar.bz2' | 'tar.xz' | 'tar.zst' | 'zip' | 'dockerfile';

const signatures: readonly (readonly [ArchiveType, string])[] = [
  ['tar.gz', '1f8b'],
  ['zip', '504b0304'],
  ['zip', '504b0506'],
  ['zip', '504b0708'],
  ['tar.bz2', '425a68'],
  ['tar.xz', 'fd377a585a00'],
  ['tar.zst', '28b52ffd'],
];

const archiveMediaTypes = new Set([
  'application/zip',
  'application/x-zip-compressed',
  'application/x-zip',
  'application/tar',
  'application/x-tar',
  'application/gzip',
  'application/x-gzip',
  'application/x-tgz',
  'application/x-gtar',
  'application/tar+gzip',
  'application/x-compressed-tar',
  'application/x-bzip2',
  'application/x-xz',
  'application/zstd',
]);

const textMediaTypes = new Set([
  'text/plain',
  'application/octet-stream',
  'binary/octet-stream',
  'text/x-dockerfile',
  '',
]);

/** How many leading bytes `archiveTypeOf` wants to see. */
export const sniffLength = blockSize;

/**
 * The type of a package. Its first bytes decide, because a content type is often wrong; only where they say
 * nothing the content type does: plain text and octets are a Dockerfile. Undefined when it is nothing that a build
 * can be made of, such as a web page.
 */
export function archiveTypeOf(head: Buffer, contentType: string | undefined): ArchiveType | undefined {
  const hex = head.toString('hex', 0, 8);
  const signature = signatures.find(([, start]) => hex.startsWith(start));
  if (signature !== undefined) return signature[0];
  // A block of zeros is a tar archive without members.
  if (hasTarChecksum(head) || (head.length === blockSize && isZeroBlock(head))) return 'tar';
  const media = (contentType ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  if (archiveMediaTypes.has(media)) return undefined;
  return textMediaTypes.has(media) ? 'dockerfile' : undefined;
}
