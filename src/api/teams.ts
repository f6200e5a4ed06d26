import Type from 'typebox';
import type { Grant } from '../account/robots.ts';
import type { TeamMember } from '../account/teams.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import type { ApiDependencies } from './dependencies.ts';
import { grantSchema, viewGrant } from './grant-view.ts';
import { listPage, listQuery, nextPage, storePage } from './list-page.ts';
import { namespaceRoleOf } from './namespace-role.ts';
import { namespaceParams } from './organizations.ts';
import { teamRole, teamSchema, viewTeam } from './team-view.ts';

const tags = ['namespaces'];
const params = Type.Object({ ...namespaceParams.properties, team: Type.String({ maxLength: 255 }) });
const memberParams = Type.Object({
  ...params.properties,
  member: Type.String({ maxLength: 511, description: 'A user, or a robot of the organization' }),
});
const memberSchema = Type.Object(
  { name: Type.String(), kind: Type.Literal('user'), is_robot: Type.Boolean(), invited: Type.Literal(false) },
  { title: 'TeamMember' },
);

/** Teams of an organization, their members and their repositories. */
export function addTeamRoutes(api: Api, { accounts }: Pick<ApiDependencies, 'accounts'>): void {
  const { teams } = accounts;
  const base = '/api/v1/organization/:namespace/team/:team';
  const requireTeam = async (namespace: string, team: string): Promise<void> => {
    if ((await teams.team(namespace, team)) === undefined) throw noTeam(namespace, team);
  };

  api.put(
    base,
    {
      config: { access: 'namespace-admin' },
      schema: {
        operationId: 'updateOrganizationTeam',
        summary: 'Make a team, or change it',
        description: 'A new team is member unless the role is given; what is left out stays.',
        tags,
        params,
        body: Type.Object(
          {
            role: Type.Optional(teamRole),
            description: Type.Optional(Type.String({ maxLength: 5_000 })),
          },
          { title: 'TeamDescription' },
        ),
        response: { 200: teamSchema },
      },
    },
    async (request) => {
      const { role, description } = request.body;
      const { team, made } = await teams.set(request.params.namespace, request.params.team, {
        ...(role === undefined ? {} : { role }),
        ...(description === undefined ? {} : { description }),
      });
      return { ...viewTeam(team), new_team: made };
    },
  );

  api.delete(
    base,
    {
      config: { access: 'namespace-admin' },
      schema: {
        operationId: 'deleteOrganizationTeam',
        summary: 'Delete a team, with what it gave its members',
        tags,
        params,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { namespace, team } = request.params;
      if (!(await teams.delete(namespace, team))) throw noTeam(namespace, team);
      return await reply.status(204).send(null);
    },
  );

  api.get(
    `${base}/members`,
    {
      config: { access: 'namespace-member' },
      schema: {
        operationId: 'getOrganizationTeamMembers',
        summary: 'The members of a team, people and robots',
        tags,
        params,
        querystring: Type.Object({
          ...listQuery.properties,
          includePending: Type.Boolean({ default: false, description: 'Without effect: nobody is invited' }),
        }),
        response: {
          200: Type.Object({
            name: Type.String(),
            members: Type.Array(memberSchema),
            can_edit: Type.Boolean(),
            next_page: nextPage,
          }),
        },
      },
    },
    async (request) => {
      const { namespace, team } = request.params;
      await requireTeam(namespace, team);
      const found = await teams.members(namespace, team, storePage(request.query));
      const { items, next } = listPage(found, request.query.limit, ({ name }) => name);
      const role = await namespaceRoleOf(request.principal, namespace, accounts);
      return { name: team, members: items.map(viewMember), can_edit: role === 'admin', ...next };
    },
  );

  api.put(
    `${base}/members/:member`,
    {
      config: { access: 'namespace-admin' },
      schema: {
        operationId: 'updateOrganizationTeamMember',
        summary: 'Put a user or a robot into a team',
        tags,
        params: memberParams,
        response: { 200: memberSchema },
      },
    },
    async (request) => {
      const { namespace, team, member } = request.params;
      await requireTeam(namespace, team);
      return viewMember(await teams.addMember(namespace, team, member));
    },
  );

  api.delete(
    `${base}/members/:member`,
    {
      config: { access: 'namespace-admin' },
      schema: {
        operationId: 'deleteOrganizationTeamMember',
        summary: 'Take a user or a robot out of a team',
        tags,
        params: memberParams,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { namespace, team, member } = request.params;
      if (!(await teams.removeMember(namespace, team, member)))
        throw new ApiError('not_found', `${member} is not in the team ${team} of ${namespace}.`);
      return await reply.status(204).send(null);
    },
  );

  api.get(
    `${base}/permissions`,
    {
      config: { access: 'namespace-admin' },
      schema: {
        operationId: 'getOrganizationTeamPermissions',
        summary: 'The repositories that give a team a role',
        tags,
        params,
        querystring: listQuery,
        response: { 200: Type.Object({ permissions: Type.Array(grantSchema), next_page: nextPage }) },
      },
    },
    async (request) => {
      const { namespace, team } = request.params;
      await requireTeam(namespace, team);
      const found = await teams.grants(namespace, team, storePage(request.query));
      const { items, next } = listPage(
        found,
        request.query.limit,
        ({ repository }: Grant) => repository.name,
      );
      return { permissions: items.map(viewGrant), ...next };
    },
  );
}

function noTeam(namespace: string, team: string): ApiError {
  return new ApiError('not_found', `There is no team ${team} in ${namespace}.`);
}

function viewMember({ name, isRobot }: TeamMember) {
  return { name, kind: 'user' as const, is_robot: isRobot, invited: false as const };
}
