import { loginIdOf } from './gather-logins.ts';
import { oidcLogins } from './login-schema.ts';
import type { LooseConfig, RuleReport } from './rule-report.ts';

/** Names of Quay's other ways to know people, which its paths would be mixed up with. */
const reserved = new Set(['ldap', 'jwt', 'keystone', 'github', 'google']);

/** Logins by other services. */
export function loginRules(config: LooseConfig, report: RuleReport): void {
  const seen = new Map<string, string>();
  if (config.FEATURE_GITLAB_LOGIN === true && config.GITLAB_LOGIN_CONFIG !== undefined)
    seen.set('gitlab', 'GITLAB_LOGIN_CONFIG');
  for (const [key, login] of Object.entries(config[oidcLogins] ?? {})) {
    const id = loginIdOf(key);
    const other = seen.get(id);
    seen.set(id, key);
    if (!/^[a-z0-9]+$/.test(id))
      report.fault('not-allowed', [oidcLogins, key], `needs a name, such as OKTA_LOGIN_CONFIG.`);
    if (reserved.has(id))
      report.fault('not-allowed', [oidcLogins, key], `has the reserved name ${id}; choose another one.`);
    if (other !== undefined)
      report.fault(
        'contradiction',
        [oidcLogins, key],
        `and ${other} would have the same callback /oauth2/${id}/callback; names must differ before their first underscore.`,
      );
    for (const part of ['OIDC_SERVER', 'OIDC_ISSUER'] as const)
      if (login?.[part]?.startsWith('http:') === true && login.DEBUGGING !== true)
        report.notAllowed([oidcLogins, key, part], login[part], 'an https URL, unless DEBUGGING is true');
  }
  const { FEATURE_GITHUB_LOGIN: github, FEATURE_GITLAB_LOGIN: gitlab } = config;
  if (github === true && config.GITHUB_LOGIN_CONFIG === undefined) missing(report, 'GITHUB');
  if (gitlab === true && config.GITLAB_LOGIN_CONFIG === undefined && !seen.has('gitlab'))
    missing(report, 'GITLAB');
  restriction(
    report,
    'GITHUB_LOGIN_CONFIG',
    config.GITHUB_LOGIN_CONFIG,
    'ORG_RESTRICT',
    'ALLOWED_ORGANIZATIONS',
  );
  restriction(report, 'GITLAB_LOGIN_CONFIG', config.GITLAB_LOGIN_CONFIG, 'GROUP_RESTRICT', 'ALLOWED_GROUPS');
  const { IDLE: idle, LIFETIME: lifetime } = config.SLIPWAY?.SESSION ?? {};
  if (idle !== undefined && lifetime !== undefined && idle > lifetime)
    report.fault(
      'contradiction',
      ['SLIPWAY', 'SESSION', 'IDLE'],
      `is ${idle / 1000} s; it must be at most LIFETIME, which is ${lifetime / 1000} s.`,
    );
}

function missing(report: RuleReport, name: 'GITHUB' | 'GITLAB'): void {
  report.fault(
    'missing-key',
    [`${name}_LOGIN_CONFIG`],
    `is missing; FEATURE_${name}_LOGIN needs its CLIENT_ID and CLIENT_SECRET.`,
  );
}

/** A restriction to nobody keeps everybody out, and whoever wrote it meant somebody. */
function restriction(
  report: RuleReport,
  at: string,
  login: Readonly<Record<string, unknown>> | undefined,
  flag: string,
  names: string,
): void {
  const allowed = login?.[names];
  if (login?.[flag] === true && Array.isArray(allowed) && allowed.length === 0)
    report.fault('missing-key', [at, names], `is empty; ${flag} needs the names of those who may sign in.`);
}
