import Type from 'typebox';
import { requireUser } from './access.ts';
import type { Api } from './api.ts';

export function addUserRoutes(api: Api): void {
  api.get(
    '/api/v1/user',
    {
      config: { access: 'user' },
      schema: {
        operationId: 'getLoggedInUser',
        summary: 'Who you are',
        tags: ['user'],
        response: {
          200: Type.Object(
            {
              username: Type.String(),
              anonymous: Type.Literal(false),
              super_user: Type.Boolean({ description: 'Whether this sign-in may act as a superuser' }),
              scopes: Type.Union([Type.Literal('all'), Type.Array(Type.String())]),
            },
            { title: 'User' },
          ),
        },
      },
    },
    async (request) => {
      const { username, superuser, scopes } = requireUser(request.principal);
      return {
        username,
        anonymous: false as const,
        super_user: superuser,
        scopes: scopes === 'all' ? ('all' as const) : [...scopes],
      };
    },
  );
}
