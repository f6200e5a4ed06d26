import { gzipSync } from 'node:zlib';

/** A file as Ignition 3.0.0 has it. */
export interface IgnitionFile {
  readonly path: string;
  readonly mode: number;
  readonly overwrite: true;
  readonly contents: { readonly source: string; readonly compression?: 'gzip' };
}

/** Its content as a data URL, which has no character that means something to JSON or to anybody on the way. */
export function ignitionFile(path: string, content: string, mode = 0o644): IgnitionFile {
  const plain = Buffer.from(content, 'utf8');
  const packed = gzipSync(plain, { level: 9 });
  // User data is scarce.
  const smaller = packed.length < plain.length;
  const source = `data:;base64,${(smaller ? packed : plain).toString('base64')}`;
  return { path, mode, overwrite: true, contents: { source, ...(smaller ? { compression: 'gzip' } : {}) } };
}
