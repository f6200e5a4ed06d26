import type { Clock } from '../base/clock.ts';
import type { GitHostsConfig, OAuthClientConfig } from '../config/config.ts';
import type { GitHost } from '../trigger/git-host.ts';
import { gitHosts } from '../trigger/host/hosts.ts';
import type { TriggerService } from '../trigger/trigger.ts';

/** All public hosts, for people who bring tokens of theirs: what `up` has, which has no configuration. */
export const publicGitHosts: GitHostsConfig = {
  github: { site: undefined, api: undefined, oauth: undefined },
  gitlab: { site: undefined, oauth: undefined },
  bitbucket: { oauth: undefined },
};

/** The git hosts that a configuration switches on. */
export function composeGitHosts(
  { github, gitlab, bitbucket }: GitHostsConfig,
  clock: Clock,
): ReadonlyMap<TriggerService, GitHost> {
  return gitHosts({
    ...(github && {
      github: {
        ...(github.site && { site: github.site }),
        ...(github.api && { api: github.api }),
        ...oauthOf(github.oauth),
        clock,
      },
    }),
    ...(gitlab && {
      gitlab: { ...(gitlab.site && { site: gitlab.site }), ...oauthOf(gitlab.oauth), clock },
    }),
    ...(bitbucket && { bitbucket: { ...oauthOf(bitbucket.oauth), clock } }),
  });
}

function oauthOf(client: OAuthClientConfig | undefined) {
  return client === undefined ? {} : { oauth: { id: client.id, secret: client.secret.reveal() } };
}
