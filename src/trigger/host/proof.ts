import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { Proof } from '../git-host.ts';

/** Compares in a time that says nothing about either, not even how long they are. */
export function sameSecret(given: string, expected: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}

/** `sha256=` and the HMAC of the body in hexadecimal digits, as the hosts that sign write it. */
export function signatureOf(body: Uint8Array, secret: string): string {
  return `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
}

/** A signature of another kind, such as SHA-1, proves nothing. An empty secret is none. */
export function proveSignature(header: string | undefined, body: Uint8Array, secret: string): Proof {
  if (header === undefined || !header.startsWith('sha256=')) return 'missing';
  return secret !== '' && sameSecret(header.toLowerCase(), signatureOf(body, secret)) ? 'proved' : 'wrong';
}

export function proveToken(header: string | undefined, secret: string): Proof {
  if (header === undefined || header === '') return 'missing';
  return secret !== '' && sameSecret(header, secret) ? 'proved' : 'wrong';
}
