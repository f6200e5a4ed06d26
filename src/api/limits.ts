import Type from 'typebox';
import { isNamespace } from '../model/repository-name.ts';
import {
  largestConcurrency,
  largestWeight,
  type NamespaceLimits,
  smallestWeight,
} from '../queue/queue-limits.ts';
import { repositoryOf } from './access.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import { requireRepository } from './builds.ts';
import type { ApiDependencies } from './dependencies.ts';
import { repositoryParams } from './repository-path.ts';

const weight = Type.Number({
  minimum: smallestWeight,
  maximum: largestWeight,
  description: 'Its share of the turns, relative to other namespaces; 1 unless set',
});
const maxRunning = Type.Union([Type.Integer({ minimum: 1, maximum: 1_000_000 }), Type.Null()], {
  description: 'Builds that may run at once, over all its repositories; null: no limit of its own',
});
const concurrency = Type.Integer({
  minimum: 1,
  maximum: largestConcurrency,
  description: 'Builds of the repository that may run at once; 1 unless set',
});

const namespaceLimits = Type.Object({ weight, max_running: maxRunning }, { title: 'NamespaceLimits' });
const repositoryLimits = Type.Object({ concurrency }, { title: 'RepositoryLimits' });
const namespaceParams = Type.Object({ namespace: Type.String({ maxLength: 255 }) });

/**
 * What the queue goes by between namespaces and within a repository. How much a namespace gets of what all share is the
 * superusers' to say; how it divides that over its builds is its own administrators'.
 */
export function addLimitRoutes(
  api: Api,
  { accounts, queue }: Pick<ApiDependencies, 'accounts' | 'queue'>,
): void {
  const ofNamespace = '/api/v1/superuser/namespaces/:namespace/limits';
  const ofRepository = '/api/v1/repository/:namespace/:repository/limits';
  const viewOf = (limits: NamespaceLimits | undefined, namespace: string) => {
    if (limits === undefined)
      throw new ApiError(
        'not_found',
        `There is no namespace ${namespace.slice(0, 255)}. It comes with its user (POST /api/v1/superuser/users) or its first repository.`,
      );
    return { weight: limits.weight, max_running: limits.maxRunning ?? null };
  };

  api.get(
    ofNamespace,
    {
      config: { access: 'superuser' },
      schema: {
        operationId: 'getNamespaceLimits',
        summary: 'How much a namespace gets of what all share',
        tags: ['superuser'],
        params: namespaceParams,
        response: { 200: namespaceLimits },
      },
    },
    async ({ params: { namespace } }) => {
      const limits = isNamespace(namespace) ? await queue.namespaceLimits(namespace) : undefined;
      return viewOf(limits, namespace);
    },
  );

  api.put(
    ofNamespace,
    {
      config: { access: 'superuser' },
      schema: {
        operationId: 'changeNamespaceLimits',
        summary: 'Set how much a namespace gets of what all share',
        description:
          'What is left out stays. Builds that waited for a limit start at once when it is raised; a lower one takes nothing from builds that run, or have their turn already.',
        tags: ['superuser'],
        params: namespaceParams,
        body: Type.Object(
          { weight: Type.Optional(weight), max_running: Type.Optional(maxRunning) },
          { additionalProperties: false, minProperties: 1, title: 'NewNamespaceLimits' },
        ),
        response: { 200: namespaceLimits },
      },
    },
    async ({ params: { namespace }, body }) => {
      const change = {
        ...(body.weight === undefined ? {} : { weight: body.weight }),
        ...(body.max_running === undefined ? {} : { maxRunning: body.max_running ?? undefined }),
      };
      const changed = isNamespace(namespace)
        ? await queue.changeNamespaceLimits(namespace, change)
        : undefined;
      return viewOf(changed, namespace);
    },
  );

  api.get(
    ofRepository,
    {
      config: { access: 'repository-read' },
      schema: {
        operationId: 'getRepoLimits',
        summary: 'How many builds of a repository may run at once',
        tags: ['repositories'],
        params: repositoryParams,
        response: { 200: repositoryLimits },
      },
    },
    async (request) => {
      const { name } = repositoryOf(request);
      const found = await queue.repositoryConcurrency(name);
      if (found !== undefined) return { concurrency: found };
      await requireRepository(accounts, name);
      throw new ApiError('conflict', 'The repository was created at this moment. Ask again.');
    },
  );

  api.put(
    ofRepository,
    {
      config: { access: 'repository-admin' },
      schema: {
        operationId: 'changeRepoLimits',
        summary: 'Set how many builds of a repository may run at once',
        description:
          'More than one may publish the same tag out of order: the build that ends last has it. Builds that waited start at once when it is raised, as far as the namespace may run them; builds that run go on when it is lowered.',
        tags: ['repositories'],
        params: repositoryParams,
        body: Type.Object({ concurrency }, { additionalProperties: false, title: 'NewRepositoryLimits' }),
        response: { 200: repositoryLimits },
      },
    },
    async (request) => {
      const { name } = repositoryOf(request);
      await requireRepository(accounts, name);
      if (!(await queue.changeRepositoryConcurrency(name, request.body.concurrency)))
        throw new ApiError('conflict', 'The repository was deleted at this moment. Create it again first.');
      return { concurrency: request.body.concurrency };
    },
  );
}
