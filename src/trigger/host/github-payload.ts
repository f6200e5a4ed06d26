import type { HookDelivery, HookEvent, OwnRepository } from '../git-host.ts';
import type { CommitInfo, TriggerMetadata } from '../metadata.ts';
import { branch, fullCommit, isNoCommit, ref } from './git-names.ts';
import {
  hasPeople,
  person,
  refRemoved,
  skip,
  skipPullRequest,
  touchedPaths,
  withoutGaps,
} from './hook-event.ts';
import { ownUrl } from './own-repository.ts';
import { Payload } from './payload.ts';

/** GitHub lists so many commits of a push at most. */
const listedCommits = 2048;
const pullRequests = 'refs/pull';

/**
 * What GitHub sends: `ping`, `push` and `pull_request`. The header names the event; without it, the shape does, because
 * a custom trigger gets these payloads from somebody who has no such header.
 */
export function readGithub(delivery: HookDelivery, own: OwnRepository): HookEvent {
  return githubEvent(Payload.parse(delivery.body), delivery.headers['x-github-event'], own);
}

export function githubEvent(payload: Payload, named: string | undefined, own: OwnRepository): HookEvent {
  if (payload.at('zen').present || named === 'ping') return skip('GitHub tests the webhook.');
  const event = named ?? (payload.at('pull_request').present ? 'pull_request' : 'push');
  if (event === 'push') return push(payload, own);
  if (event === 'pull_request') return pullRequest(payload, own);
  return skip('Only pushes and pull requests are built.');
}

function push(payload: Payload, own: OwnRepository): HookEvent {
  const head = payload.at('head_commit');
  const after = payload.at('after');
  const told = head.present || (!head.isNull && after.present);
  if (!told || payload.at('deleted').flag() || isNoCommit(after.optionalText() ?? '-'))
    return refRemoved(payload.at('ref').text());
  const repository = payload.at('repository');
  const fallback = repository.at('default_branch');
  const metadata = withoutGaps<TriggerMetadata>({
    // Gogs, whose payloads are these otherwise, knows no head commit.
    commit: (head.present ? head.object().at('id') : after).shaped(fullCommit).toLowerCase(),
    ref: payload.at('ref').shaped(ref),
    default_branch: fallback.present ? fallback.shaped(branch) : undefined,
    git_url: ownUrl(own, repository.at('full_name'), repository.at('ssh_url')),
    commit_info: head.present ? commitInfo(head) : undefined,
  });
  const before = payload.at('before').optionalText();
  const isNew = before === undefined || isNoCommit(before);
  const commits = payload.at('commits').list();
  // Of a new ref they are those that no other ref has, and of a forced push those that are gone are not among them.
  const tellsAll = !isNew && !payload.at('forced').flag() && commits.length < listedCommits;
  const paths = tellsAll ? touchedPaths(commits) : undefined;
  return {
    kind: 'push',
    metadata,
    ...(paths === undefined ? {} : { paths }),
    ...(isNew ? {} : { before: payload.at('before').shaped(fullCommit).toLowerCase() }),
    incomplete: metadata.default_branch === undefined || !hasPeople(metadata),
  };
}

function commitInfo(head: Payload): CommitInfo {
  return withoutGaps<CommitInfo>({
    url: head.at('url').link() ?? '',
    message: head.at('message').message(),
    date: head.at('timestamp').text(),
    author: person(head.at('author', 'username').optionalText()),
    committer: person(head.at('committer', 'username').optionalText()),
  });
}

function pullRequest(payload: Payload, own: OwnRepository): HookEvent {
  const action = payload.at('action').text();
  if (!['opened', 'synchronize', 'reopened'].includes(action))
    return skipPullRequest('Nothing of the pull request that is built has changed.', {
      folder: pullRequests,
      number: payload.at('pull_request', 'number'),
      commit: payload.at('pull_request', 'head', 'sha'),
    });
  const request = payload.at('pull_request').object();
  const number = request.at('number').whole();
  const [head, base] = [request.at('head').object(), request.at('base').object()];
  const repository = base.at('repo').object();
  const from = head.at('repo', 'full_name').optionalText();
  const fallback = repository.at('default_branch');
  return {
    kind: 'pull-request',
    number,
    metadata: withoutGaps<TriggerMetadata>({
      commit: head.at('sha').shaped(fullCommit).toLowerCase(),
      ref: `${pullRequests}/${number}/head`,
      default_branch: fallback.present ? fallback.shaped(branch) : undefined,
      git_url: ownUrl(own, repository.at('full_name'), repository.at('ssh_url')),
      commit_info: undefined,
    }),
    // The repository of a fork may be gone.
    fork: from === undefined || from.toLowerCase() !== repository.at('full_name').text().toLowerCase(),
    base: base.at('ref').shaped(branch),
    incomplete: true,
  };
}
