import type { HookDelivery, HookEvent } from '../git-host.ts';
import type { CommitInfo, TriggerMetadata } from '../metadata.ts';
import { branch, fullCommit, gitUrl, isNoCommit, ref } from './git-names.ts';
import { refRemoved, skip, touchedPaths, withoutGaps } from './hook-event.ts';
import { Payload } from './payload.ts';

/** What GitLab sends: `push`, `tag_push` and `merge_request`. The body names the event. */
export function readGitlab(delivery: HookDelivery, ownUrl?: string): HookEvent {
  return gitlabEvent(Payload.parse(delivery.body), ownUrl);
}

export function gitlabEvent(payload: Payload, ownUrl?: string): HookEvent {
  const kind = payload.at('object_kind').text();
  if (kind === 'push' || kind === 'tag_push') return push(payload, kind, ownUrl);
  if (kind === 'merge_request') return mergeRequest(payload, ownUrl);
  return skip('Only pushes, tags and merge requests are built.');
}

function push(payload: Payload, kind: 'push' | 'tag_push', ownUrl: string | undefined): HookEvent {
  const checkedOut = payload.at('checkout_sha');
  // `after` of an annotated tag is the tag, and not a commit.
  const commit = checkedOut.present ? checkedOut : payload.at('after');
  if (!commit.present || isNoCommit(commit.text())) return refRemoved(payload.at('ref').text());
  const sha = commit.shaped(fullCommit).toLowerCase();
  const commits = payload.at('commits').list();
  if (kind === 'push' && commits.length === 0) return skip('The push has no commits.');
  const fallback = payload.at('project', 'default_branch');
  const head = commits.find((one) => one.at('id').optionalText()?.toLowerCase() === sha);
  const before = payload.at('before').optionalText();
  const isNew = before === undefined || isNoCommit(before);
  const total = payload.at('total_commits_count');
  const tellsAll = kind === 'push' && !isNew && total.present && total.whole() === commits.length;
  return {
    kind: 'push',
    metadata: withoutGaps<TriggerMetadata>({
      commit: sha,
      ref: payload.at('ref').shaped(ref),
      default_branch: fallback.present ? fallback.shaped(branch) : undefined,
      git_url: ownUrl ?? sshUrl(payload.at('repository'), payload.at('project')),
      commit_info: head === undefined ? undefined : commitInfo(head),
    }),
    ...(tellsAll ? { paths: touchedPaths(commits) } : {}),
    ...(isNew ? {} : { before: payload.at('before').shaped(fullCommit).toLowerCase() }),
    // People stand there by name and e-mail only.
    incomplete: true,
  };
}

function sshUrl(first: Payload, second: Payload): string {
  const given = first.at('git_ssh_url');
  return (given.present ? given : second.at('git_ssh_url')).shaped(gitUrl);
}

function commitInfo(commit: Payload): CommitInfo {
  return {
    url: commit.at('url').link() ?? '',
    message: commit.at('message').message(),
    date: commit.at('timestamp').text(),
  };
}

function mergeRequest(payload: Payload, ownUrl: string | undefined): HookEvent {
  const request = payload.at('object_attributes').object();
  const action = request.at('action').optionalText();
  // `update` is sent for a new title too; only new commits have a former one.
  const changed =
    action === 'open' || action === 'reopen' || (action === 'update' && request.at('oldrev').present);
  if (!changed) return skip('Nothing of the merge request that is built has changed.');
  const number = request.at('iid').whole();
  const last = request.at('last_commit').object();
  const fallback = payload.at('project', 'default_branch');
  return {
    kind: 'pull-request',
    number,
    metadata: withoutGaps<TriggerMetadata>({
      commit: last.at('id').shaped(fullCommit).toLowerCase(),
      ref: `refs/merge-requests/${number}/head`,
      default_branch: fallback.present ? fallback.shaped(branch) : undefined,
      git_url: ownUrl ?? sshUrl(request.at('target'), payload.at('project')),
      commit_info: commitInfo(last),
    }),
    fork: request.at('source_project_id').optionalWhole() !== request.at('target_project_id').whole(),
    base: request.at('target_branch').shaped(branch),
    incomplete: true,
  };
}
