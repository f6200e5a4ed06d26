import type { GitHostConfig, TriggerConfig } from './config.ts';
import type { CheckedConfig } from './schema.ts';
import { Secret } from './secret.ts';

export function resolveTriggers(config: CheckedConfig): TriggerConfig {
  const github = config.GITHUB_TRIGGER_CONFIG;
  const gitlab = config.GITLAB_TRIGGER_CONFIG;
  const bitbucket = config.BITBUCKET_TRIGGER_CONFIG;
  return {
    failureThreshold: config.SUCCESSIVE_TRIGGER_FAILURE_DISABLE_THRESHOLD ?? undefined,
    internalErrorThreshold: config.SUCCESSIVE_TRIGGER_INTERNAL_ERROR_DISABLE_THRESHOLD ?? undefined,
    hosts: {
      github: config.FEATURE_GITHUB_BUILD
        ? host(github?.GITHUB_ENDPOINT, github?.API_ENDPOINT, github?.CLIENT_ID, github?.CLIENT_SECRET)
        : undefined,
      gitlab: config.FEATURE_GITLAB_BUILD
        ? host(gitlab?.GITLAB_ENDPOINT, undefined, gitlab?.CLIENT_ID, gitlab?.CLIENT_SECRET)
        : undefined,
      bitbucket: config.FEATURE_BITBUCKET_BUILD
        ? host(undefined, undefined, bitbucket?.CONSUMER_KEY, bitbucket?.CONSUMER_SECRET)
        : undefined,
    },
  };
}

function host(
  site: string | undefined,
  api: string | undefined,
  id: string | undefined,
  secret: string | undefined,
): GitHostConfig {
  return {
    site,
    api,
    oauth: id === undefined || secret === undefined ? undefined : { id, secret: new Secret(secret) },
  };
}
