import { cutText } from '../base/cut-text.ts';

/** A template in its parts: plain text, and paths into the metadata. */
export type TagTemplate = readonly (string | { readonly path: readonly string[] })[];

/** Longest text of a template. */
const longest = 1_000;
const pathPattern = /^[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*$/;

/** The docs of the field's reference system name these otherwise than its metadata does. */
const aliases: Readonly<Record<string, string>> = {
  'committer.properties.username': 'commit_info.committer.username',
  'author.properties.username': 'commit_info.author.username',
};

/** Reads `text ${path.to.value} text`. A text: why it is malformed, as the end of a sentence. */
export function parseTagTemplate(text: string): TagTemplate | string {
  if (text === '') return 'is empty';
  if (text.length > longest) return `is longer than ${longest} characters`;
  const parts: (string | { readonly path: readonly string[] })[] = [];
  let at = 0;
  while (at < text.length) {
    const begin = text.indexOf('${', at);
    const plain = text.slice(at, begin < 0 ? undefined : begin);
    if (plain !== '') parts.push(plain);
    if (begin < 0) break;
    const end = text.indexOf('}', begin);
    if (end < 0) return `has a "\${" without its "}"`;
    const path = text.slice(begin + 2, end).trim();
    if (!pathPattern.test(path))
      return `has "\${${cutText(path, 50)}}" in it, which names no value; write it like \${commit_info.short_sha}`;
    parts.push({ path: (Object.hasOwn(aliases, path) ? (aliases[path] ?? path) : path).split('.') });
    at = end + 1;
  }
  return parts;
}

/** Undefined: a value that the template wants is not there. */
export function fillTagTemplate(template: TagTemplate, values: unknown): string | undefined {
  let text = '';
  for (const part of template) {
    const value = typeof part === 'string' ? part : valueAt(values, part.path);
    if (value === undefined) return undefined;
    text += value;
  }
  return text === '' ? undefined : text;
}

/** Own properties only: nothing that metadata says reaches what every object has. */
function valueAt(values: unknown, path: readonly string[]): string | undefined {
  let value: unknown = values;
  for (const name of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Readonly<Record<string, unknown>>)[name];
  }
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return typeof value === 'string' && value !== '' ? value : undefined;
}
