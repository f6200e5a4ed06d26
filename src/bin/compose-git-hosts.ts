import type { Clock } from '../base/clock.ts';
import type { GitHostConfig, TriggerConfig } from '../config/config.ts';
import type { GitHost } from '../trigger/git-host.ts';
import { gitHosts } from '../trigger/host/hosts.ts';
import type { TriggerService } from '../trigger/trigger.ts';

/** The git hosts that triggers may be at, as the configuration has them. */
export function composeGitHosts(
  { github, gitlab, bitbucket }: TriggerConfig['hosts'],
  clock: Clock,
): ReadonlyMap<TriggerService, GitHost> {
  const options = ({ site, api, oauth }: GitHostConfig) => ({
    clock,
    ...(site === undefined ? {} : { site }),
    ...(api === undefined ? {} : { api }),
    ...(oauth === undefined ? {} : { oauth: { id: oauth.id, secret: oauth.secret.reveal() } }),
  });
  return gitHosts({
    ...(github === undefined ? {} : { github: options(github) }),
    ...(gitlab === undefined ? {} : { gitlab: options(gitlab) }),
    ...(bitbucket === undefined ? {} : { bitbucket: options(bitbucket) }),
  });
}
