import Type from 'typebox';
import { flag, text } from './leaf.ts';

const url = {
  pattern: '^https?://[^\\s?#@]+$',
  allowed: 'a URL such as https://git.example.com, without a user, password or query',
};

const clientId = Type.Optional(
  text('Name of the OAuth client that is registered there. Without it people bring tokens they made there.'),
);
const clientSecret = Type.Optional(text('Secret of the OAuth client.', { secret: true }));

/** Git hosts whose pushes trigger builds. */
export const gitHostKeys = {
  FEATURE_GITHUB_BUILD: flag('Builds triggered by GitHub.', { default: false }),
  GITHUB_TRIGGER_CONFIG: Type.Optional(
    Type.Object(
      {
        GITHUB_ENDPOINT: text('Where people see GitHub: github.com or an Enterprise server.', {
          ...url,
          default: 'https://github.com/',
        }),
        API_ENDPOINT: Type.Optional(
          text(
            'Where its interface is. Without it `api.github.com`, or `/api/v3` of an Enterprise server.',
            url,
          ),
        ),
        CLIENT_ID: clientId,
        CLIENT_SECRET: clientSecret,
      },
      {
        description: 'Where GitHub is, and the OAuth client there.',
        ignores: ['ALLOWED_ORGANIZATIONS', 'ORG_RESTRICT'],
      },
    ),
  ),
  FEATURE_GITLAB_BUILD: flag('Builds triggered by GitLab.', { default: false }),
  GITLAB_TRIGGER_CONFIG: Type.Optional(
    Type.Object(
      {
        GITLAB_ENDPOINT: text('Where GitLab is: gitlab.com or a server of one’s own.', {
          ...url,
          default: 'https://gitlab.com/',
        }),
        CLIENT_ID: clientId,
        CLIENT_SECRET: clientSecret,
      },
      { description: 'Where GitLab is, and the OAuth client there.' },
    ),
  ),
  FEATURE_BITBUCKET_BUILD: flag('Builds triggered by Bitbucket Cloud.', { default: false }),
  BITBUCKET_TRIGGER_CONFIG: Type.Optional(
    Type.Object(
      {
        CONSUMER_KEY: Type.Optional(
          text('Key of the OAuth consumer there. Without it people bring tokens they made there.'),
        ),
        CONSUMER_SECRET: Type.Optional(text('Secret of the OAuth consumer.', { secret: true })),
      },
      { description: 'The OAuth consumer at Bitbucket Cloud.' },
    ),
  ),
};
