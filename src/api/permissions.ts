import Type from 'typebox';
import { repositoryOf } from './access.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import { requireRepository } from './builds.ts';
import type { ApiDependencies } from './dependencies.ts';
import { repositoryParams } from './repository-path.ts';
import { textEnum } from './text-enum.ts';

const tags = ['repositories'];
const role = textEnum(['read', 'write', 'admin']);
const permission = Type.Object({ name: Type.String(), role }, { title: 'Permission' });
const params = Type.Object({ ...repositoryParams.properties, username: Type.String() });

/** Who may do what with a repository, besides what its namespace gives. */
export function addPermissionRoutes(api: Api, { accounts }: Pick<ApiDependencies, 'accounts'>): void {
  const base = '/api/v1/repository/:namespace/:repository/permissions/user';

  api.get(
    base,
    {
      config: { access: 'repository-admin' },
      schema: {
        operationId: 'listRepoUserPermissions',
        summary: 'Users with a role on a repository',
        tags,
        params: repositoryParams,
        response: { 200: Type.Object({ permissions: Type.Record(Type.String(), permission) }) },
      },
    },
    async (request) => {
      const { name } = repositoryOf(request);
      await requireRepository(accounts, name);
      const given = await accounts.permissions(name);
      return {
        permissions: Object.fromEntries(
          given.map((each) => [each.username, { name: each.username, role: each.role }]),
        ),
      };
    },
  );

  api.put(
    `${base}/:username`,
    {
      config: { access: 'repository-admin' },
      schema: {
        operationId: 'changeUserPermissions',
        summary: 'Give a user a role on a repository',
        tags,
        params,
        body: Type.Object({ role }, { title: 'UserPermission' }),
        response: { 200: permission },
      },
    },
    async (request) => {
      const { name } = repositoryOf(request);
      await requireRepository(accounts, name);
      const { username } = request.params;
      if (!(await accounts.setPermission(name, username, request.body.role)))
        throw new ApiError('invalid_request', `There is no user "${username.slice(0, 255)}".`);
      return { name: username, role: request.body.role };
    },
  );

  api.delete(
    `${base}/:username`,
    {
      config: { access: 'repository-admin' },
      schema: {
        operationId: 'deleteUserPermissions',
        summary: 'Take the role of a user on a repository away',
        tags,
        params,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { name } = repositoryOf(request);
      if (!(await accounts.setPermission(name, request.params.username, undefined)))
        throw new ApiError('not_found', 'That user has no role of their own on the repository.');
      return await reply.status(204).send(null);
    },
  );
}
