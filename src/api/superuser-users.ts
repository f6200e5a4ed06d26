import { randomBytes } from 'node:crypto';
import Type from 'typebox';
import type { Api } from './api.ts';
import type { ApiDependencies } from './dependencies.ts';

/** Bytes of a password that is made for a new user. */
const passwordBytes = 15;

/** Making users; the rest of their life is theirs. */
export function addSuperuserUserRoutes(api: Api, { accounts }: Pick<ApiDependencies, 'accounts'>): void {
  api.post(
    '/api/v1/superuser/users',
    {
      config: { access: 'superuser' },
      schema: {
        operationId: 'createInstallUser',
        summary: 'Make a user, with a namespace of the same name',
        tags: ['superuser'],
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
}
