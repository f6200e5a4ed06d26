import Type, { type Static } from 'typebox';
import type { PersonalToken } from '../account/accounts.ts';
import { tokenScopes } from '../account/personal-token.ts';
import { requireUser } from './access.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import type { ApiDependencies } from './dependencies.ts';
import { expirySchema, expiryWithin, madeWithSchema, parseExpiry, timeOrNull } from './expiry.ts';
import { textEnum } from './text-enum.ts';

const tags = ['user'];
const scopes = Type.Array(textEnum(tokenScopes), {
  minItems: 1,
  maxItems: tokenScopes.length,
});
const nullableTime = Type.Union([Type.String({ format: 'date-time' }), Type.Null()]);
const tokenSchema = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    scopes: Type.Array(Type.String()),
    created: Type.String({ format: 'date-time' }),
    expires: nullableTime,
    last_used: nullableTime,
    made_with: madeWithSchema,
  },
  { title: 'Token' },
);
const stillValid = Type.Object(
  {
    still_valid: Type.Object({
      robots: Type.Array(Type.String({ description: 'namespace+short' })),
      tokens: Type.Array(Type.Object({ id: Type.String(), name: Type.String() })),
    }),
  },
  { title: 'StillValid' },
);

/** A person's own tokens. The text of one is shown once, when it is made. */
export function addUserTokenRoutes(
  api: Api,
  { accounts, clock }: Pick<ApiDependencies, 'accounts' | 'clock'>,
): void {
  api.get(
    '/api/v1/user/tokens',
    {
      config: { access: 'user-admin' },
      schema: {
        operationId: 'listUserTokens',
        summary: 'Your tokens',
        tags,
        response: { 200: Type.Object({ tokens: Type.Array(tokenSchema) }) },
      },
    },
    async (request) => {
      const { username } = requireUser(request.principal);
      return { tokens: (await accounts.tokens(username)).map(viewToken) };
    },
  );

  api.post(
    '/api/v1/user/tokens',
    {
      config: { access: 'user-admin' },
      schema: {
        operationId: 'createUserToken',
        summary: 'Make a token',
        description:
          'Sign in with your password (Basic), or with a token: the new one can have no scope which that one lacks, and ends with it at the latest.',
        tags,
        body: Type.Object(
          {
            name: Type.String({ minLength: 1, maxLength: 255 }),
            scopes,
            expires: expirySchema,
          },
          { title: 'NewToken' },
        ),
        response: {
          201: Type.Intersect([
            tokenSchema,
            Type.Object({ token: Type.String({ description: 'Keep it; it is not shown again' }) }),
          ]),
        },
      },
    },
    async (request, reply) => {
      const user = requireUser(request.principal);
      const { name, scopes: wanted, expires } = request.body;
      const own = user.scopes;
      const missing = own === 'all' ? [] : wanted.filter((scope) => !own.includes(scope));
      if (missing.length > 0)
        throw new ApiError(
          'insufficient_scope',
          `Your token lacks ${missing.join(', ')}, so it cannot pass that on. Sign in with your password.`,
        );
      const expiresAt = expiryWithin(parseExpiry(expires), user.tokenExpiresAt);
      const { token, view } = await accounts.createToken(user.username, {
        name,
        scopes: wanted,
        ...(expiresAt === undefined ? {} : { expiresAt }),
        ...(user.tokenId === undefined ? {} : { madeWith: user.tokenId }),
      });
      return await reply.status(201).send({ ...viewToken(view), token });
    },
  );

  api.delete(
    '/api/v1/user/tokens/:token',
    {
      config: { access: 'user-admin' },
      schema: {
        operationId: 'revokeUserToken',
        summary: 'Revoke a token, by its id',
        description:
          '204; 200 with what was made with the token and still is good, for that is not ended by it: robots with the token they had from it, and tokens.',
        tags,
        params: Type.Object({ token: Type.String() }),
        response: { 200: stillValid, 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { username } = requireUser(request.principal);
      const { token } = request.params;
      const made = async () => {
        const tokens = await accounts.tokens(username);
        const isGood = ({ expiresAt }: PersonalToken) => expiresAt === undefined || expiresAt > clock.now();
        return {
          robots: (await accounts.robots.madeWith(token)).map(({ name }) => name),
          tokens: tokens
            .filter((each) => each.madeWith === token && isGood(each))
            .map(({ id, name }) => ({ id, name })),
        };
      };
      if (!(await accounts.revokeToken(username, token)))
        throw new ApiError(
          'not_found',
          'You have no such token. Give its whole id, as slipway token list shows it.',
        );
      // Once it is revoked, it makes nothing more.
      const left = await made();
      if (left.robots.length + left.tokens.length > 0)
        return await reply.status(200).send({ still_valid: left });
      return await reply.status(204).send(null);
    },
  );
}

function viewToken(token: PersonalToken): Static<typeof tokenSchema> {
  return {
    id: token.id,
    name: token.name,
    scopes: [...token.scopes],
    created: new Date(token.createdAt).toISOString(),
    expires: timeOrNull(token.expiresAt),
    last_used: timeOrNull(token.lastUsedAt),
    made_with: token.madeWith ?? null,
  };
}
