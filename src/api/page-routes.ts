import { readFile } from 'node:fs/promises';
import type { FastifyReply, FastifyRequest } from 'fastify';
import Type from 'typebox';
import { csrfToken, looksLikeSessionSecret, newSessionSecret } from '../account/session-secret.ts';
import type { ExternalLogins } from '../login/external-logins.ts';
import { localPath } from '../login/local-path.ts';
import { loginTime } from '../login/login-memory.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import { type BrowserSessions, beginSession, checkPassword, endSession } from './browser-session.ts';
import type { ApiOptions } from './dependencies.ts';
import { readFormBodies } from './form-body.ts';
import { addLoginReturn } from './login-return.ts';
import { sendPage, shown } from './page-answer.ts';
import { failedPage, homePage, leavePage, welcomePage } from './pages/home-page.ts';
import { signInPage } from './pages/sign-in-page.ts';
import { requireCsrfToken, requireSameSite } from './same-site.ts';

export interface PageParts extends BrowserSessions {
  readonly logins: ExternalLogins | undefined;
  readonly options: ApiOptions;
  readonly closing: AbortSignal;
}

const tags = ['pages'];
const produces = ['text/html'];
const consumes = 'application/x-www-form-urlencoded';
const nextQuery = Type.Object({ next: Type.Optional(Type.String({ maxLength: 500 })) });
const service = Type.Object({ service: Type.String({ maxLength: 100 }) });
const csrfField = Type.Optional(Type.String({ maxLength: 200 }));

/** The pages of a browser: who is signed in, signing in and out. They need no script. */
export function addPageRoutes(api: Api, parts: PageParts): void {
  api.register(async (pages: Api) => {
    readFormBodies(pages);
    addPages(pages, parts);
    if (parts.logins !== undefined) addLoginReturn(pages, { ...parts, logins: parts.logins });
  });
}

function addPages(pages: Api, parts: PageParts): void {
  const { logins, sessions, cookies, options, closing, directLogin } = parts;
  const services = logins?.providers ?? [];

  /** The form's own secret; a browser that has one keeps it, for there may be another window. */
  const formSecret = (request: FastifyRequest, reply: FastifyReply): string => {
    const known = cookies.read(request, 'form');
    if (known !== undefined && looksLikeSessionSecret(known)) return known;
    const secret = newSessionSecret();
    cookies.set(reply, 'form', secret);
    return secret;
  };

  const showSignIn = async (
    request: FastifyRequest,
    reply: FastifyReply,
    about: { next: string; message?: string; username?: string },
    status = 200,
  ) => {
    const csrf = csrfToken(formSecret(request, reply), 'form');
    return await sendPage(reply, signInPage({ services, password: directLogin, csrf, ...about }), status);
  };

  pages.get(
    '/',
    {
      config: { access: 'public' },
      schema: { operationId: 'getHomePage', summary: 'Who is signed in, as a page', tags, produces },
    },
    async ({ principal, sessionSecret }, reply) => {
      if (principal.kind !== 'user' || sessionSecret === undefined)
        return await sendPage(reply, welcomePage());
      const { username, superuser } = principal;
      const connected = (await logins?.identities.list(username)) ?? [];
      const csrf = csrfToken(sessionSecret);
      return await sendPage(reply, homePage({ username, superuser, csrf, services, connected }));
    },
  );

  pages.get(
    '/signin/pages.css',
    {
      config: { access: 'public' },
      schema: {
        operationId: 'getPagesStyle',
        summary: 'How the pages look',
        tags,
        produces: ['text/css'],
      },
    },
    async (_request, reply) =>
      await reply
        .type('text/css; charset=utf-8')
        .header('cache-control', 'no-cache')
        .send(await readFile(new URL('./pages/pages.css', import.meta.url))),
  );

  pages.get(
    '/signin',
    {
      config: { access: 'public' },
      schema: {
        operationId: 'getSigninPage',
        summary: 'A form to sign in',
        tags,
        querystring: nextQuery,
        produces,
      },
    },
    async (request, reply) => {
      const next = localPath(request.query.next);
      if (request.sessionSecret !== undefined) return await reply.redirect(next, 303);
      return await showSignIn(request, reply, { next });
    },
  );

  pages.post(
    '/signin',
    {
      config: { access: 'public', csrf: 'form' },
      schema: {
        operationId: 'submitSigninForm',
        summary: 'Sign in by the form',
        tags,
        consumes,
        body: Type.Object({
          username: Type.Optional(Type.String({ maxLength: 255 })),
          password: Type.Optional(Type.String({ maxLength: 1024 })),
          next: Type.Optional(Type.String({ maxLength: 500 })),
          csrf_token: csrfField,
        }),
        produces,
      },
    },
    async (request, reply) => {
      const { username = '', password = '', next: wanted, csrf_token: given } = request.body;
      const next = localPath(wanted);
      try {
        requireSameSite(request, options);
        requireCsrfToken(given, cookies.read(request, 'form') ?? newSessionSecret(), 'form');
        const user = await checkPassword(request, { username, password }, parts);
        await beginSession(request, reply, { username: user, way: 'password' }, parts);
        return await reply.redirect(next, 303);
      } catch (thrown) {
        const { message, status } = shown(thrown, request, reply);
        return await showSignIn(request, reply, { next, message, username }, status);
      }
    },
  );

  pages.post(
    '/signout',
    {
      config: { access: 'public', csrf: 'form' },
      schema: {
        operationId: 'submitSignoutForm',
        summary: 'Sign out by the form',
        tags,
        consumes,
        body: Type.Object({ csrf_token: csrfField }),
        produces,
      },
    },
    async (request, reply) => {
      try {
        requireOwnForm(request, request.body.csrf_token, options);
        await endSession(request, { sessions });
        cookies.clear(reply, 'session');
        return await reply.redirect('/', 303);
      } catch (thrown) {
        const { message, status } = shown(thrown, request, reply);
        return await sendPage(reply, failedPage('Not signed out', message), status);
      }
    },
  );

  if (logins === undefined) return;

  pages.post(
    '/oauth2/:service/link',
    {
      config: { access: 'public', csrf: 'form' },
      schema: {
        operationId: 'submitConnectForm',
        summary: 'Connect a login service by the form',
        tags,
        consumes,
        params: service,
        body: Type.Object({ csrf_token: csrfField }),
        produces,
      },
    },
    async (request, reply) => {
      try {
        const linkTo = requireOwnForm(request, request.body.csrf_token, options);
        const id = request.params.service;
        const { url, cookie } = await logins.begin(id, { linkTo }, closing);
        cookies.set(reply, 'login', cookie, loginTime);
        const name = services.find((each) => each.id === id)?.name ?? id;
        return await sendPage(reply, leavePage(name, url));
      } catch (thrown) {
        const { message, status } = shown(thrown, request, reply);
        return await sendPage(reply, failedPage('Not connected', message), status);
      }
    },
  );
}

/** The form of a page of this session's. Says whose. */
function requireOwnForm(
  request: FastifyRequest,
  given: string | undefined,
  options: Pick<ApiOptions, 'publicOrigin'>,
): string {
  const { principal, sessionSecret } = request;
  requireSameSite(request, options);
  if (principal.kind !== 'user' || sessionSecret === undefined)
    throw new ApiError('csrf', 'You are not signed in any more.');
  requireCsrfToken(given, sessionSecret, 'session');
  return principal.username;
}
