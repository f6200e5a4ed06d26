import type { FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import { formatRobotName, type RobotName } from '../account/robot-name.ts';
import type { Grant, Robot, RobotTokenOptions } from '../account/robots.ts';
import { formatRepositoryName, isNamespace } from '../model/repository-name.ts';
import { requireScope, requireUser, type UserPrincipal } from './access.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import type { ApiDependencies } from './dependencies.ts';
import { expirySchema, expiryWithin, madeWithSchema, parseExpiry, timeOrNull } from './expiry.ts';
import { grantSchema, viewGrant } from './grant-view.ts';
import { listPage, listQuery, nextPage, storePage } from './list-page.ts';

const robotSchema = Type.Object(
  {
    name: Type.String({ description: 'namespace+short' }),
    description: Type.String(),
    created: Type.String({ format: 'date-time' }),
    last_accessed: Type.Union([Type.String({ format: 'date-time' }), Type.Null()]),
    expires: Type.Union([Type.String({ format: 'date-time' }), Type.Null()]),
    made_with: madeWithSchema,
    token: Type.Optional(
      Type.String({ description: 'Only when it was made just now; it is not shown again' }),
    ),
    teams: Type.Optional(Type.Array(Type.Object({ name: Type.String() }))),
    repositories: Type.Optional(Type.Array(Type.String())),
  },
  { title: 'Robot' },
);
const fields = Type.Object({
  description: Type.Optional(Type.String({ maxLength: 255 })),
  expires: expirySchema,
  unstructured_metadata: Type.Optional(Type.Unknown({ description: 'Taken for compatibility, not kept' })),
});
/** A body that may be left out. */
const optional = <T extends Type.TSchema>(schema: T) =>
  Type.Unsafe<Static<T> | null>({ ...schema, type: ['object', 'null'] });

interface Place {
  /** Before `/robots`. */
  readonly base: string;
  readonly access: 'user-admin' | 'namespace-admin';
  readonly params: Record<string, Type.TSchema>;
  readonly tags: readonly string[];
  /** In the names of operations, as in `getUserRobot` and `getOrgRobot`. */
  readonly word: 'User' | 'Org';
  readonly namespaceOf: (request: FastifyRequest) => string;
}

const places: readonly Place[] = [
  {
    base: '/api/v1/user',
    access: 'user-admin',
    params: {},
    tags: ['user'],
    word: 'User',
    namespaceOf: (request) => requireUser(request.principal).username,
  },
  {
    base: '/api/v1/organization/:namespace',
    access: 'namespace-admin',
    params: { namespace: Type.String({ maxLength: 255 }) },
    tags: ['namespaces'],
    word: 'Org',
    namespaceOf: (request) => (request.params as { namespace: string }).namespace,
  },
];

/** Robots of one's own namespace, and of any that one administers. The token of one is shown when it is made. */
export function addRobotRoutes(api: Api, { accounts }: Pick<ApiDependencies, 'accounts'>): void {
  for (const place of places) addRoutesOf(api, place, accounts.robots);
}

function addRoutesOf(
  api: Api,
  { base, access, params, tags, word, namespaceOf }: Place,
  robots: ApiDependencies['accounts']['robots'],
): void {
  const config = { access };
  const list = `${base}/robots`;
  const one = `${base}/robots/:robot`;
  const ofOne = Type.Object({
    ...params,
    robot: Type.String({ maxLength: 255, description: 'The short name' }),
  });
  const nameOf = (request: FastifyRequest): RobotName => ({
    namespace: namespaceOf(request),
    short: (request.params as { robot: string }).robot,
  });
  const existing = async (request: FastifyRequest): Promise<{ name: RobotName; robot: Robot }> => {
    const name = nameOf(request);
    const robot = isNamespace(name.short) ? await robots.robot(name) : undefined;
    if (robot === undefined) throw noRobot(name);
    return { name, robot };
  };

  api.get(
    list,
    {
      config,
      schema: {
        operationId: `get${word}Robots`,
        summary: 'Robots, by name',
        tags,
        params: Type.Object(params),
        querystring: Type.Object({
          ...listQuery.properties,
          permissions: Type.Boolean({ default: false, description: 'Their teams and repositories too' }),
          token: Type.Boolean({ default: true, description: 'Without effect: tokens are never shown again' }),
        }),
        response: { 200: Type.Object({ robots: Type.Array(robotSchema), next_page: nextPage }) },
      },
    },
    async (request) => {
      const { limit, permissions } = request.query;
      const found = await robots.robots(namespaceOf(request), storePage(request.query));
      const { items, next } = listPage(found, limit, ({ name }) => name);
      const reach = permissions ? await robots.reach(items.map(({ name }) => name)) : undefined;
      return {
        robots: items.map((robot) => ({
          ...view(robot),
          ...(reach === undefined
            ? {}
            : {
                teams: (reach.get(robot.name)?.teams ?? []).map((name) => ({ name })),
                repositories: (reach.get(robot.name)?.repositories ?? []).map(formatRepositoryName),
              }),
        })),
        ...next,
      };
    },
  );

  api.get(
    one,
    {
      config,
      schema: {
        operationId: `get${word}Robot`,
        summary: 'One robot',
        tags,
        params: ofOne,
        response: { 200: robotSchema },
      },
    },
    async (request) => view((await existing(request)).robot),
  );

  api.put(
    one,
    {
      config,
      schema: {
        operationId: `create${word}Robot`,
        summary: 'Make a robot; the answer has its token, only this once',
        description:
          'A robot can do nothing until repositories or teams let it. A token needs the scope `repo:admin` as well, and the robot’s ends with it at the latest.',
        tags,
        params: ofOne,
        body: optional(fields),
        response: { 201: robotSchema },
      },
    },
    async (request, reply) => {
      const user = requireRobotPower(request);
      const { description, expires } = request.body ?? {};
      const { robot, token } = await robots.create(nameOf(request), {
        ...(description === undefined ? {} : { description }),
        ...tokenOptions(user, expires),
      });
      return await reply.status(201).send({ ...view(robot), token });
    },
  );

  api.delete(
    one,
    {
      config,
      schema: {
        operationId: `delete${word}Robot`,
        summary: 'Delete a robot, with its permissions; its token is worth nothing at once',
        tags,
        params: ofOne,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { name } = await existing(request);
      if (!(await robots.delete(name))) throw noRobot(name);
      return await reply.status(204).send(null);
    },
  );

  api.post(
    `${one}/regenerate`,
    {
      config,
      schema: {
        operationId: `regenerate${word}RobotToken`,
        summary: 'Make a new token for a robot; the one before is worth nothing at once',
        description:
          'A token needs the scope `repo:admin` as well: that is what the robot may have. The robot’s ends with it at the latest.',
        tags,
        params: ofOne,
        body: optional(Type.Object({ expires: expirySchema })),
        response: { 200: robotSchema },
      },
    },
    async (request) => {
      const user = requireRobotPower(request);
      const { name } = await existing(request);
      const made = await robots.regenerate(name, tokenOptions(user, request.body?.expires));
      if (made === undefined) throw noRobot(name);
      return { ...view(made.robot), token: made.token };
    },
  );

  api.get(
    `${one}/permissions`,
    {
      config,
      schema: {
        operationId: `get${word}RobotPermissions`,
        summary: 'The repositories that give a robot a role of its own',
        tags,
        params: ofOne,
        querystring: listQuery,
        response: { 200: Type.Object({ permissions: Type.Array(grantSchema), next_page: nextPage }) },
      },
    },
    async (request) => {
      const { name } = await existing(request);
      const found = await robots.grants(name, storePage(request.query));
      const { items, next } = listPage(found, request.query.limit, ({ repository }: Grant) =>
        formatRepositoryName(repository),
      );
      return { permissions: items.map(viewGrant), ...next };
    },
  );
}

/** Who holds a robot's token has what repositories gave it, so who gets it with a token of their own must have as much. */
function requireRobotPower({ principal }: FastifyRequest): UserPrincipal {
  const user = requireUser(principal);
  if (!user.superuser) requireScope(user, 'repo:admin');
  return user;
}

/** A robot's token is worth no more time than the token it was made with, and can be found by that. Throws ApiError. */
function tokenOptions(user: UserPrincipal, expires: string | undefined): RobotTokenOptions {
  const expiresAt = expiryWithin(parseExpiry(expires), user.tokenExpiresAt);
  return {
    ...(expiresAt === undefined ? {} : { expiresAt }),
    ...(user.tokenId === undefined ? {} : { madeWith: user.tokenId }),
  };
}

function noRobot(name: RobotName): ApiError {
  return new ApiError('not_found', `There is no robot ${formatRobotName(name).slice(0, 511)}.`);
}

function view(robot: Robot): Static<typeof robotSchema> {
  return {
    name: robot.name,
    description: robot.description,
    created: new Date(robot.createdAt).toISOString(),
    last_accessed: timeOrNull(robot.lastUsedAt),
    expires: timeOrNull(robot.expiresAt),
    made_with: robot.madeWith ?? null,
  };
}
