import type { Branded } from './ids.ts';

/** An image tag: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`. */
export type Tag = Branded<'Tag'>;

const pattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

export function parseTag(text: string): Tag | undefined {
  return pattern.test(text) ? (text as Tag) : undefined;
}

/**
 * Makes any text a tag: a bad first character and every other bad character become `_`, the result is cut at
 * 127 characters, and nothing becomes `latest`. These are the rules of the field's reference system, so that
 * a branch keeps the tag it had there.
 */
export function escapeTag(text: string): Tag {
  if (text === '') return 'latest' as Tag;
  const first = /^[A-Za-z0-9_]/.test(text) ? '' : '_';
  const rest = first === '' ? text : text.slice(String.fromCodePoint(text.codePointAt(0) ?? 0).length);
  return `${first}${rest.replace(/[^A-Za-z0-9_.-]/gu, '_')}`.slice(0, 127) as Tag;
}
