import { cutText } from '../base/cut-text.ts';
import type { HookEvent } from './git-host.ts';
import type { CommitInfo, CommitPerson, TriggerMetadata } from './metadata.ts';

/** What a delivery asks to be built, as it is kept until that is done, and for sending it again. */
export type StoredEvent =
  | Exclude<HookEvent, { readonly kind: 'skip' }>
  /** The newest commit of a branch, whatever that is by then; the default branch unless named. */
  | { readonly kind: 'head'; readonly branch?: string };

const mostPaths = 5_000;
const longestPaths = 256 * 1024;
const longestMessage = 8_000;
const longestText = 1_000;

/**
 * The event in a size that can be kept: who pushes decides over every text in it. Too many paths are as good as none
 * (the host is asked, or all counts as changed); texts for people are cut.
 */
export function storedEvent(event: Exclude<HookEvent, { readonly kind: 'skip' }>): StoredEvent {
  const metadata = boundedMetadata(event.metadata);
  if (event.kind === 'pull-request') return { ...event, metadata };
  const { paths, ...rest } = event;
  const keeps =
    paths !== undefined &&
    paths.length <= mostPaths &&
    paths.reduce((sum, path) => sum + path.length, 0) <= longestPaths;
  return { ...rest, metadata, ...(keeps ? { paths } : {}) };
}

function boundedMetadata({ commit_info: info, ...metadata }: TriggerMetadata): TriggerMetadata {
  return info === undefined ? metadata : { ...metadata, commit_info: boundedInfo(info) };
}

function boundedInfo(info: CommitInfo): CommitInfo {
  return {
    url: cutText(info.url, longestText),
    message: cutText(info.message, longestMessage),
    date: cutText(info.date, longestText),
    ...(info.author === undefined ? {} : { author: boundedPerson(info.author) }),
    ...(info.committer === undefined ? {} : { committer: boundedPerson(info.committer) }),
  };
}

function boundedPerson({ username, url, avatar_url: avatar }: CommitPerson): CommitPerson {
  return {
    username: cutText(username, longestText),
    ...(url === undefined ? {} : { url: cutText(url, longestText) }),
    ...(avatar === undefined ? {} : { avatar_url: cutText(avatar, longestText) }),
  };
}
