import Type from 'typebox';
import { requireScope, requireUser } from './access.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import type { ApiDependencies } from './dependencies.ts';
import { listPage, listQuery, nextPage, storePage } from './list-page.ts';
import { namespaceRoleOf } from './namespace-role.ts';
import { teamSchema, viewTeam } from './team-view.ts';

const tags = ['namespaces'];
export const namespaceParams = Type.Object({ namespace: Type.String({ maxLength: 255 }) });

const summarySchema = Type.Object(
  { name: Type.String(), email: Type.Union([Type.String(), Type.Null()]), created: Type.String() },
  { title: 'OrganizationSummary' },
);
const organizationSchema = Type.Object(
  {
    name: Type.String(),
    email: Type.Union([Type.String(), Type.Null()]),
    created: Type.String({ format: 'date-time' }),
    is_admin: Type.Boolean(),
    is_member: Type.Boolean(),
    teams: Type.Record(Type.String(), teamSchema),
    ordered_teams: Type.Array(Type.String()),
  },
  { title: 'Organization' },
);

/** Namespaces that are not a person's, and who is in them. */
export function addOrganizationRoutes(api: Api, { accounts }: Pick<ApiDependencies, 'accounts'>): void {
  const { organizations, teams } = accounts;
  const base = '/api/v1/organization';

  api.get(
    base,
    {
      config: { access: 'user' },
      schema: {
        operationId: 'listOrganizations',
        summary: 'The organizations you are in, by name; for superusers all',
        tags,
        querystring: listQuery,
        response: { 200: Type.Object({ organizations: Type.Array(summarySchema), next_page: nextPage }) },
      },
    },
    async (request) => {
      const { username, superuser } = requireUser(request.principal);
      const found = await organizations.organizations({
        ...storePage(request.query),
        ...(superuser ? {} : { member: username }),
      });
      const { items, next } = listPage(found, request.query.limit, ({ name }) => name);
      return {
        organizations: items.map(({ name, email, createdAt }) => ({
          name,
          email: email ?? null,
          created: new Date(createdAt).toISOString(),
        })),
        ...next,
      };
    },
  );

  api.post(
    base,
    {
      config: { access: 'user' },
      schema: {
        operationId: 'createOrganization',
        summary: 'Make an organization; you are its first administrator',
        description: 'A token needs the scope org:admin. Names of users and organizations are one space.',
        tags,
        body: Type.Object(
          {
            name: Type.String({ maxLength: 255 }),
            email: Type.Optional(Type.Union([Type.String({ maxLength: 320 }), Type.Null()])),
            recaptcha_response: Type.Optional(Type.Unknown({ description: 'Without effect' })),
          },
          { title: 'NewOrganization' },
        ),
        response: { 201: summarySchema },
      },
    },
    async (request, reply) => {
      const user = requireUser(request.principal);
      requireScope(user, 'org:admin');
      const { name, email } = request.body;
      const made = await organizations.create({
        name,
        owner: user.username,
        ...(typeof email === 'string' ? { email } : {}),
      });
      return await reply
        .status(201)
        .header('location', `${base}/${name}`)
        .send({ name, email: made.email ?? null, created: new Date(made.createdAt).toISOString() });
    },
  );

  api.get(
    `${base}/:namespace`,
    {
      config: { access: 'namespace-member' },
      schema: {
        operationId: 'getOrganization',
        summary: 'One organization with its teams; for its members',
        tags,
        params: namespaceParams,
        response: { 200: organizationSchema },
      },
    },
    async (request) => {
      const { namespace } = request.params;
      const found = await organizations.organization(namespace);
      if (found === undefined) throw noOrganization(namespace);
      const role = await namespaceRoleOf(request.principal, namespace, accounts);
      const all = await teams.teams(namespace);
      return {
        name: found.name,
        email: found.email ?? null,
        created: new Date(found.createdAt).toISOString(),
        is_admin: role === 'admin',
        is_member: role !== undefined,
        teams: Object.fromEntries(all.map((team) => [team.name, viewTeam(team)])),
        ordered_teams: all.map(({ name }) => name),
      };
    },
  );

  api.delete(
    `${base}/:namespace`,
    {
      config: { access: 'namespace-admin' },
      schema: {
        operationId: 'deleteAdminedOrganization',
        summary: 'Delete an organization with its teams and robots',
        description: 'Refused while it has repositories.',
        tags,
        params: namespaceParams,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { namespace } = request.params;
      if (!(await organizations.delete(namespace))) throw noOrganization(namespace);
      return await reply.status(204).send(null);
    },
  );

  api.get(
    `${base}/:namespace/members`,
    {
      config: { access: 'namespace-admin' },
      schema: {
        operationId: 'getOrganizationMembers',
        summary: 'The people in the teams of an organization',
        tags,
        params: namespaceParams,
        querystring: listQuery,
        response: {
          200: Type.Object({
            members: Type.Array(
              Type.Object(
                {
                  name: Type.String(),
                  kind: Type.Literal('user'),
                  teams: Type.Array(Type.Object({ name: Type.String() })),
                },
                { title: 'OrganizationMember' },
              ),
            ),
            next_page: nextPage,
          }),
        },
      },
    },
    async (request) => {
      const { namespace } = request.params;
      if ((await organizations.organization(namespace)) === undefined) throw noOrganization(namespace);
      const found = await organizations.members(namespace, storePage(request.query));
      const { items, next } = listPage(found, request.query.limit, ({ username }) => username);
      return {
        members: items.map(({ username, teams: names }) => ({
          name: username,
          kind: 'user' as const,
          teams: names.map((name) => ({ name })),
        })),
        ...next,
      };
    },
  );

  api.delete(
    `${base}/:namespace/members/:username`,
    {
      config: { access: 'namespace-admin' },
      schema: {
        operationId: 'removeOrganizationMember',
        summary: 'Take somebody out of all teams of an organization',
        description: 'Roles that repositories give them directly stay.',
        tags,
        params: Type.Object({ ...namespaceParams.properties, username: Type.String({ maxLength: 255 }) }),
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { namespace, username } = request.params;
      if (!(await organizations.removeMember(namespace, username)))
        throw new ApiError('not_found', `${username} is in no team of ${namespace}.`);
      return await reply.status(204).send(null);
    },
  );
}

export function noOrganization(namespace: string): ApiError {
  return new ApiError('not_found', `There is no organization ${namespace}.`);
}
