import type { HookDelivery, HookEvent, OwnRepository } from '../git-host.ts';
import type { CommitInfo, TriggerMetadata } from '../metadata.ts';
import { branch, fullCommit, isNoCommit, ref } from './git-names.ts';
import { refRemoved, skip, skipPullRequest, touchedPaths, withoutGaps } from './hook-event.ts';
import { ownUrl } from './own-repository.ts';
import { Payload } from './payload.ts';

const mergeRequests = 'refs/merge-requests';

/** What GitLab sends: `push`, `tag_push` and `merge_request`. The body names the event. */
export function readGitlab(delivery: HookDelivery, own: OwnRepository): HookEvent {
  return gitlabEvent(Payload.parse(delivery.body), own);
}

export function gitlabEvent(payload: Payload, own: OwnRepository): HookEvent {
  const kind = payload.at('object_kind').text();
  if (kind === 'push' || kind === 'tag_push') return push(payload, kind, own);
  if (kind === 'merge_request') return mergeRequest(payload, own);
  return skip('Only pushes, tags and merge requests are built.');
}

function push(payload: Payload, kind: 'push' | 'tag_push', own: OwnRepository): HookEvent {
  const checkedOut = payload.at('checkout_sha');
  // `after` of an annotated tag is the tag, and not a commit.
  const commit = checkedOut.present ? checkedOut : payload.at('after');
  if (!commit.present || isNoCommit(commit.text())) return refRemoved(payload.at('ref').text());
  const sha = commit.shaped(fullCommit).toLowerCase();
  const commits = payload.at('commits').list();
  if (kind === 'push' && commits.length === 0)
    return {
      kind: 'skip',
      reason: 'The push has no commits.',
      at: { ref: payload.at('ref').shaped(ref), commit: sha },
    };
  const fallback = payload.at('project', 'default_branch');
  const head = commits.find((one) => one.at('id').optionalText()?.toLowerCase() === sha);
  const before = payload.at('before').optionalText();
  const isNew = before === undefined || isNoCommit(before);
  const total = payload.at('total_commits_count');
  const tellsAll = kind === 'push' && !isNew && total.present && total.whole() === commits.length;
  const paths = tellsAll ? touchedPaths(commits) : undefined;
  return {
    kind: 'push',
    metadata: withoutGaps<TriggerMetadata>({
      commit: sha,
      ref: payload.at('ref').shaped(ref),
      default_branch: fallback.present ? fallback.shaped(branch) : undefined,
      git_url: ownUrl(
        own,
        payload.at('project', 'path_with_namespace'),
        sshUrl(payload.at('repository'), payload.at('project')),
      ),
      commit_info: head === undefined ? undefined : commitInfo(head),
    }),
    ...(paths === undefined ? {} : { paths }),
    ...(isNew ? {} : { before: payload.at('before').shaped(fullCommit).toLowerCase() }),
    // People stand there by name and e-mail only.
    incomplete: true,
  };
}

function sshUrl(first: Payload, second: Payload): Payload {
  const given = first.at('git_ssh_url');
  return given.present ? given : second.at('git_ssh_url');
}

function commitInfo(commit: Payload): CommitInfo {
  return {
    url: commit.at('url').link() ?? '',
    message: commit.at('message').message(),
    date: commit.at('timestamp').text(),
  };
}

function mergeRequest(payload: Payload, own: OwnRepository): HookEvent {
  const request = payload.at('object_attributes').object();
  const action = request.at('action').optionalText();
  // `update` is sent for a new title too; only new commits have a former one.
  const changed =
    action === 'open' || action === 'reopen' || (action === 'update' && request.at('oldrev').present);
  if (!changed)
    return skipPullRequest('Nothing of the merge request that is built has changed.', {
      folder: mergeRequests,
      number: request.at('iid'),
      commit: request.at('last_commit', 'id'),
    });
  const number = request.at('iid').whole();
  const last = request.at('last_commit').object();
  const fallback = payload.at('project', 'default_branch');
  return {
    kind: 'pull-request',
    number,
    metadata: withoutGaps<TriggerMetadata>({
      commit: last.at('id').shaped(fullCommit).toLowerCase(),
      ref: `${mergeRequests}/${number}/head`,
      default_branch: fallback.present ? fallback.shaped(branch) : undefined,
      git_url: ownUrl(
        own,
        payload.at('project', 'path_with_namespace'),
        sshUrl(request.at('target'), payload.at('project')),
      ),
      commit_info: commitInfo(last),
    }),
    fork: request.at('source_project_id').optionalWhole() !== request.at('target_project_id').whole(),
    base: request.at('target_branch').shaped(branch),
    incomplete: true,
  };
}
