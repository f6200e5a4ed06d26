import Type from 'typebox';
import { repositoryOf, requireUser } from './access.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import type { ApiDependencies } from './dependencies.ts';
import { repositoryParams } from './repository-path.ts';

const tags = ['repositories'];
const noticeSchema = Type.Object(
  {
    id: Type.String(),
    kind: Type.Literal('trigger-disabled'),
    message: Type.String(),
    trigger_id: Type.Union([Type.String(), Type.Null()]),
    created: Type.String({ format: 'date-time' }),
  },
  { title: 'Notice' },
);

/** What the administrators of a repository are to know, such as that a trigger was switched off. */
export function addNoticeRoutes(api: Api, { notices }: Pick<ApiDependencies, 'notices'>): void {
  const base = '/api/v1/repository/:namespace/:repository/notices';

  api.get(
    base,
    {
      config: { access: 'repository-admin' },
      schema: {
        operationId: 'listRepoNotices',
        summary: 'What administrators of a repository are to know, newest first',
        tags,
        params: repositoryParams,
        querystring: Type.Object({ limit: Type.Integer({ minimum: 1, maximum: 100, default: 20 }) }),
        response: { 200: Type.Object({ notices: Type.Array(noticeSchema) }) },
      },
    },
    async (request) => {
      const { name } = repositoryOf(request);
      const found = await notices.list(name, request.query.limit);
      return {
        notices: found.map(({ id, kind, message, triggerId, createdAt }) => ({
          id,
          kind,
          message,
          trigger_id: triggerId ?? null,
          created: new Date(createdAt).toISOString(),
        })),
      };
    },
  );

  api.delete(
    `${base}/:notice`,
    {
      config: { access: 'repository-admin' },
      schema: {
        operationId: 'dismissRepoNotice',
        summary: 'Say that a notice is known; it is not shown again',
        tags,
        params: Type.Object({ ...repositoryParams.properties, notice: Type.String({ maxLength: 100 }) }),
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { name } = repositoryOf(request);
      const { username } = requireUser(request.principal);
      if (!(await notices.dismiss(name, request.params.notice, username)))
        throw new ApiError('not_found', 'There is no such notice; somebody may have dismissed it.');
      return await reply.status(204).send(null);
    },
  );
}
