import type { FastifyRequest } from 'fastify';
import Type from 'typebox';
import type { AuditEvent } from '../audit/audit-log.ts';
import type { ExternalLogins, LoginOutcome } from '../login/external-logins.ts';
import { LoginError, type LoginErrorCode } from '../login/login-error.ts';
import { loginTime } from '../login/login-memory.ts';
import type { Api } from './api.ts';
import { originOf } from './audit-trail.ts';
import { type BrowserSessions, beginSession } from './browser-session.ts';
import { sendPage, shown } from './page-answer.ts';
import { failedPage } from './pages/home-page.ts';

const tags = ['pages'];
const produces = ['text/html'];
const service = Type.Object({ service: Type.String({ maxLength: 100 }) });

/** Refused: somebody is kept out. Others came to nothing for reasons that are nobody's wish. */
const refusals: ReadonlySet<LoginErrorCode> = new Set<LoginErrorCode>([
  'denied',
  'wrong-state',
  'used',
  'refused',
  'not-member',
  'no-account',
  'disabled',
  'taken',
  'signed-out',
]);

/** The way to a login service and back. */
export function addLoginReturn(
  pages: Api,
  parts: BrowserSessions & { readonly logins: ExternalLogins; readonly closing: AbortSignal },
): void {
  const { logins, cookies, trail, closing } = parts;

  /** Records what came to nothing, and shows it. */
  const failed = (request: FastifyRequest, id: string, thrown: unknown) => {
    if (!(thrown instanceof LoginError)) return undefined;
    const { code, detail } = thrown;
    request.log.warn(
      { login: id, code, ...(detail === undefined ? {} : { detail }) },
      'a login came to nothing',
    );
    // What anybody can type into an address is not repeated.
    const way = logins.providers.some((each) => each.id === id) ? id : 'unknown';
    return trail.record({
      ...originOf(request),
      ...actorOf(request),
      action: 'sign-in',
      result: refusals.has(code) ? 'refused' : 'failed',
      reason: code,
      detail: { door: 'browser', way },
    });
  };

  pages.get(
    '/oauth2/:service',
    {
      config: { access: 'public' },
      schema: {
        operationId: 'beginExternalLogin',
        summary: 'Sign in by a login service',
        tags,
        params: service,
        querystring: Type.Object({ next: Type.Optional(Type.String({ maxLength: 500 })) }),
        produces,
      },
    },
    async (request, reply) => {
      const { next } = request.query;
      const id = request.params.service;
      try {
        const about = next === undefined ? {} : { next };
        const { url, cookie } = await logins.begin(id, about, closing);
        cookies.set(reply, 'login', cookie, loginTime);
        return await reply.redirect(url, 303);
      } catch (thrown) {
        await failed(request, id, thrown);
        const { message, status } = shown(thrown, request, reply);
        return await sendPage(reply, failedPage('Not signed in', message), status);
      }
    },
  );

  pages.get(
    '/oauth2/:service/callback',
    {
      config: { access: 'public' },
      schema: {
        operationId: 'finishExternalLogin',
        summary: 'Where a login service sends the browser back to',
        tags,
        params: service,
        produces,
      },
    },
    async (request, reply) => {
      const id = request.params.service;
      const cookie = cookies.read(request, 'login');
      cookies.clear(reply, 'login');
      const { principal, sessionSecret } = request;
      const signedIn =
        principal.kind === 'user' && sessionSecret !== undefined ? principal.username : undefined;
      try {
        const answer = new URL(request.raw.url ?? '/', 'http://slipway.invalid').searchParams;
        const outcome = await logins.finish(id, { answer, cookie, signedIn }, closing);
        if (outcome.kind === 'signed-in')
          await beginSession(request, reply, { username: outcome.username, way: id }, parts);
        for (const event of eventsOf(outcome, id))
          await trail.record({ ...originOf(request), ...actorOf(request), ...event });
        return await reply.redirect(outcome.next, 303);
      } catch (thrown) {
        await failed(request, id, thrown);
        const { message, status } = shown(thrown, request, reply);
        return await sendPage(reply, failedPage('Not signed in', message), status);
      }
    },
  );
}

function actorOf({ principal, sessionSecret }: FastifyRequest): Pick<AuditEvent, 'actor'> {
  const known = principal.kind === 'user' && sessionSecret !== undefined;
  return { actor: known ? { kind: 'user', name: principal.username } : { kind: 'anonymous' } };
}

function eventsOf(
  outcome: LoginOutcome,
  id: string,
): readonly Pick<AuditEvent, 'action' | 'target' | 'result' | 'detail'>[] {
  const { username } = outcome;
  const target = { kind: 'user', name: username, namespace: username } as const;
  if (outcome.kind === 'linked')
    return [{ action: 'login.connect', target, result: 'done', detail: { way: id } }];
  const signIn = { action: 'sign-in', target, result: 'done', detail: { door: 'browser', way: id } } as const;
  const made = { action: 'user.create', target, result: 'done', detail: { way: id } } as const;
  return outcome.created ? [made, signIn] : [signIn];
}
