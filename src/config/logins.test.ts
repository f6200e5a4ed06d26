import { describe, expect, it } from 'vitest';
import { parseText } from '../../test/fakes/config-text.ts';
import { Secret } from './secret.ts';

const inOrder = 'SERVER_HOSTNAME: ci.example.com\nDB_URI: sqlite:///slipway.db\n';
const client = 'CLIENT_ID: id, CLIENT_SECRET: hunter2';
const parse = (lines: string, environment: Record<string, string> = {}) =>
  parseText(inOrder + lines, environment);
const loginsOf = (lines: string, environment?: Record<string, string>) => {
  const { config, faults } = parse(lines, environment);
  expect(faults).toEqual([]);
  return config?.logins;
};

describe('logins', () => {
  it('are by password alone, unless something else is said', () => {
    expect(loginsOf('')).toEqual({
      direct: true,
      createUsers: true,
      session: { idle: 86_400_000, lifetime: 604_800_000 },
      services: [],
    });
  });

  it('are by any number of OpenID providers, under the names Quay gives them in paths', () => {
    const logins = loginsOf(
      `AZURE_AD_LOGIN_CONFIG: { OIDC_SERVER: "https://sts.example/1/", ${client}, SERVICE_NAME: Azure AD, LOGIN_SCOPES: [openid], OIDC_ENDPOINT_CUSTOM_PARAMS: { authorization_endpoint: { prompt: login } } }\n` +
        `OKTA_LOGIN_CONFIG: { OIDC_SERVER: "http://okta.example", ${client}, DEBUGGING: true, DEBUGLOG: true, OIDC_DISABLE_USER_ENDPOINT: true }\n`,
    );
    expect(logins?.services).toMatchObject([
      {
        type: 'oidc',
        id: 'azure',
        name: 'Azure AD',
        server: 'https://sts.example/1/',
        scopes: ['openid'],
        userEndpoint: true,
        endpointParameters: { authorization_endpoint: { prompt: 'login' } },
        insecure: false,
      },
      { type: 'oidc', id: 'okta', name: 'OKTA', userEndpoint: false, insecure: true },
    ]);
    const [first] = logins?.services ?? [];
    expect(first?.clientSecret).toBeInstanceOf(Secret);
    expect(first?.clientSecret.reveal()).toBe('hunter2');
    expect(JSON.stringify(logins)).not.toContain('hunter2');
  });

  it('are by GitHub, its public service or a server of one’s own', () => {
    const text = `FEATURE_GITHUB_LOGIN: true\nGITHUB_LOGIN_CONFIG: { ${client}, ORG_RESTRICT: true, ALLOWED_ORGANIZATIONS: [Acme] }\n`;
    expect(loginsOf(text)?.services).toMatchObject([
      {
        type: 'github',
        endpoint: 'https://github.com',
        apiEndpoint: 'https://api.github.com',
        allowed: ['acme'],
      },
    ]);
    const own = text.replace('{ CLIENT', '{ GITHUB_ENDPOINT: "https://git.example/", CLIENT');
    expect(loginsOf(own)?.services).toMatchObject([{ apiEndpoint: 'https://git.example/api/v3' }]);
    expect(loginsOf(text.replace('true\n', 'false\n'))?.services).toEqual([]);
  });

  it('are by GitLab, by its own way or by OpenID', () => {
    const own = `FEATURE_GITLAB_LOGIN: true\nGITLAB_LOGIN_CONFIG: { ${client} }\n`;
    expect(loginsOf(own)?.services).toMatchObject([
      { type: 'gitlab', endpoint: 'https://gitlab.com', allowed: undefined },
    ]);
    const openId = `GITLAB_LOGIN_CONFIG: { OIDC_SERVER: "https://gitlab.com", ${client} }\n`;
    expect(loginsOf(openId)?.services).toMatchObject([{ type: 'oidc', id: 'gitlab' }]);
  });

  it('have their secrets in the environment or in files', () => {
    const text = 'OKTA_LOGIN_CONFIG: { OIDC_SERVER: "https://okta.example", CLIENT_ID: id }\n';
    const logins = loginsOf(text, { SLIPWAY_OKTA_LOGIN_CONFIG__CLIENT_SECRET: 'from outside' });
    expect(logins?.services[0]?.clientSecret.reveal()).toBe('from outside');
  });

  it.each([
    ['OKTA_LOGIN_CONFIG: { OIDC_SERVER: "https://okta.example" }', 'OKTA_LOGIN_CONFIG.CLIENT_ID'],
    [`OKTA_LOGIN_CONFIG: { OIDC_SERVER: "http://okta.example", ${client} }`, 'OKTA_LOGIN_CONFIG.OIDC_SERVER'],
    [`OKTA_LOGIN_CONFIG: { OIDC_SERVER: okta, ${client} }`, 'OKTA_LOGIN_CONFIG.OIDC_SERVER'],
    [
      `OKTA_LOGIN_CONFIG: { OIDC_SERVER: "https://a.example", ${client}, COLOR: red }`,
      'OKTA_LOGIN_CONFIG.COLOR',
    ],
    [`LDAP_LOGIN_CONFIG: { OIDC_SERVER: "https://a.example", ${client} }`, 'LDAP_LOGIN_CONFIG'],
    [`"<NAME>_LOGIN_CONFIG": { OIDC_SERVER: "https://a.example", ${client} }`, '<NAME>_LOGIN_CONFIG'],
    [
      `A_ONE_LOGIN_CONFIG: { OIDC_SERVER: "https://a.example", ${client} }\nA_TWO_LOGIN_CONFIG: { OIDC_SERVER: "https://b.example", ${client} }`,
      'A_TWO_LOGIN_CONFIG',
    ],
    ['FEATURE_GITHUB_LOGIN: true', 'GITHUB_LOGIN_CONFIG'],
    ['FEATURE_GITLAB_LOGIN: true', 'GITLAB_LOGIN_CONFIG'],
    [`GITHUB_LOGIN_CONFIG: { ${client}, ORG_RESTRICT: true }`, 'GITHUB_LOGIN_CONFIG.ALLOWED_ORGANIZATIONS'],
    ['SLIPWAY: { SESSION: { IDLE: 8d } }', 'SLIPWAY.SESSION.IDLE'],
  ])('are refused with a fault at its place: %s', (lines, path) => {
    const { faults } = parse(`${lines}\n`);
    expect(faults.map((fault) => fault.path)).toContain(path);
    expect(JSON.stringify(faults)).not.toContain('hunter2');
  });

  it('warns when nobody can sign in', () => {
    expect(parse('FEATURE_DIRECT_LOGIN: false\n').warnings).toMatchObject([{ path: 'FEATURE_DIRECT_LOGIN' }]);
  });
});
