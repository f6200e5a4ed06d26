import type { GitHostsConfig, OAuthClientConfig } from './config.ts';
import type { CheckedConfig } from './schema.ts';
import { Secret } from './secret.ts';

export function resolveGitHosts(config: CheckedConfig): GitHostsConfig {
  const {
    GITHUB_TRIGGER_CONFIG: github,
    GITLAB_TRIGGER_CONFIG: gitlab,
    BITBUCKET_TRIGGER_CONFIG: bitbucket,
  } = config;
  return {
    github: config.FEATURE_GITHUB_BUILD
      ? {
          site: withoutSlash(github?.GITHUB_ENDPOINT),
          api: withoutSlash(github?.API_ENDPOINT),
          oauth: client(github?.CLIENT_ID, github?.CLIENT_SECRET),
        }
      : undefined,
    gitlab: config.FEATURE_GITLAB_BUILD
      ? {
          site: withoutSlash(gitlab?.GITLAB_ENDPOINT),
          oauth: client(gitlab?.CLIENT_ID, gitlab?.CLIENT_SECRET),
        }
      : undefined,
    bitbucket: config.FEATURE_BITBUCKET_BUILD
      ? { oauth: client(bitbucket?.CONSUMER_KEY, bitbucket?.CONSUMER_SECRET) }
      : undefined,
  };
}

function client(id: string | undefined, secret: string | undefined): OAuthClientConfig | undefined {
  return id === undefined || secret === undefined ? undefined : { id, secret: new Secret(secret) };
}

function withoutSlash(url: string | undefined): string | undefined {
  return url?.replace(/\/+$/, '');
}
