/** Hosts show a key without its comment, or with another one. */
export function isSameKey(shown: string, publicKey: string): boolean {
  return withoutComment(shown) === withoutComment(publicKey);
}

function withoutComment(key: string): string {
  return key.trim().split(/\s+/).slice(0, 2).join(' ');
}
