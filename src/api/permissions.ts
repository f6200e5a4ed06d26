import Type from 'typebox';
import type { Permission } from '../account/accounts.ts';
import { isRobotName } from '../account/robot-name.ts';
import { repositoryOf } from './access.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import { requireRepository } from './builds.ts';
import type { ApiDependencies } from './dependencies.ts';
import { repositoryParams } from './repository-path.ts';
import { textEnum } from './text-enum.ts';

const tags = ['repositories'];
const role = textEnum(['read', 'write', 'admin']);
const permission = Type.Object(
  { name: Type.String(), role, is_robot: Type.Boolean() },
  { title: 'Permission' },
);
const params = Type.Object({
  ...repositoryParams.properties,
  username: Type.String({ maxLength: 511, description: 'A user, or a robot: namespace+short' }),
});

/**
 * Who may do what with a repository, besides what its namespace gives. Reading a role and taking it away say nothing of
 * who has none, be it a user or nobody. Giving one has to say that a name is nobody's, or a mistyped one would be taken for
 * a colleague: so whoever administers a repository can find out which names there are. Each try is in the audit log.
 */
export function addPermissionRoutes(api: Api, { accounts }: Pick<ApiDependencies, 'accounts'>): void {
  const base = '/api/v1/repository/:namespace/:repository/permissions/user';

  api.get(
    base,
    {
      config: { access: 'repository-admin' },
      schema: {
        operationId: 'listRepoUserPermissions',
        summary: 'Users and robots with a role on a repository',
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
        permissions: Object.fromEntries(given.map((each) => [each.username, view(each)])),
      };
    },
  );

  api.get(
    `${base}/:username`,
    {
      config: { access: 'repository-admin' },
      schema: {
        operationId: 'getUserPermissions',
        summary: 'The role of its own that a user or a robot has on a repository',
        tags,
        params,
        response: { 200: permission },
      },
    },
    async (request) => {
      const { name } = repositoryOf(request);
      await requireRepository(accounts, name);
      const found = (await accounts.permissions(name)).find(
        ({ username }) => username === request.params.username,
      );
      if (found === undefined)
        throw new ApiError('not_found', 'There is no role of their own on the repository.');
      return view(found);
    },
  );

  api.put(
    `${base}/:username`,
    {
      config: { access: 'repository-admin' },
      schema: {
        operationId: 'changeUserPermissions',
        summary: 'Give a user or a robot a role on a repository',
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
        throw new ApiError(
          'invalid_request',
          `There is no ${isRobotName(username) ? 'robot' : 'user'} "${username.slice(0, 511)}".`,
        );
      return view({ username, isRobot: isRobotName(username), role: request.body.role });
    },
  );

  api.delete(
    `${base}/:username`,
    {
      config: { access: 'repository-admin' },
      schema: {
        operationId: 'deleteUserPermissions',
        summary: 'Take the role of a user or a robot on a repository away',
        tags,
        params,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { name } = repositoryOf(request);
      if (!(await accounts.setPermission(name, request.params.username, undefined)))
        throw new ApiError('not_found', 'There is no role of their own on the repository.');
      return await reply.status(204).send(null);
    },
  );
}

function view({ username, isRobot, role: given }: Permission) {
  return { name: username, role: given, is_robot: isRobot };
}
