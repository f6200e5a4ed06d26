import type { LooseConfig, RuleReport } from './rule-report.ts';

/** What no single key of triggers can be blamed for. */
export function triggerRules(config: LooseConfig, report: RuleReport): void {
  report.together(['GITHUB_TRIGGER_CONFIG'], config.GITHUB_TRIGGER_CONFIG, 'CLIENT_ID', 'CLIENT_SECRET');
  report.together(['GITLAB_TRIGGER_CONFIG'], config.GITLAB_TRIGGER_CONFIG, 'CLIENT_ID', 'CLIENT_SECRET');
  report.together(
    ['BITBUCKET_TRIGGER_CONFIG'],
    config.BITBUCKET_TRIGGER_CONFIG,
    'CONSUMER_KEY',
    'CONSUMER_SECRET',
  );
  for (const [block, key, url] of [
    ['GITHUB_TRIGGER_CONFIG', 'GITHUB_ENDPOINT', config.GITHUB_TRIGGER_CONFIG?.GITHUB_ENDPOINT],
    ['GITHUB_TRIGGER_CONFIG', 'API_ENDPOINT', config.GITHUB_TRIGGER_CONFIG?.API_ENDPOINT],
    ['GITLAB_TRIGGER_CONFIG', 'GITLAB_ENDPOINT', config.GITLAB_TRIGGER_CONFIG?.GITLAB_ENDPOINT],
  ] as const)
    if (url !== undefined && !URL.canParse(url))
      report.notAllowed([block, key], url, 'a URL such as https://git.example.com');
}
