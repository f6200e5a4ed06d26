import type { Tag } from '../model/tag.ts';
import type { Registry } from './registry.ts';

/** What is known of past pushes. */
export interface PushHistory {
  /** The tag that was pushed last to a repository, if any was. It may have been deleted since. */
  mostRecentTag(repository: string): Promise<Tag | undefined>;
}

/**
 * The tag whose layers a build may reuse: the first of the tags it will have that exists, else the repository's
 * most recently pushed one, else none.
 */
export async function cachedTag(
  { repository, requested }: { repository: string; requested: readonly Tag[] },
  { registry, history }: { registry: Pick<Registry, 'digestOf'>; history: PushHistory },
  signal: AbortSignal,
): Promise<Tag | ''> {
  for (const tag of requested) {
    if ((await registry.digestOf(repository, tag, signal)) !== undefined) return tag;
  }
  const recent = await history.mostRecentTag(repository);
  if (recent === undefined) return '';
  return (await registry.digestOf(repository, recent, signal)) === undefined ? '' : recent;
}
