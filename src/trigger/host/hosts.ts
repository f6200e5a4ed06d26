import type { GitHost } from '../git-host.ts';
import type { TriggerService } from '../trigger.ts';
import { Bitbucket, type BitbucketOptions } from './bitbucket.ts';
import { CustomGit } from './custom-git.ts';
import { Github, type GithubOptions } from './github.ts';
import { Gitlab, type GitlabOptions } from './gitlab.ts';

/** Each absent one is switched off. */
export interface GitHostsOptions {
  readonly github?: GithubOptions;
  readonly gitlab?: GitlabOptions;
  readonly bitbucket?: BitbucketOptions;
}

/** The hosts that triggers may be at. A custom git repository is always possible. */
export function gitHosts({
  github,
  gitlab,
  bitbucket,
}: GitHostsOptions): ReadonlyMap<TriggerService, GitHost> {
  const hosts: readonly (GitHost | undefined)[] = [
    new CustomGit(),
    github && new Github(github),
    gitlab && new Gitlab(gitlab),
    bitbucket && new Bitbucket(bitbucket),
  ];
  return new Map(hosts.flatMap((host) => (host === undefined ? [] : [[host.service, host] as const])));
}
