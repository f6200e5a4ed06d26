import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

const pattern = /^[A-Za-z0-9_-]{43}$/;

/** What a browser shows for its session: 256 random bits. */
export function newSessionSecret(): string {
  return randomBytes(32).toString('base64url');
}

export function looksLikeSessionSecret(text: string): boolean {
  return pattern.test(text);
}

/** What is stored of it. It is random, so a fast hash is enough. */
export function sessionHash(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

/**
 * What a page must send with what it changes, to show that it can read the answers of this site. It is made of the cookie's
 * secret, so every server knows it without keeping it, and it is of no use with another session.
 */
export function csrfToken(secret: string, purpose: 'session' | 'form' = 'session'): string {
  return createHmac('sha256', secret).update(`csrf ${purpose}`).digest('base64url');
}

export function isCsrfToken(
  given: unknown,
  secret: string,
  purpose: 'session' | 'form' = 'session',
): boolean {
  if (typeof given !== 'string') return false;
  const expected = Buffer.from(csrfToken(secret, purpose));
  const shown = Buffer.from(given);
  return shown.length === expected.length && timingSafeEqual(shown, expected);
}
