import { createHash } from 'node:crypto';

/**
 * Tells apart what people type as user names, without keeping it: sometimes that is a password or a token. So short that
 * a guess cannot be confirmed with it, and long enough that two names seldom share one.
 */
export function nameMark(typed: string): string {
  return createHash('sha256').update(typed).digest('hex').slice(0, 5);
}
