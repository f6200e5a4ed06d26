import Type from 'typebox';
import { parseRepositoryName } from '../model/repository-name.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import { logPageQuery, logPageSchema } from './build-logs.ts';
import { BuildTriggers } from './build-triggers.ts';
import { buildViewSchema, viewBuilds } from './build-view.ts';
import { buildOf } from './builds.ts';
import type { ApiDependencies } from './dependencies.ts';
import { buildParams } from './repository-path.ts';

export function addSuperuserRoutes(
  api: Api,
  { queue, triggers, logs }: Pick<ApiDependencies, 'queue' | 'triggers' | 'logs'>,
): void {
  api.get(
    '/api/v1/superuser/queue',
    {
      config: { access: 'superuser' },
      schema: {
        operationId: 'getQueue',
        summary: 'What waits and what runs',
        tags: ['superuser'],
        querystring: Type.Object({ limit: Type.Integer({ minimum: 1, maximum: 1000, default: 100 }) }),
        response: {
          200: Type.Object(
            {
              queued: Type.Integer(),
              running: Type.Integer(),
              ownerless: Type.Integer({ description: 'Of the running ones, those that no manager minds' }),
              builds: Type.Array(buildViewSchema, { description: 'Not finished; newest first' }),
            },
            { title: 'Queue' },
          ),
        },
      },
    },
    async (request) => {
      const [counts, builds] = await Promise.all([
        queue.counts(),
        queue.builds({ limit: request.query.limit, unfinishedOnly: true }),
      ]);
      return { ...counts, builds: await viewBuilds(builds, () => 'admin', new BuildTriggers(triggers)) };
    },
  );

  api.get(
    '/api/v1/superuser/:namespace/:repository/build/:build/logs',
    {
      config: { access: 'superuser' },
      schema: {
        operationId: 'getRepoBuildLogsSuperUser',
        summary: 'Entries of the log of any build',
        tags: ['superuser'],
        params: buildParams,
        querystring: logPageQuery,
        response: { 200: logPageSchema },
      },
    },
    async (request) => {
      const { namespace, repository, build: id } = request.params;
      const name = parseRepositoryName(`${namespace}/${repository}`);
      if (name === undefined) throw new ApiError('not_found', 'That is not the name of a repository.');
      const build = await buildOf(queue, name, id);
      const page = await logs.read(build.id, request.query.start ?? 0, request.query.limit);
      return { start: page.start, total: page.total, logs: [...page.entries] };
    },
  );
}
