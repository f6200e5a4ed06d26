import Type from 'typebox';
import { flag, text } from './leaf.ts';

const url = {
  pattern: '^https?://[^\\s?#@]+$',
  allowed: 'a URL such as https://git.example.com, without a user, password or query',
};
const client = {
  CLIENT_ID: Type.Optional(text('What the service knows Slipway by.')),
  CLIENT_SECRET: Type.Optional(text('What Slipway proves that with.', { secret: true })),
};

/** Build triggers at git hosts. Without CLIENT_ID people bring access tokens that they made there. */
export const triggerKeys = {
  FEATURE_GITHUB_BUILD: flag('Build triggers of repositories at GitHub.', { default: false }),
  GITHUB_TRIGGER_CONFIG: Type.Optional(
    Type.Object(
      {
        GITHUB_ENDPOINT: Type.Optional(text('Where people see GitHub; without it https://github.com.', url)),
        API_ENDPOINT: Type.Optional(
          text('Where its interface is; without it, where GitHub has it for such an endpoint.', url),
        ),
        ...client,
      },
      {
        description: 'GitHub, or a GitHub Enterprise server.',
        ignores: ['ALLOWED_ORGANIZATIONS', 'ORG_RESTRICT'],
      },
    ),
  ),
  FEATURE_GITLAB_BUILD: flag('Build triggers of repositories at GitLab.', { default: false }),
  GITLAB_TRIGGER_CONFIG: Type.Optional(
    Type.Object(
      {
        GITLAB_ENDPOINT: Type.Optional(text('Where GitLab is; without it https://gitlab.com.', url)),
        ...client,
      },
      { description: 'gitlab.com, or a GitLab server.' },
    ),
  ),
  FEATURE_BITBUCKET_BUILD: flag('Build triggers of repositories at Bitbucket Cloud.', { default: false }),
  BITBUCKET_TRIGGER_CONFIG: Type.Optional(
    Type.Object(
      {
        CONSUMER_KEY: Type.Optional(text('What Bitbucket knows Slipway by.')),
        CONSUMER_SECRET: Type.Optional(text('What Slipway proves that with.', { secret: true })),
      },
      { description: 'Bitbucket Cloud.' },
    ),
  ),
};
