import type { LooseConfig, RuleReport } from './rule-report.ts';

/** A client goes with its secret, and an endpoint has to be a URL that others can be made of. */
export function gitHostRules(config: LooseConfig, report: RuleReport): void {
  const { GITHUB_TRIGGER_CONFIG: github, GITLAB_TRIGGER_CONFIG: gitlab } = config;
  report.together(['GITHUB_TRIGGER_CONFIG'], github, 'CLIENT_ID', 'CLIENT_SECRET');
  report.together(['GITLAB_TRIGGER_CONFIG'], gitlab, 'CLIENT_ID', 'CLIENT_SECRET');
  report.together(
    ['BITBUCKET_TRIGGER_CONFIG'],
    config.BITBUCKET_TRIGGER_CONFIG,
    'CONSUMER_KEY',
    'CONSUMER_SECRET',
  );
  for (const [block, key, url] of [
    ['GITHUB_TRIGGER_CONFIG', 'GITHUB_ENDPOINT', github?.GITHUB_ENDPOINT],
    ['GITHUB_TRIGGER_CONFIG', 'API_ENDPOINT', github?.API_ENDPOINT],
    ['GITLAB_TRIGGER_CONFIG', 'GITLAB_ENDPOINT', gitlab?.GITLAB_ENDPOINT],
  ] as const)
    if (url !== undefined && !URL.canParse(url))
      report.notAllowed([block, key], url, 'a URL such as https://git.example.com');
}
