import Type from 'typebox';
import { csrfToken } from '../account/session-secret.ts';
import type { Session } from '../account/sessions.ts';
import { requireUser } from './access.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import { type BrowserSessions, beginSession, checkPassword, endSession } from './browser-session.ts';
import type { ApiOptions } from './dependencies.ts';
import { requireSameSite } from './same-site.ts';

const tags = ['session'];
const time = Type.String({ format: 'date-time' });
const text = (value: string | undefined) => value ?? null;

/** Signing in with a browser, and the browsers somebody is signed in with. */
export function addSessionRoutes(api: Api, parts: BrowserSessions & { readonly options: ApiOptions }): void {
  const { sessions, cookies, options } = parts;

  api.post(
    '/api/v1/signin',
    {
      config: { access: 'public' },
      schema: {
        operationId: 'signinUser',
        summary: 'Sign in with a browser',
        description:
          'Begins a session and sets its cookie. What the session changes needs the header X-CSRF-Token with `csrf_token`.',
        tags,
        body: Type.Object(
          { username: Type.String({ maxLength: 255 }), password: Type.String({ maxLength: 1024 }) },
          { title: 'SignIn' },
        ),
        response: {
          200: Type.Object({ username: Type.String(), csrf_token: Type.String() }, { title: 'SignedIn' }),
        },
      },
    },
    async (request, reply) => {
      requireSameSite(request, options);
      const username = await checkPassword(request, request.body, parts);
      const { csrf } = await beginSession(request, reply, { username, way: 'password' }, parts);
      return { username, csrf_token: csrf };
    },
  );

  api.post(
    '/api/v1/signout',
    {
      config: { access: 'user' },
      schema: {
        operationId: 'signoutUser',
        summary: 'End this session',
        tags,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      if (!(await endSession(request, parts)))
        throw new ApiError('invalid_request', 'The request has no session: a token ends when it is revoked.');
      cookies.clear(reply, 'session');
      return await reply.status(204).send(null);
    },
  );

  api.get(
    '/api/v1/user/csrf',
    {
      config: { access: 'user' },
      schema: {
        operationId: 'getCsrfToken',
        summary: 'What this session has to send as X-CSRF-Token',
        tags,
        response: { 200: Type.Object({ csrf_token: Type.String() }) },
      },
    },
    async ({ sessionSecret }) => {
      if (sessionSecret === undefined)
        throw new ApiError('invalid_request', 'The request has no session, so it needs no such token.');
      return { csrf_token: csrfToken(sessionSecret) };
    },
  );

  const sessionSchema = Type.Object(
    {
      id: Type.String(),
      current: Type.Boolean({ description: 'Whether the request came with it' }),
      way: Type.String({ description: '`password`, or the login service' }),
      created: time,
      last_used: Type.String({ format: 'date-time', description: 'Exact to some minutes' }),
      expires: time,
      address: Type.Union([Type.String(), Type.Null()]),
      user_agent: Type.Union([Type.String(), Type.Null()]),
    },
    { title: 'Session' },
  );
  const view = (session: Session, current: string | undefined) => ({
    id: session.id,
    current: session.id === current,
    way: session.way,
    created: new Date(session.createdAt).toISOString(),
    last_used: new Date(session.lastUsedAt).toISOString(),
    expires: new Date(session.expiresAt).toISOString(),
    address: text(session.address),
    user_agent: text(session.userAgent),
  });

  api.get(
    '/api/v1/user/sessions',
    {
      config: { access: 'user-admin' },
      schema: {
        operationId: 'listUserSessions',
        summary: 'The browsers you are signed in with, newest first',
        tags,
        response: { 200: Type.Object({ sessions: Type.Array(sessionSchema) }) },
      },
    },
    async (request) => {
      const { username, sessionId } = requireUser(request.principal);
      const all = await sessions.list(username);
      return { sessions: all.map((session) => view(session, sessionId)) };
    },
  );

  api.delete(
    '/api/v1/user/sessions/:session',
    {
      config: { access: 'user-admin' },
      schema: {
        operationId: 'deleteUserSession',
        summary: 'End one of your sessions',
        tags,
        params: Type.Object({ session: Type.String() }),
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { username } = requireUser(request.principal);
      if (!(await sessions.end(username, request.params.session)))
        throw new ApiError('not_found', 'You have no such session.');
      return await reply.status(204).send(null);
    },
  );

  api.delete(
    '/api/v1/user/sessions',
    {
      config: { access: 'user-admin' },
      schema: {
        operationId: 'deleteUserSessions',
        summary: 'End all your sessions but this one',
        tags,
        response: { 200: Type.Object({ ended: Type.Integer() }) },
      },
    },
    async (request) => {
      const { username, sessionId } = requireUser(request.principal);
      return { ended: await sessions.endAll(username, sessionId) };
    },
  );
}
