import Type from 'typebox';
import { requireUser } from './access.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import type { ApiDependencies } from './dependencies.ts';

/** Changing one's own password, which takes the one before: a token or a session alone is not enough. */
export function addUserPasswordRoute(
  api: Api,
  { accounts, signIn }: Pick<ApiDependencies, 'accounts' | 'signIn'>,
): void {
  api.put(
    '/api/v1/user',
    {
      config: { access: 'user-admin' },
      schema: {
        operationId: 'changeUserDetails',
        summary: 'Change your password',
        description: 'Ends all your sessions, and your tokens if you say so. Your robots stay.',
        tags: ['user'],
        body: Type.Object(
          {
            current_password: Type.String({ maxLength: 1024 }),
            password: Type.String({ maxLength: 1024 }),
            revoke_tokens: Type.Optional(Type.Boolean()),
          },
          { additionalProperties: false, title: 'PasswordChange' },
        ),
        response: { 200: Type.Object({ username: Type.String() }) },
      },
    },
    async (request) => {
      const { username } = requireUser(request.principal);
      const { current_password: current, password, revoke_tokens: revokeTokens = false } = request.body;
      const verdict = await signIn.checkPassword({ username, password: current }, request.ip);
      switch (verdict.kind) {
        case 'accepted':
          break;
        case 'locked':
          throw new ApiError('rate_limited', 'Too many failed sign-ins. Wait before the next one.', {
            retryAfter: verdict.retryAfter / 1000,
          });
        case 'busy':
          throw new ApiError('unavailable', 'Too many people sign in at this moment. Try again.', {
            retryAfter: 2,
          });
        case 'refused':
          throw new ApiError('insufficient_scope', 'The current password is wrong.');
      }
      if (!(await accounts.users.setPassword(username, password, { revokeTokens })))
        throw new ApiError('not_found', 'Your account was deleted at this moment.');
      return { username };
    },
  );
}
