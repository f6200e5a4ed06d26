import Type from 'typebox';
import { parseDuration } from '../base/duration.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import type { ApiDependencies } from './dependencies.ts';

/** Milliseconds one request removes for at most; what is left is for the next one. */
const patience = 20_000;

const count = (description: string) => Type.Integer({ description });

export function addPruneRoutes(
  api: Api,
  { retention, clock }: Pick<ApiDependencies, 'retention' | 'clock'>,
): void {
  api.post(
    '/api/v1/superuser/prune',
    {
      config: { access: 'superuser' },
      schema: {
        operationId: 'pruneBuilds',
        summary: 'Count or remove builds that ended long ago',
        description:
          'Without confirm nothing is removed, and the answer says what would be. With it, builds that ended longer ago are removed with their jobs, attempts, logs, and uploads that no other build uses; unfinished ones never, and images stay. A request removes for 20 seconds at most: repeat it with the same `before` until it is done.',
        tags: ['superuser'],
        body: Type.Object(
          {
            keep_younger_than: Type.Optional(
              Type.String({ maxLength: 50, description: 'Such as 720h, 30d, 1d12h' }),
            ),
            before: Type.Optional(
              Type.Integer({
                minimum: 0,
                maximum: Number.MAX_SAFE_INTEGER,
                description: 'Instead of keep_younger_than: milliseconds since 1970, in the past',
              }),
            ),
            confirm: Type.Optional(Type.Boolean({ default: false })),
          },
          { additionalProperties: false, title: 'PruneRequest' },
        ),
        response: {
          200: Type.Object(
            {
              before: count('Builds that ended before this are meant; milliseconds since 1970'),
              confirmed: Type.Boolean({ description: 'They were removed, not only counted' }),
              done: Type.Boolean({ description: 'False: there is more to remove' }),
              builds: Type.Integer(),
              jobs: Type.Integer(),
              attempts: Type.Integer(),
              logs: Type.Integer(),
              log_bytes: count('Of their text'),
              archives: count('Of the logs, those in the blob store'),
              uploads: Type.Integer(),
              upload_bytes: Type.Integer(),
            },
            { title: 'Pruned' },
          ),
        },
      },
    },
    async (request) => {
      const { confirm = false } = request.body;
      const before = timeOf(request.body, clock.now());
      const { removed, done } = confirm
        ? await retention.prune(before, AbortSignal.timeout(patience))
        : { removed: await retention.count(before), done: true };
      return {
        before,
        confirmed: confirm,
        done,
        builds: removed.builds,
        jobs: removed.jobs,
        attempts: removed.attempts,
        logs: removed.logs,
        log_bytes: removed.logBytes,
        archives: removed.archives,
        uploads: removed.uploads,
        upload_bytes: removed.uploadBytes,
      };
    },
  );
}

function timeOf(
  { keep_younger_than, before }: { readonly keep_younger_than?: string; readonly before?: number },
  now: number,
): number {
  if ((keep_younger_than === undefined) === (before === undefined))
    throw new ApiError('invalid_request', 'Say how long builds are kept: keep_younger_than, such as "720h".');
  if (before !== undefined) {
    if (before <= now) return before;
    throw new ApiError('invalid_request', 'before is in the future. Give a time that is over.');
  }
  const keep = parseDuration(keep_younger_than ?? '');
  if (keep !== undefined) return Math.max(0, now - keep);
  throw new ApiError(
    'invalid_request',
    `keep_younger_than is not a time span: ${JSON.stringify(keep_younger_than)}. Use numbers with s, m, h, d or w, such as 720h or 30d.`,
  );
}
