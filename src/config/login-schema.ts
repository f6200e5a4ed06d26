import Type from 'typebox';
import { duration, flag, list, text } from './leaf.ts';

const url = { pattern: '^https?://[^\\s?#]+$', allowed: 'a URL such as https://login.example.com' };
const client = {
  CLIENT_ID: text('What the service knows Slipway by.'),
  CLIENT_SECRET: text('What Slipway proves that with.', { secret: true }),
};
const parameters = Type.Optional(
  Type.Record(Type.String(), text('Value.'), {
    description: 'Further parameters in the query of this endpoint.',
  }),
);

/** The key of all logins by OpenID, once they were gathered: see gather-logins.ts. */
export const oidcLogins = '<NAME>_LOGIN_CONFIG';

const oidcLoginSchema = Type.Object(
  {
    OIDC_SERVER: text('Where the provider is; `.well-known/openid-configuration` is below it.', url),
    ...client,
    SERVICE_NAME: Type.Optional(text('What people are shown. Without it, NAME.')),
    OIDC_ISSUER: Type.Optional(text('What the provider calls itself, where that is not OIDC_SERVER.', url)),
    LOGIN_SCOPES: Type.Optional(
      list(
        text('Scope.'),
        'Scopes to ask for. Without it openid, profile and email, as far as there are such.',
      ),
    ),
    PREFERRED_USERNAME_CLAIM_NAME: Type.Optional(
      text('Claim that new users are named after. Without it preferred_username, unique_name or upn.'),
    ),
    VERIFIED_EMAIL_CLAIM_NAME: Type.Optional(
      text(
        'Claim that is an e-mail address the provider has verified. Without it email, where email_verified is true.',
      ),
    ),
    OIDC_DISABLE_USER_ENDPOINT: flag('Takes claims from the ID token only.', { default: false }),
    OIDC_ENDPOINT_CUSTOM_PARAMS: Type.Optional(
      Type.Object(
        {
          authorization_endpoint: parameters,
          token_endpoint: parameters,
          userinfo_endpoint: parameters,
        },
        { description: 'Further parameters for endpoints of the provider.', ignores: ['user_endpoint'] },
      ),
    ),
    DEBUGGING: flag('The provider may be spoken to by http. Only for trying things out.', { default: false }),
  },
  {
    description: 'Login by an OpenID provider.',
    ignores: [
      'DEBUGLOG',
      'LOGIN_BINDING_FIELD',
      'PKCE_METHOD',
      'PREFERRED_GROUP_CLAIM_NAME',
      'SERVICE_ICON',
      'USE_PKCE',
    ],
  },
);

export const loginKeys = {
  FEATURE_DIRECT_LOGIN: flag('Browsers may sign in by password.', { default: true }),
  FEATURE_USER_CREATION: flag('Who signs in by a login service for the first time becomes a user.', {
    default: true,
  }),
  FEATURE_GITHUB_LOGIN: flag('Login by GitHub.', { default: false }),
  GITHUB_LOGIN_CONFIG: Type.Optional(
    Type.Object(
      {
        GITHUB_ENDPOINT: text('GitHub, or a GitHub Enterprise server.', {
          ...url,
          default: 'https://github.com/',
        }),
        API_ENDPOINT: Type.Optional(
          text('Its API. Without it `https://api.github.com/`, or `api/v3/` below GITHUB_ENDPOINT.', url),
        ),
        ...client,
        ORG_RESTRICT: flag('Only members of ALLOWED_ORGANIZATIONS may sign in.', { default: false }),
        ALLOWED_ORGANIZATIONS: list(text('Organization.'), 'See ORG_RESTRICT.'),
      },
      { description: 'Login by GitHub; its callback is `/oauth2/github/callback`.' },
    ),
  ),
  FEATURE_GITLAB_LOGIN: flag('Login by GitLab.', { default: false }),
  GITLAB_LOGIN_CONFIG: Type.Optional(
    Type.Object(
      {
        GITLAB_ENDPOINT: text('GitLab, or a server of your own.', { ...url, default: 'https://gitlab.com/' }),
        ...client,
        GROUP_RESTRICT: flag('Only members of ALLOWED_GROUPS may sign in.', { default: false }),
        ALLOWED_GROUPS: list(text('Full path of a group.'), 'See GROUP_RESTRICT. Guests are no members.'),
      },
      {
        description:
          'Login by GitLab; its callback is `/oauth2/gitlab/callback`. With OIDC_SERVER in it, it is a login by OpenID instead.',
      },
    ),
  ),
  [oidcLogins]: Type.Record(Type.String(), oidcLoginSchema, {
    spread: true,
    description:
      'Any number of logins by OpenID, such as OKTA_LOGIN_CONFIG. The callback is `/oauth2/NAME/callback`, NAME in lower case and up to its first underscore.',
  }),
};

/** In the block SLIPWAY. */
export const sessionSchema = Type.Object(
  {
    IDLE: duration('A browser that is not used for this time is signed out.', {
      default: '24h',
      minimum: 300,
    }),
    LIFETIME: duration('A browser is signed out after this time, however much it is used.', {
      default: '7d',
      minimum: 300,
    }),
  },
  { description: 'Sessions of browsers.' },
);
