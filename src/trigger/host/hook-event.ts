import type { HookEvent } from '../git-host.ts';
import type { CommitPerson, TriggerMetadata } from '../metadata.ts';
import { anyCommit, ref } from './git-names.ts';
import type { Payload } from './payload.ts';

/** `about`: what is known of what is passed over. */
export function skip(
  reason: string,
  about: { readonly ref?: string | undefined; readonly commit?: string | undefined } = {},
): HookEvent {
  const at = withoutGaps<{ ref?: string; commit?: string }>({ ref: about.ref, commit: about.commit });
  return { kind: 'skip', reason, ...(Object.keys(at).length === 0 ? {} : { at }) };
}

/** `name`: the whole name of the ref. */
export function refRemoved(name: string): HookEvent {
  return skip(name.startsWith('refs/tags/') ? 'The tag was deleted.' : 'The branch was deleted.', {
    ref: ref.fits(name) ? name : undefined,
  });
}

/**
 * A pull request of which nothing is built, so that nothing in it has to be right either. `folder`: where the host keeps the
 * refs of pull requests.
 */
export function skipPullRequest(
  reason: string,
  { folder, number, commit }: { readonly folder: string; readonly number: Payload; readonly commit: Payload },
): HookEvent {
  const whole = number.ifWhole();
  return skip(reason, {
    ref: whole === undefined ? undefined : `${folder}/${whole}/head`,
    commit: commit.ifShaped(anyCommit)?.toLowerCase(),
  });
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
