import type { HookDelivery, HookEvent, OwnRepository } from '../git-host.ts';
import type { CommitInfo, CommitPerson, TriggerMetadata } from '../metadata.ts';
import { bitbucketEvent } from './bitbucket-payload.ts';
import { anyCommit, branch, isNoCommit, ref } from './git-names.ts';
import { githubEvent } from './github-payload.ts';
import { gitlabEvent } from './gitlab-payload.ts';
import { refRemoved, skip, withoutGaps } from './hook-event.ts';
import { Payload } from './payload.ts';

/**
 * What a person's own hook sends: `{ commit, ref, default_branch, commit_info? }`. A payload of GitHub, Bitbucket or
 * GitLab works as it is. Each is told by what only it has, in this order, so that a fault is told in the words of the
 * host it is most like. What is built is the trigger's own repository whatever a payload says.
 */
export function readCustomGit(delivery: HookDelivery, own: OwnRepository): HookEvent {
  const event = eventOf(Payload.parse(delivery.body), delivery.headers, own);
  if (event.kind === 'pull-request')
    return skip('A custom trigger builds pushes, and no pull requests.', event.metadata);
  // There is nobody to ask for more.
  return event.kind === 'push' ? { ...event, incomplete: false } : event;
}

function eventOf(payload: Payload, headers: HookDelivery['headers'], own: OwnRepository): HookEvent {
  const has = (...keys: readonly string[]) => payload.at(...keys).present;
  if (has('zen') || has('head_commit') || has('pull_request') || has('repository', 'ssh_url'))
    return githubEvent(payload, headers['x-github-event'], own);
  if (has('push') || has('pullrequest')) return bitbucketEvent(payload, headers['x-event-key'], own);
  if (has('object_kind')) return gitlabEvent(payload, own);
  return ownEvent(payload, own);
}

function ownEvent(payload: Payload, { gitUrl }: OwnRepository): HookEvent {
  const commit = payload.at('commit').shaped(anyCommit).toLowerCase();
  const name = payload.at('ref').shaped(ref);
  const fallback = payload.at('default_branch').shaped(branch);
  // A hook that says everything git tells it says this of a ref that is gone.
  if (isNoCommit(commit)) return refRemoved(name);
  const info = payload.at('commit_info');
  return {
    kind: 'push',
    metadata: withoutGaps<TriggerMetadata>({
      commit,
      ref: name,
      default_branch: fallback,
      git_url: gitUrl,
      commit_info: info.present ? commitInfo(info.object()) : undefined,
    }),
    incomplete: false,
  };
}

function commitInfo(info: Payload): CommitInfo {
  return withoutGaps<CommitInfo>({
    url: webLink(info.at('url')) ?? '',
    message: info.at('message').message(),
    date: info.at('date').text(),
    author: personOf(info.at('author')),
    committer: personOf(info.at('committer')),
  });
}

/** Must be text; what is no web address leads nowhere and stays away. */
function webLink(url: Payload): string | undefined {
  url.text();
  return url.link();
}

function personOf(given: Payload): CommitPerson | undefined {
  if (!given.present) return undefined;
  const one = given.object();
  return withoutGaps<CommitPerson>({
    username: one.at('username').text(),
    url: webLink(one.at('url')),
    avatar_url: webLink(one.at('avatar_url')),
  });
}
