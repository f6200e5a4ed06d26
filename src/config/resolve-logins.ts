import type { LoginConfig, LoginServiceConfig } from './config.ts';
import { loginIdOf } from './gather-logins.ts';
import { oidcLogins } from './login-schema.ts';
import type { CheckedConfig } from './schema.ts';
import { Secret } from './secret.ts';

const github = 'https://github.com';
const githubApi = 'https://api.github.com';

export function resolveLogins(config: CheckedConfig): LoginConfig {
  const { SESSION: session } = config.SLIPWAY;
  return {
    direct: config.FEATURE_DIRECT_LOGIN,
    createUsers: config.FEATURE_USER_CREATION,
    session: { idle: session.IDLE, lifetime: session.LIFETIME },
    services: [...oidcServices(config), ...githubService(config), ...gitlabService(config)],
  };
}

function oidcServices(config: CheckedConfig): LoginServiceConfig[] {
  return Object.entries(config[oidcLogins]).map(([key, login]) => ({
    type: 'oidc',
    id: loginIdOf(key),
    name: login.SERVICE_NAME ?? key.slice(0, -'_LOGIN_CONFIG'.length),
    server: login.OIDC_SERVER,
    issuer: login.OIDC_ISSUER,
    clientId: login.CLIENT_ID,
    clientSecret: new Secret(login.CLIENT_SECRET),
    scopes: login.LOGIN_SCOPES,
    usernameClaim: login.PREFERRED_USERNAME_CLAIM_NAME,
    emailClaim: login.VERIFIED_EMAIL_CLAIM_NAME,
    userEndpoint: !login.OIDC_DISABLE_USER_ENDPOINT,
    endpointParameters: Object.fromEntries(
      Object.entries(login.OIDC_ENDPOINT_CUSTOM_PARAMS ?? {}).filter(([, value]) => value !== undefined),
    ),
    insecure: login.DEBUGGING,
  }));
}

function githubService({
  FEATURE_GITHUB_LOGIN: on,
  GITHUB_LOGIN_CONFIG: login,
}: CheckedConfig): LoginServiceConfig[] {
  if (!on || login === undefined) return [];
  const endpoint = withoutSlash(login.GITHUB_ENDPOINT);
  return [
    {
      type: 'github',
      endpoint,
      apiEndpoint: withoutSlash(
        login.API_ENDPOINT ?? (endpoint === github ? githubApi : `${endpoint}/api/v3`),
      ),
      clientId: login.CLIENT_ID,
      clientSecret: new Secret(login.CLIENT_SECRET),
      allowed: login.ORG_RESTRICT ? lower(login.ALLOWED_ORGANIZATIONS) : undefined,
    },
  ];
}

function gitlabService({
  FEATURE_GITLAB_LOGIN: on,
  GITLAB_LOGIN_CONFIG: login,
}: CheckedConfig): LoginServiceConfig[] {
  if (!on || login === undefined) return [];
  return [
    {
      type: 'gitlab',
      endpoint: withoutSlash(login.GITLAB_ENDPOINT),
      clientId: login.CLIENT_ID,
      clientSecret: new Secret(login.CLIENT_SECRET),
      allowed: login.GROUP_RESTRICT ? lower(login.ALLOWED_GROUPS) : undefined,
    },
  ];
}

function lower(names: readonly string[]): readonly string[] {
  return names.map((name) => name.toLowerCase());
}

function withoutSlash(url: string): string {
  return url.replace(/\/+$/, '');
}
