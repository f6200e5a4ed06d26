/** The last part of a ref, by its kind: `refs/heads/feature/x` → `{ branch: 'feature/x' }`. */
export interface ParsedRef {
  readonly branch?: string;
  readonly tag?: string;
  readonly remote?: string;
}

export function parseRef(ref: string | undefined): ParsedRef {
  const match = /^refs\/(heads|tags|remotes)\/(.+)$/s.exec(ref ?? '');
  if (match === null) return {};
  const [, kind, name = ''] = match;
  if (kind === 'heads') return { branch: name };
  return kind === 'tags' ? { tag: name } : { remote: name };
}

/** What comes after the kind of ref; undefined: it is none of the kinds that have a name. */
export function nameOfRef(ref: string | undefined): string | undefined {
  const { branch, tag, remote } = parseRef(ref);
  return branch ?? tag ?? remote;
}
