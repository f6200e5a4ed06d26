import Type from 'typebox';
import type { ExternalLogins } from '../login/external-logins.ts';
import { loginTime } from '../login/login-memory.ts';
import { requireUser } from './access.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import type { BrowserCookies } from './browser-cookies.ts';

const tags = ['session'];
const time = Type.String({ format: 'date-time' });

/** The login services there are, and those a user is connected with. */
export function addExternalLoginRoutes(
  api: Api,
  {
    logins,
    cookies,
    directLogin,
    closing,
  }: {
    readonly logins: ExternalLogins;
    readonly cookies: BrowserCookies;
    readonly directLogin: boolean;
    readonly closing: AbortSignal;
  },
): void {
  api.get(
    '/api/v1/externallogins',
    {
      config: { access: 'public' },
      schema: {
        operationId: 'listExternalLoginServices',
        summary: 'How one can sign in with a browser',
        description: 'A browser signs in by a service at its `url`; `?next=/path` says where it goes then.',
        tags,
        response: {
          200: Type.Object({
            password: Type.Boolean({ description: 'Whether passwords are taken' }),
            services: Type.Array(Type.Object({ id: Type.String(), name: Type.String(), url: Type.String() })),
          }),
        },
      },
    },
    async () => ({
      password: directLogin,
      services: logins.providers.map(({ id, name }) => ({ id, name, url: `/oauth2/${id}` })),
    }),
  );

  api.get(
    '/api/v1/user/external-logins',
    {
      config: { access: 'user-admin' },
      schema: {
        operationId: 'listExternalLogins',
        summary: 'The login services you are connected with',
        tags,
        response: {
          200: Type.Object({
            logins: Type.Array(
              Type.Object(
                {
                  id: Type.String(),
                  service: Type.String(),
                  issuer: Type.String(),
                  name: Type.String({ description: 'What you are called there' }),
                  created: time,
                  last_used: Type.Union([time, Type.Null()]),
                },
                { title: 'ExternalLogin' },
              ),
            ),
          }),
        },
      },
    },
    async (request) => {
      const { username } = requireUser(request.principal);
      const all = await logins.identities.list(username);
      return {
        logins: all.map((each) => ({
          id: each.id,
          service: each.provider,
          issuer: each.issuer,
          name: each.label,
          created: new Date(each.createdAt).toISOString(),
          last_used: each.lastUsedAt === undefined ? null : new Date(each.lastUsedAt).toISOString(),
        })),
      };
    },
  );

  api.post(
    '/api/v1/user/external-logins/:service',
    {
      config: { access: 'user-admin' },
      schema: {
        operationId: 'connectExternalLogin',
        summary: 'Connect a login service with your account',
        description: 'Lead the browser to `auth_url` within ten minutes. Needs a session.',
        tags,
        params: Type.Object({ service: Type.String({ maxLength: 100 }) }),
        response: { 200: Type.Object({ auth_url: Type.String() }) },
      },
    },
    async (request, reply) => {
      const { username, sessionId } = requireUser(request.principal);
      if (sessionId === undefined)
        throw new ApiError('invalid_request', 'This is for browsers: sign in with one and connect it there.');
      const { url, cookie } = await logins.begin(request.params.service, { linkTo: username }, closing);
      cookies.set(reply, 'login', cookie, loginTime);
      return { auth_url: url };
    },
  );

  api.delete(
    '/api/v1/user/external-logins/:login',
    {
      config: { access: 'user-admin' },
      schema: {
        operationId: 'disconnectExternalLogin',
        summary: 'Disconnect a login service, by the id of the connection',
        tags,
        params: Type.Object({ login: Type.String() }),
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { username } = requireUser(request.principal);
      if (!(await logins.identities.unlink(username, request.params.login)))
        throw new ApiError('not_found', 'You have no such connection.');
      return await reply.status(204).send(null);
    },
  );
}
