import { GithubApi } from '../../../test/fakes/github-api.ts';
import { hostClientSuite } from '../host-client.suite.ts';
import { Github } from './github.ts';

const now = Date.UTC(2026, 10, 30) / 1000;

hostClientSuite('GitHub', {
  start: () => new GithubApi().start(),
  host: ({ url, clock, limits }) => new Github({ site: url, clock, ...(limits && { limits }) }),
  path: (repository) => `/api/v3/repos/${repository}`,
  emptyPage: () => [],
  states: { pending: 'pending', success: 'success', failure: 'failure' },
  events: ['push', 'pull_request'],
  knowsCommitter: true,
  limits: [
    {
      name: '403 with a used-up hour',
      status: 403,
      headers: { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(now + 120) },
      body: { message: 'API rate limit exceeded for user ID 1.' },
      retryAfter: 120_000,
    },
    {
      name: '429 with a used-up hour',
      status: 429,
      headers: { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(now + 90) },
      retryAfter: 90_000,
    },
    { name: '403 with Retry-After', status: 403, headers: { 'retry-after': '17' }, retryAfter: 17_000 },
    {
      name: '403 in words only',
      status: 403,
      headers: { 'x-ratelimit-remaining': '4000', 'x-ratelimit-reset': String(now + 3000) },
      body: { message: 'You have exceeded a secondary rate limit. Please wait.' },
      retryAfter: 60_000,
    },
    {
      name: 'a time that has passed',
      status: 429,
      headers: { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(now - 5) },
      retryAfter: 1000,
    },
    { name: 'a time without end', status: 429, headers: { 'retry-after': '99999999' }, retryAfter: 3600_000 },
  ],
});
