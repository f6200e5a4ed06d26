import type { HookDelivery, HookEvent, OwnRepository } from '../git-host.ts';
import type { CommitInfo, CommitPerson, TriggerMetadata } from '../metadata.ts';
import { anyCommit, branch, fullCommit, gitUrl, isRepositoryPath, ref } from './git-names.ts';
import { person, refRemoved, skip, skipPullRequest, withoutGaps } from './hook-event.ts';
import { ownUrl, requireOwn } from './own-repository.ts';
import { Payload, type TextShape } from './payload.ts';

const pullRequests = 'refs/pull-requests';

/** `owner/name` */
const fullName: TextShape = { words: 'the name of a repository, OWNER/NAME', fits: isRepositoryPath };

/** What Bitbucket sends: `repo:push`, `pullrequest:created` and `pullrequest:updated`. */
export function readBitbucket(delivery: HookDelivery, own: OwnRepository): HookEvent {
  return bitbucketEvent(Payload.parse(delivery.body), delivery.headers['x-event-key'], own);
}

export function bitbucketEvent(payload: Payload, named: string | undefined, own: OwnRepository): HookEvent {
  const event = named ?? (payload.at('pullrequest').present ? 'pullrequest:updated' : 'repo:push');
  if (event === 'repo:push') return push(payload, own);
  if (event === 'pullrequest:created' || event === 'pullrequest:updated') return pullRequest(payload, own);
  return skipPullRequest('Only pushes and pull requests are built.', {
    folder: pullRequests,
    number: payload.at('pullrequest', 'id'),
    commit: payload.at('pullrequest', 'source', 'commit', 'hash'),
  });
}

/** A push may change many refs; the last one is what is built. */
function push(payload: Payload, own: OwnRepository): HookEvent {
  const change = payload.at('push').object().at('changes').list().at(-1);
  if (change === undefined) return skip('The push changes nothing.');
  const now = change.at('new');
  if (!now.present) {
    const kind = change.at('old', 'type').optionalText() === 'tag' ? 'refs/tags/' : 'refs/heads/';
    return refRemoved(`${kind}${change.at('old', 'name').ifShaped(branch) ?? ''}`);
  }
  const target = now.object().at('target').object();
  const name = now.at('name');
  const full = `${now.at('type').text() === 'branch' ? 'refs/heads/' : 'refs/tags/'}${name.text()}`;
  if (!ref.fits(full)) name.fail('the name of a branch or tag as git allows it');
  const before = change.at('old', 'target', 'hash');
  const fallback = payload.at('repository', 'mainbranch', 'name');
  return {
    kind: 'push',
    metadata: withoutGaps<TriggerMetadata>({
      commit: target.at('hash').shaped(fullCommit).toLowerCase(),
      ref: full,
      default_branch: fallback.present ? fallback.shaped(branch) : undefined,
      git_url: ownUrl(own, payload.at('repository', 'full_name')),
      commit_info: withoutGaps<CommitInfo>({
        url: target.at('links', 'html', 'href').link() ?? '',
        message: target.at('message').message(),
        date: target.at('date').text(),
        author: account(target.at('author', 'user')),
        committer: account(payload.at('actor')),
      }),
    }),
    ...(before.present ? { before: before.shaped(fullCommit).toLowerCase() } : {}),
    incomplete: !fallback.present,
  };
}

/** There is one Bitbucket Cloud. */
function forkUrl(name: Payload): string {
  const url = `git@bitbucket.org:${name.shaped(fullName)}.git`;
  return gitUrl.fits(url) ? url : name.fail(fullName.words);
}

function account(user: Payload): CommitPerson | undefined {
  const names = ['display_name', 'nickname', 'username'].map((key) => user.at(key).optionalText());
  return person(
    names.find((name) => name !== undefined && name !== ''),
    user.at('links', 'html', 'href').link(),
    user.at('links', 'avatar', 'href').link(),
  );
}

/**
 * Bitbucket keeps no ref of a pull request: its commit is at the branch it comes from, in the repository it comes from. It
 * gets a ref of its own here all the same: a fork's branch `main` is not the `main` that is built and tagged.
 */
function pullRequest(payload: Payload, own: OwnRepository): HookEvent {
  const request = payload.at('pullrequest').object();
  const [source, target] = [request.at('source').object(), request.at('destination').object()];
  const from = source.at('repository');
  if (!from.present)
    return skipPullRequest('The repository that the pull request comes from is gone.', {
      folder: pullRequests,
      number: request.at('id'),
      commit: source.at('commit', 'hash'),
    });
  requireOwn(own, payload.at('repository', 'full_name'));
  const to = target.at('repository', 'full_name');
  requireOwn(own, to);
  const fork = from.at('full_name').shaped(fullName).toLowerCase() !== to.shaped(fullName).toLowerCase();
  const number = request.at('id').whole();
  source.at('branch', 'name').shaped(branch);
  const fallback = payload.at('repository', 'mainbranch', 'name');
  return {
    kind: 'pull-request',
    number,
    metadata: withoutGaps<TriggerMetadata>({
      // Cut to 12 digits by Bitbucket.
      commit: source.at('commit', 'hash').shaped(anyCommit).toLowerCase(),
      ref: `${pullRequests}/${number}/head`,
      default_branch: fallback.present ? fallback.shaped(branch) : undefined,
      git_url: fork ? forkUrl(from.at('full_name')) : own.gitUrl,
      commit_info: undefined,
    }),
    fork,
    base: target.at('branch', 'name').shaped(branch),
    incomplete: true,
  };
}
