import type { HookEvent } from '../git-host.ts';
import type { CommitPerson, TriggerMetadata } from '../metadata.ts';
import type { Payload } from './payload.ts';

export function skip(reason: string): HookEvent {
  return { kind: 'skip', reason };
}

export function refRemoved(ref: string): HookEvent {
  return skip(ref.startsWith('refs/tags/') ? 'The tag was deleted.' : 'The branch was deleted.');
}

/** Leaves out what is not known, as the metadata wants it. */
export function withoutGaps<Shape extends object>(
  shape: {
    readonly [Key in keyof Shape]: Shape[Key] | undefined;
  },
): Shape {
  return Object.fromEntries(Object.entries(shape).filter(([, value]) => value !== undefined)) as Shape;
}

export function person(
  username: string | undefined,
  url?: string | undefined,
  avatar?: string | undefined,
): CommitPerson | undefined {
  if (username === undefined || username === '') return undefined;
  return withoutGaps<CommitPerson>({ username, url, avatar_url: avatar });
}

/** More paths of a push are not kept, see stored-event.ts. */
const mostPaths = 10_000;

/**
 * Paths that commits of a push touch, as GitHub and GitLab list them. Undefined: they are too many to look at, and so as
 * good as not told.
 */
export function touchedPaths(commits: readonly Payload[]): readonly string[] | undefined {
  const paths = new Set<string>();
  for (const commit of commits)
    for (const list of ['added', 'removed', 'modified']) {
      const some = commit.at(list).listUpTo(mostPaths);
      for (const path of some ?? []) paths.add(path.text());
      if (some === undefined || paths.size > mostPaths) return undefined;
    }
  return [...paths];
}

export function hasPeople({ commit_info: info }: TriggerMetadata): boolean {
  return [info?.author, info?.committer].every((one) => one?.avatar_url !== undefined);
}
