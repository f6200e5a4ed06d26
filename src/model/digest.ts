import { createHash } from 'node:crypto';
import type { Branded } from './ids.ts';

/** A content digest: `sha256:` and 64 lower-case hex digits (other algorithms of the OCI grammar are not accepted). */
export type Digest = Branded<'Digest'>;

const pattern = /^sha256:[0-9a-f]{64}$/;

export function parseDigest(text: string): Digest | undefined {
  return pattern.test(text) ? (text as Digest) : undefined;
}

export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
}
