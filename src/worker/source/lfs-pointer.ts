/** What Git LFS keeps in the repository instead of a large file. */
export interface LfsPointer {
  /** SHA-256 of the file, hex. */
  readonly oid: string;
  /** Bytes of the file. */
  readonly size: number;
}

/** A pointer is shorter than this, the specification says. */
export const longestPointer = 1023;

const versions = new Set([
  'https://git-lfs.github.com/spec/v1',
  'https://hawser.github.com/spec/v1',
  'http://git-media.io/v/2',
]);

/** Undefined when the text is no pointer. */
export function parseLfsPointer(text: string): LfsPointer | undefined {
  if (text.length > longestPointer || !text.endsWith('\n')) return undefined;
  const [version = '', ...rest] = text.slice(0, -1).split('\n');
  if (!version.startsWith('version ') || !versions.has(version.slice(8))) return undefined;
  const fields = new Map<string, string>();
  for (const line of rest) {
    const match = /^([a-z0-9.-]+) (.+)$/.exec(line);
    const [, key = '', value = ''] = match ?? [];
    if (match === null || fields.has(key)) return undefined;
    fields.set(key, value);
  }
  const oid = /^sha256:([0-9a-f]{64})$/.exec(fields.get('oid') ?? '')?.[1];
  const size = /^\d{1,15}$/.exec(fields.get('size') ?? '')?.[0];
  return oid === undefined || size === undefined ? undefined : { oid, size: Number(size) };
}
