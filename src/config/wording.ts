import { redactUrl } from '../model/redact-url.ts';
import type { ConfigNode, MapNode } from './config-node.ts';
import type { LeafKeywords } from './leaf.ts';

/** More names than that help nobody. */
const mostPlaces = 3;
const mostKeys = 12;

export function unknownKeyHint(
  map: MapNode,
  known: readonly string[],
  like: string | undefined,
  elsewhere: readonly string[],
): string {
  if (elsewhere.length > 0)
    return ` It belongs to ${elsewhere
      .slice(0, mostPlaces)
      .map((place) => (place === '' ? 'the top level' : place))
      .join(' or ')}.`;
  if (like !== undefined) return ` Did you mean ${like}?`;
  if (map.path === '' || known.length === 0 || known.length > mostKeys)
    return ' The keys are listed in docs/configuration.md.';
  return ` Keys here: ${known.join(', ')}.`;
}

const longestShown = 80;

/** A value as it may be shown. */
export function shown(node: ConfigNode, leaf: LeafKeywords | undefined): string {
  if (leaf?.secret === true) return '[secret]';
  const text = node.kind === 'scalar' ? node.text : '';
  if (node.kind === 'scalar' && node.value === null) return 'empty';
  if (node.kind === 'scalar' && typeof node.value !== 'string') return text;
  // A password may stand in what is no place for one, such as the name of a host.
  const open =
    leaf?.secret === 'url'
      ? redactUrl(text)
      : text.replace(/^([a-z][a-z0-9+.-]*:\/\/)?[^@]*:.*@/is, '$1[secret]@');
  return JSON.stringify(open.length > longestShown ? `${open.slice(0, longestShown)}…` : open);
}
