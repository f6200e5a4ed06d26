import { type Digest, parseDigest } from '../model/digest.ts';
import { isRepositoryPath } from '../model/image-reference.ts';
import { parseTag, type Tag } from '../model/tag.ts';
import type { RegistryAction } from './registry-access.ts';

/** What a path below `/v2/` is about. `upload.id` is absent where an upload begins. */
export type RegistryRoute =
  | { readonly kind: 'base' }
  | { readonly kind: 'catalog' }
  | { readonly kind: 'tags'; readonly repository: string }
  | { readonly kind: 'manifest'; readonly repository: string; readonly reference: Tag | Digest }
  | { readonly kind: 'blob'; readonly repository: string; readonly digest: Digest }
  | { readonly kind: 'upload'; readonly repository: string; readonly id?: string }
  | { readonly kind: 'referrers'; readonly repository: string; readonly digest: Digest };

/**
 * Reads a request's path (without query). Undefined for everything that is not exactly a path of the protocol,
 * so that nothing else is ever passed on: dots, doubled slashes and further escapes do not get through.
 */
export function parseRegistryRoute(pathname: string): RegistryRoute | undefined {
  const path = decode(pathname);
  if (path === '/v2' || path === '/v2/') return { kind: 'base' };
  if (!path?.startsWith('/v2/')) return undefined;
  const rest = path.slice('/v2/'.length);
  if (rest === '_catalog') return { kind: 'catalog' };

  // Names may hold the words of the protocol (`team/blobs`), so the shapes are read from the right.
  const match =
    /^(.+)\/(?:(tags)\/list|(manifests)\/([^/]+)|blobs\/(uploads)\/([^/]*)|(blobs|referrers)\/([^/]+))$/.exec(
      rest,
    );
  const [, repository, tags, manifests, reference, uploads, id, byDigest, digestText] = match ?? [];
  if (repository === undefined || !isRepositoryPath(repository)) return undefined;
  if (tags !== undefined) return { kind: 'tags', repository };
  if (manifests !== undefined) {
    const parsed = parseDigest(reference ?? '') ?? parseTag(reference ?? '');
    return parsed === undefined ? undefined : { kind: 'manifest', repository, reference: parsed };
  }
  if (uploads !== undefined) {
    if (id === undefined || id === '') return { kind: 'upload', repository };
    return /^[A-Za-z0-9_.=-]+$/.test(id) ? { kind: 'upload', repository, id } : undefined;
  }
  const digest = parseDigest(digestText ?? '');
  if (digest === undefined) return undefined;
  return { kind: byDigest === 'referrers' ? 'referrers' : 'blob', repository, digest };
}

/** What a request needs to be granted; undefined for methods the protocol does not have. */
export function actionsFor(method: string): readonly RegistryAction[] | undefined {
  switch (method) {
    case 'GET':
    case 'HEAD':
      return ['pull'];
    case 'POST':
    case 'PUT':
    case 'PATCH':
      return ['pull', 'push'];
    case 'DELETE':
      return ['delete'];
    default:
      return undefined;
  }
}

function decode(pathname: string): string | undefined {
  try {
    return decodeURIComponent(pathname);
  } catch {
    return undefined;
  }
}
