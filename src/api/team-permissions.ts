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
const permission = Type.Object({ name: Type.String(), role }, { title: 'TeamPermission' });
const params = Type.Object({ ...repositoryParams.properties, team: Type.String({ maxLength: 255 }) });

/** What the teams of the namespace may do with a repository. */
export function addTeamPermissionRoutes(api: Api, { accounts }: Pick<ApiDependencies, 'accounts'>): void {
  const { teams } = accounts;
  const base = '/api/v1/repository/:namespace/:repository/permissions/team';

  api.get(
    base,
    {
      config: { access: 'repository-admin' },
      schema: {
        operationId: 'listRepoTeamPermissions',
        summary: 'Teams with a role on a repository',
        tags,
        params: repositoryParams,
        response: { 200: Type.Object({ permissions: Type.Record(Type.String(), permission) }) },
      },
    },
    async (request) => {
      const { name } = repositoryOf(request);
      await requireRepository(accounts, name);
      const given = await teams.permissions(name);
      return {
        permissions: Object.fromEntries(
          given.map((each) => [each.team, { name: each.team, role: each.role }]),
        ),
      };
    },
  );

  api.get(
    `${base}/:team`,
    {
      config: { access: 'repository-admin' },
      schema: {
        operationId: 'getTeamPermissions',
        summary: 'The role of a team on a repository',
        tags,
        params,
        response: { 200: permission },
      },
    },
    async (request) => {
      const { name } = repositoryOf(request);
      await requireRepository(accounts, name);
      const found = (await teams.permissions(name)).find(({ team }) => team === request.params.team);
      if (found === undefined) throw new ApiError('not_found', 'That team has no role on the repository.');
      return { name: found.team, role: found.role };
    },
  );

  api.put(
    `${base}/:team`,
    {
      config: { access: 'repository-admin' },
      schema: {
        operationId: 'changeTeamPermissions',
        summary: 'Give a team of the namespace a role on a repository',
        tags,
        params,
        body: Type.Object({ role }, { title: 'NewTeamPermission' }),
        response: { 200: permission },
      },
    },
    async (request) => {
      const { name } = repositoryOf(request);
      await requireRepository(accounts, name);
      const { team } = request.params;
      if (!(await teams.setPermission(name, team, request.body.role)))
        throw new ApiError('invalid_request', `There is no team "${team}" in ${name.namespace}.`);
      return { name: team, role: request.body.role };
    },
  );

  api.delete(
    `${base}/:team`,
    {
      config: { access: 'repository-admin' },
      schema: {
        operationId: 'deleteTeamPermissions',
        summary: 'Take the role of a team on a repository away',
        tags,
        params,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { name } = repositoryOf(request);
      if (!(await teams.setPermission(name, request.params.team, undefined)))
        throw new ApiError('not_found', 'That team has no role on the repository.');
      return await reply.status(204).send(null);
    },
  );
}
