import { BitbucketApi } from '../../../test/fakes/bitbucket-api.ts';
import { hostClientSuite } from '../host-client.suite.ts';
import { Bitbucket } from './bitbucket.ts';

hostClientSuite('Bitbucket', {
  start: () => new BitbucketApi().start(),
  host: ({ url, clock, limits }) =>
    new Bitbucket({ site: url, api: `${url}/2.0`, clock, ...(limits && { limits }) }),
  path: (repository) => `/2.0/repositories/${repository}`,
  emptyPage: (next) => ({ values: [], next }),
  states: { pending: 'INPROGRESS', success: 'SUCCESSFUL', failure: 'FAILED' },
  events: ['repo:push', 'pullrequest:created', 'pullrequest:updated'],
  knowsCommitter: false,
  limits: [
    { name: 'nothing', status: 429, headers: {}, retryAfter: 60_000 },
    { name: 'Retry-After', status: 429, headers: { 'retry-after': '5' }, retryAfter: 5000 },
  ],
});
