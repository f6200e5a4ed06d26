import { type Digest, parseDigest } from './digest.ts';
import { parseTag, type Tag } from './tag.ts';

/**
 * Where an image is: `[host[:port]/]path[:tag][@digest]`, the grammar of the distribution project. A first part
 * is a host when it holds a `.` or a `:`, is `localhost`, or has an upper-case letter; without a host the image
 * is Docker Hub's, and there a path of one part belongs to `library/`.
 */
export interface ImageReference {
  /** The text as it was written, for messages. */
  readonly original: string;
  /** `host[:port]`; Docker Hub is always `docker.io`. */
  readonly registry: string;
  /** The path in that registry, `library/` included. */
  readonly repository: string;
  readonly tag?: Tag;
  readonly digest?: Digest;
}

const hostLabel = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const hostPattern = new RegExp(`^(?:${hostLabel}(?:\\.${hostLabel})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`);
const pathComponent = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const pathPattern = new RegExp(`^${pathComponent}(?:/${pathComponent})*$`);
/** 64 hex digits alone are an image id, never a name. */
const imageId = /^[a-f0-9]{64}$/;
const maximumNameLength = 255;

const dockerHub = 'docker.io';

/** Whether a text is a registry's `host[:port]`. */
export function isRegistryHost(text: string): boolean {
  return hostPattern.test(text);
}

/** Whether a text is a path a registry can hold: what stands between host and tag. */
export function isRepositoryPath(text: string): boolean {
  return text.length <= maximumNameLength && pathPattern.test(text);
}

export function parseImageReference(text: string): ImageReference | undefined {
  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : parseDigest(text.slice(at + 1));
  if (at >= 0 && digest === undefined) return undefined;
  const tagged = at < 0 ? text : text.slice(0, at);

  // A colon behind the last slash begins the tag; one before it belongs to the host's port.
  const colon = tagged.indexOf(':', tagged.lastIndexOf('/') + 1);
  const tag = colon < 0 ? undefined : parseTag(tagged.slice(colon + 1));
  if (colon >= 0 && tag === undefined) return undefined;
  const name = colon < 0 ? tagged : tagged.slice(0, colon);

  if (imageId.test(name)) return undefined;
  const { registry, repository } = split(name);
  if (!hostPattern.test(registry) || !pathPattern.test(repository)) return undefined;
  if (registry.length + 1 + repository.length > maximumNameLength) return undefined;
  return {
    original: text,
    registry,
    repository,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

function split(name: string): { registry: string; repository: string } {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const isHost = /[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase();
  const registry = isHost ? first : dockerHub;
  const repository = isHost ? name.slice(slash + 1) : name;
  if (registry !== dockerHub && registry !== 'index.docker.io') return { registry, repository };
  return { registry: dockerHub, repository: repository.includes('/') ? repository : `library/${repository}` };
}

/** The whole reference with nothing left to defaults; parsing it again gives the same parts. */
export function formatImageReference({
  registry,
  repository,
  tag,
  digest,
}: Omit<ImageReference, 'original'>): string {
  return `${registry}/${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

/** What to ask the registry for: the digest when there is one (the tag is then only a note), else the tag, else `latest`. */
export function manifestReference({ tag, digest }: Pick<ImageReference, 'tag' | 'digest'>): Digest | Tag {
  return digest ?? tag ?? ('latest' as Tag);
}
