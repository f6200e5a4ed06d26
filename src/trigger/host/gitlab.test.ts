import { GitlabApi } from '../../../test/fakes/gitlab-api.ts';
import { hostClientSuite } from '../host-client.suite.ts';
import { Gitlab } from './gitlab.ts';

const now = Date.UTC(2026, 10, 30) / 1000;

hostClientSuite('GitLab', {
  start: () => new GitlabApi().start(),
  host: ({ url, clock, limits }) => new Gitlab({ site: url, clock, ...(limits && { limits }) }),
  path: (repository) => `/api/v4/projects/${encodeURIComponent(repository)}`,
  emptyPage: () => [],
  states: { pending: 'pending', success: 'success', failure: 'failed' },
  events: ['push', 'tag_push', 'merge_request'],
  knowsCommitter: true,
  limits: [
    { name: 'Retry-After', status: 429, headers: { 'retry-after': '30' }, retryAfter: 30_000 },
    {
      name: 'RateLimit-Reset',
      status: 429,
      headers: { 'ratelimit-reset': String(now + 45) },
      retryAfter: 45_000,
    },
    { name: 'nothing', status: 429, headers: {}, retryAfter: 60_000 },
  ],
});
