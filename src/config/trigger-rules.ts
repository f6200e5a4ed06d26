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
}
