import Type, { type Static } from 'typebox';
import { isRepositoryPath } from '../model/image-reference.ts';
import { pathIn, type Target } from '../registries/external-registry.ts';
import { repositoryOf } from './access.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import { requireRepository } from './builds.ts';
import type { ApiDependencies } from './dependencies.ts';
import { namespaceRoleOf } from './namespace-role.ts';
import { repositoryParams } from './repository-path.ts';

const tags = ['repositories'];

export const targetSchema = Type.Object(
  {
    registry: Type.String({ description: 'One of the namespace' }),
    host: Type.String(),
    path: Type.String({ description: "The whole path there, the registry's prefix included" }),
    image: Type.String({ description: 'What to give to docker pull' }),
  },
  { title: 'RepositoryTarget' },
);

export function viewTarget({ registry, path }: Target): Static<typeof targetSchema> {
  const { name, host } = registry;
  return { registry: name, host, path, image: `${host}/${path}` };
}

/** For tests of credentials, which end by themselves in time. */
const never = new AbortController().signal;

/** Where the images of a repository are published, when that is not the embedded registry. */
export function addRepositoryTargetRoutes(
  api: Api,
  { accounts, registries, probe }: Pick<ApiDependencies, 'accounts' | 'registries' | 'probe'>,
): void {
  const path = '/api/v1/repository/:namespace/:repository/target';

  api.get(
    path,
    {
      config: { access: 'repository-read' },
      schema: {
        operationId: 'getRepoTarget',
        summary: 'The registry that a repository publishes to',
        description: '404 when that is the embedded registry.',
        tags,
        params: repositoryParams,
        response: { 200: targetSchema },
      },
    },
    async (request) => {
      const { name } = repositoryOf(request);
      await requireRepository(accounts, name);
      const target = await registries.target(name);
      if (target === undefined)
        throw new ApiError('not_found', 'The repository publishes to the embedded registry.');
      return viewTarget(target);
    },
  );

  api.put(
    path,
    {
      config: { access: 'repository-admin' },
      schema: {
        operationId: 'changeRepoTarget',
        summary: 'Publish a repository to a registry of its namespace',
        description:
          'From the next build that ends on. A push to the path is tried out first: begun, and cancelled.',
        tags,
        params: repositoryParams,
        body: Type.Object(
          {
            registry: Type.String({ maxLength: 63 }),
            path: Type.Optional(
              Type.String({
                minLength: 1,
                maxLength: 255,
                description:
                  "Behind the registry's prefix; the name of the repository unless given. Another one is for who administers the namespace",
              }),
            ),
          },
          { additionalProperties: false, title: 'NewRepositoryTarget' },
        ),
        response: { 200: targetSchema },
      },
    },
    async (request) => {
      const { name } = repositoryOf(request);
      await requireRepository(accounts, name);
      const { body } = request;
      const credentials = await registries.open({ namespace: name.namespace, name: body.registry });
      if (credentials === undefined)
        throw new ApiError(
          'invalid_request',
          `The namespace ${name.namespace} has no registry "${body.registry}".`,
        );
      const { registry } = credentials;
      // The credentials are the namespace's: by them nobody reaches more of it than their own repository.
      const isOwn = body.path === undefined || body.path === name.name;
      if (!isOwn && (await namespaceRoleOf(request.principal, name.namespace, accounts)) !== 'admin')
        throw new ApiError(
          'insufficient_scope',
          `Only who administers ${name.namespace} may choose another path than the name of the repository. Leave "path" out, or ask one of them.`,
        );
      const whole = pathIn(registry, body.path ?? name.name);
      if (!isRepositoryPath(whole))
        throw new ApiError(
          'invalid_request',
          'That is not a path in a registry. Use lower-case letters and digits, parted by . _ - or /.',
        );
      if (registry.push) {
        const problem = await probe.check(credentials, never, whole);
        if (problem !== undefined) throw new ApiError('invalid_request', problem.message);
      }
      await registries.setTarget(name, { registry: registry.name, path: whole });
      return viewTarget({ registry, path: whole });
    },
  );

  api.delete(
    path,
    {
      config: { access: 'repository-admin' },
      schema: {
        operationId: 'deleteRepoTarget',
        summary: 'Publish a repository to the embedded registry again',
        tags,
        params: repositoryParams,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { name } = repositoryOf(request);
      await requireRepository(accounts, name);
      await registries.setTarget(name, undefined);
      return await reply.status(204).send(null);
    },
  );
}
