import { randomBytes } from 'node:crypto';

/** A prefix of their own, so that who finds a leaked one knows what it is. */
const prefix = 'slr_';
const pattern = /^slr_[A-Za-z0-9_-]{43}$/;

export function newRobotToken(): string {
  return `${prefix}${randomBytes(32).toString('base64url')}`;
}

export function looksLikeRobotToken(text: string): boolean {
  return pattern.test(text);
}
