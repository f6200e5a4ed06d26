const pattern =
  /^v?(0|[1-9]\d{0,15})\.(0|[1-9]\d{0,15})\.(0|[1-9]\d{0,15})(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/;

/**
 * The tags of a version, from the exact one to the widest: `v1.2.3` → 1.2.3, 1.2, 1. A pre-release (`1.2.3-rc.1`) gives its
 * exact one only, for whoever asks for 1.2 wants a release; a major version 0 gives no tag `0`, which would promise
 * what such versions do not. Anything else gives none.
 */
export function semverLadder(tag: string): readonly string[] {
  const match = pattern.exec(tag);
  if (match === null) return [];
  const [, major, minor, patch, pre] = match;
  if (pre !== undefined) return [`${major}.${minor}.${patch}${pre}`];
  const steps = [`${major}.${minor}.${patch}`, `${major}.${minor}`];
  return major === '0' ? steps : [...steps, `${major}`];
}
