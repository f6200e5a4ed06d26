import { unreachable } from '../base/unreachable.ts';
import type { ScalarNode } from './config-node.ts';
import { type LeafKeywords, parseBytes, parseDuration } from './leaf.ts';

/** What a key is that is not given. */
export function defaultOf(leaf: LeafKeywords): unknown {
  const text = String(leaf.default);
  return readText(leaf, { value: leaf.default ?? null, text });
}

/** What was written, as the schema means it: a time in milliseconds, a size in bytes. Undefined: it cannot be read. */
export function readText(leaf: LeafKeywords, { value, text }: Pick<ScalarNode, 'value' | 'text'>): unknown {
  switch (leaf.reads) {
    case 'text':
      return text;
    case 'number':
      return typeof value === 'number'
        ? value
        : /^-?\d{1,16}(\.\d{1,16})?$/.test(text)
          ? Number(text)
          : undefined;
    case 'flag':
      if (typeof value === 'boolean') return value;
      return /^true$/i.test(text) ? true : /^false$/i.test(text) ? false : undefined;
    case 'duration':
      return parseDuration(text);
    case 'bytes':
      return parseBytes(text);
    default:
      return unreachable(leaf.reads);
  }
}
