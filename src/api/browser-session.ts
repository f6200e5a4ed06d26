import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Accounts } from '../account/accounts.ts';
import { looksLikeToken } from '../account/personal-token.ts';
import { csrfToken } from '../account/session-secret.ts';
import type { Sessions } from '../account/sessions.ts';
import type { SignIn } from '../account/sign-in.ts';
import { unreachable } from '../base/unreachable.ts';
import { requireUser } from './access.ts';
import { ApiError } from './api-error.ts';
import { type AuditTrail, originOf } from './audit-trail.ts';
import type { BrowserCookies } from './browser-cookies.ts';

/** Signing in and out of browsers, whether by a page or by the interface. */
export interface BrowserSessions {
  readonly accounts: Accounts;
  readonly signIn: SignIn;
  readonly sessions: Sessions;
  readonly cookies: BrowserCookies;
  readonly trail: AuditTrail;
  /** Whether passwords are good for signing in with a browser. */
  readonly directLogin: boolean;
}

/** The name of the user whose password it is. Throws ApiError, and records what was refused. */
export async function checkPassword(
  request: FastifyRequest,
  credentials: { readonly username: string; readonly password: string },
  { signIn, trail, directLogin }: BrowserSessions,
): Promise<string> {
  if (!directLogin)
    throw new ApiError('insufficient_scope', 'Passwords are not taken here. Sign in by a login service.');
  const refused = async (reason: 'wrong-credentials' | 'locked') => {
    // One record says it.
    request.audited = true;
    await trail.signInRefused(credentials.username, reason, 'browser', originOf(request));
  };
  const verdict = await signIn.checkPassword(credentials, request.ip);
  switch (verdict.kind) {
    case 'accepted':
      return requireUser(verdict.principal).username;
    case 'refused':
      await refused('wrong-credentials');
      // Tokens are for programs, and give what they were made for; a session gives everything.
      throw new ApiError(
        'invalid_token',
        looksLikeToken(credentials.password)
          ? 'That is a token. Sign in with your password.'
          : 'The user name or password is wrong.',
      );
    case 'locked':
      await refused('locked');
      throw new ApiError('rate_limited', 'Too many failed sign-ins. Wait before the next one.', {
        retryAfter: verdict.retryAfter / 1000,
      });
    case 'busy':
      throw new ApiError(
        'unavailable',
        'Too many people sign in at this moment. Try again in a few seconds.',
        { retryAfter: 2 },
      );
    default:
      return unreachable(verdict);
  }
}

/** A new session in this browser, in place of any that was there. From here on the request is its user's. */
export async function beginSession(
  request: FastifyRequest,
  reply: FastifyReply,
  { username, way }: { readonly username: string; readonly way: string },
  { sessions, cookies }: Pick<BrowserSessions, 'sessions' | 'cookies'>,
): Promise<{ readonly csrf: string }> {
  const agent = request.headers['user-agent'];
  const { secret, session } = await sessions.open({
    username,
    way,
    address: request.ip,
    ...(agent === undefined ? {} : { userAgent: agent }),
  });
  await endSession(request, { sessions });
  const principal = await sessions.use(secret);
  if (principal === undefined) throw new ApiError('invalid_token', 'The account was switched off just now.');
  request.principal = principal;
  request.sessionSecret = secret;
  cookies.set(reply, 'session', secret, session.expiresAt - session.createdAt);
  return { csrf: csrfToken(secret) };
}

/** Ends the session the request came with. False: it came with none. */
export async function endSession(
  { principal }: FastifyRequest,
  { sessions }: Pick<BrowserSessions, 'sessions'>,
): Promise<boolean> {
  if (principal.kind !== 'user' || principal.sessionId === undefined) return false;
  return await sessions.end(principal.username, principal.sessionId);
}
