import { randomBytes } from 'node:crypto';
import Type, { type Static } from 'typebox';
import type { User } from '../account/users.ts';
import { requireUser } from './access.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import type { ApiDependencies } from './dependencies.ts';
import { listPage, listQuery, nextPage, storePage } from './list-page.ts';

/** Bytes of a password that is made for a new user. */
const passwordBytes = 15;

const tags = ['superuser'];
const params = Type.Object({ username: Type.String({ maxLength: 255 }) });
const userSchema = Type.Object(
  {
    kind: Type.Literal('user'),
    name: Type.String(),
    username: Type.String(),
    email: Type.Union([Type.String(), Type.Null()]),
    verified: Type.Literal(true),
    super_user: Type.Boolean(),
    enabled: Type.Boolean(),
    created: Type.String({ format: 'date-time' }),
  },
  { title: 'UserAccount' },
);

/** Users as superusers see and change them. */
export function addSuperuserUserRoutes(api: Api, { accounts }: Pick<ApiDependencies, 'accounts'>): void {
  const { users } = accounts;
  const base = '/api/v1/superuser/users';
  const one = `${base}/:username`;

  api.get(
    base,
    {
      config: { access: 'superuser' },
      schema: {
        operationId: 'listAllUsers',
        summary: 'All users, by name',
        tags,
        querystring: Type.Object({
          ...listQuery.properties,
          disabled: Type.Boolean({ default: true, description: 'Those that are disabled too' }),
        }),
        response: { 200: Type.Object({ users: Type.Array(userSchema), next_page: nextPage }) },
      },
    },
    async (request) => {
      const { limit, disabled } = request.query;
      const found = await users.users({ ...storePage(request.query), enabledOnly: !disabled });
      const { items, next } = listPage(found, limit, ({ username }) => username);
      return { users: items.map(view), ...next };
    },
  );

  api.post(
    base,
    {
      config: { access: 'superuser' },
      schema: {
        operationId: 'createInstallUser',
        summary: 'Make a user, with a namespace of the same name',
        tags,
        body: Type.Object(
          {
            username: Type.String({ maxLength: 255 }),
            email: Type.Optional(Type.String({ maxLength: 320 })),
            password: Type.Optional(
              Type.String({ maxLength: 1024, description: 'One is made when it is left out' }),
            ),
          },
          { additionalProperties: false },
        ),
        response: {
          201: Type.Object(
            {
              username: Type.String(),
              email: Type.Union([Type.String(), Type.Null()]),
              password: Type.String({ description: 'Shown only here' }),
            },
            { title: 'NewUser' },
          ),
        },
      },
    },
    async (request, reply) => {
      const { username, email, password = randomBytes(passwordBytes).toString('base64url') } = request.body;
      await accounts.createUser({ username, password, ...(email === undefined ? {} : { email }) });
      reply.code(201);
      return { username, email: email ?? null, password };
    },
  );

  api.get(
    one,
    {
      config: { access: 'superuser' },
      schema: {
        operationId: 'getInstallUser',
        summary: 'One user',
        tags,
        params,
        response: { 200: userSchema },
      },
    },
    async (request) => {
      const found = await users.user(request.params.username);
      if (found === undefined) throw noUser(request.params.username);
      return view(found);
    },
  );

  api.put(
    one,
    {
      config: { access: 'superuser' },
      schema: {
        operationId: 'changeInstallUser',
        summary: 'Disable or enable a user, set a password or an e-mail address',
        description:
          'What is left out stays. A disabled user, with all tokens and robots, is refused from the next request on. A new password ends all sessions.',
        tags,
        params,
        body: Type.Object(
          {
            enabled: Type.Optional(Type.Boolean()),
            password: Type.Optional(Type.String({ maxLength: 1024 })),
            revoke_tokens: Type.Optional(
              Type.Boolean({ description: 'With a password: ends all tokens too' }),
            ),
            email: Type.Optional(Type.String({ maxLength: 320 })),
          },
          { additionalProperties: false, minProperties: 1, title: 'UserChange' },
        ),
        response: { 200: userSchema },
      },
    },
    async (request) => {
      const { username } = request.params;
      const { enabled, password, revoke_tokens: revokeTokens = false, email } = request.body;
      if (enabled === false) refuseSelf(requireUser(request.principal).username, username, 'disable');
      if (password === undefined && revokeTokens)
        throw new ApiError('invalid_request', '"revoke_tokens" goes with "password".');
      if (password !== undefined && !(await users.setPassword(username, password, { revokeTokens })))
        throw noUser(username);
      const changed = await users.change(username, {
        ...(enabled === undefined ? {} : { enabled }),
        ...(email === undefined ? {} : { email }),
      });
      if (changed === undefined) throw noUser(username);
      return view(changed);
    },
  );

  api.delete(
    one,
    {
      config: { access: 'superuser' },
      schema: {
        operationId: 'deleteInstallUser',
        summary: 'Delete a user, with tokens, robots and permissions',
        description:
          'Refused while there are repositories in the user’s namespace, and while an organization has no other administrator.',
        tags,
        params,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { username } = request.params;
      refuseSelf(requireUser(request.principal).username, username, 'delete');
      if (!(await users.delete(username))) throw noUser(username);
      return await reply.status(204).send(null);
    },
  );
}

/** So that there always is a superuser left. */
function refuseSelf(self: string, username: string, verb: string): void {
  if (self === username)
    throw new ApiError('conflict', `You cannot ${verb} yourself. Let another superuser do it.`);
}

function noUser(username: string): ApiError {
  return new ApiError('not_found', `There is no user ${username}.`);
}

function view(user: User): Static<typeof userSchema> {
  return {
    kind: 'user',
    name: user.username,
    username: user.username,
    email: user.email ?? null,
    verified: true,
    super_user: user.superuser,
    enabled: user.enabled,
    created: new Date(user.createdAt).toISOString(),
  };
}
