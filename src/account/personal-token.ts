import { createHash, randomBytes } from 'node:crypto';
import type { Role, TokenScope } from './accounts.ts';

export const tokenScopes = [
  'repo:read',
  'repo:write',
  'repo:admin',
  'org:admin',
  'user:admin',
  'super:user',
] as const satisfies readonly TokenScope[];

/** The part of a token that says whose kind it is, so that scanners for leaked secrets can find it. */
const prefix = 'slp_';
const pattern = /^slp_[A-Za-z0-9_-]{43}$/;

export function newTokenText(): string {
  return `${prefix}${randomBytes(32).toString('base64url')}`;
}

export function looksLikeToken(text: string): boolean {
  return pattern.test(text);
}

/** What is stored of a token. It has 256 random bits, so a fast hash is enough. */
export function tokenHash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** The strongest role a token's scopes allow on any repository. */
export function roleOfScopes(scopes: readonly TokenScope[] | 'all'): Role | undefined {
  if (scopes === 'all' || scopes.includes('repo:admin')) return 'admin';
  if (scopes.includes('repo:write')) return 'write';
  return scopes.includes('repo:read') ? 'read' : undefined;
}
