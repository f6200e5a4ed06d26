import type { FastifyRequest } from 'fastify';
import type { Principal, Role, TokenScope } from '../account/accounts.ts';
import { isAtLeast } from '../account/role.ts';
import { unreachable } from '../base/unreachable.ts';
import { parseRepositoryName, type RepositoryName } from '../model/repository-name.ts';
import { parseBasic } from '../registry/token-endpoint.ts';
import type { Access, Api } from './api.ts';
import { ApiError } from './api-error.ts';
import { type AuditTrail, originOf } from './audit-trail.ts';
import type { BrowserCookies } from './browser-cookies.ts';
import type { ApiDependencies } from './dependencies.ts';
import { namespaceRoleOf } from './namespace-role.ts';
import { changesSomething, requireCsrfToken, requireSameSite } from './same-site.ts';

type Needs = Pick<ApiDependencies, 'accounts' | 'signIn' | 'sessions' | 'options'> & {
  readonly trail: AuditTrail;
  readonly cookies: BrowserCookies;
};

const anonymous: Principal = { kind: 'anonymous' };

/**
 * Finds out who asks and whether they may, before the body is read. A route says what it needs in its `config`;
 * one that says nothing stops the start. Who may not read a repository learns the same whether it exists or not.
 */
export function enforceAccess(api: Api, needs: Needs): void {
  api.decorateRequest('principal');
  api.decorateRequest('sessionSecret');
  api.decorateRequest('repositoryAccess');
  api.decorateRequest('byPrivilege', false);
  api.addHook('onRoute', (route) => {
    if (route.config?.access === undefined)
      throw new TypeError(`route ${String(route.method)} ${route.url} does not say who may call it`);
  });
  api.addHook('onRequest', async (request) => {
    const { access } = request.routeOptions.config;
    request.principal = anonymous;
    // Nothing is registered at the address: the answer is 404 or 405 whoever asks.
    if (access === undefined || access === 'signed-url' || access === 'webhook') return;
    request.principal = await authenticate(request, needs);
    protectSession(request, needs);
    await authorize(request, access, needs);
  });
}

/** Whose browser it is. A session that has ended is none: pages and public routes are there for everybody. */
async function bySession(request: FastifyRequest, { sessions, cookies }: Needs): Promise<Principal> {
  const secret = cookies.read(request, 'session');
  const principal = secret === undefined ? undefined : await sessions.use(secret);
  if (principal === undefined) return anonymous;
  request.sessionSecret = secret;
  return principal;
}

/** A browser sends its cookie with whatever any page makes it send; so what changes something needs more than that. */
function protectSession(request: FastifyRequest, { options }: Needs): void {
  const { sessionSecret, routeOptions, headers } = request;
  if (sessionSecret === undefined || !changesSomething(request) || routeOptions.config.csrf === 'form')
    return;
  requireSameSite(request, options);
  requireCsrfToken(headers['x-csrf-token'], sessionSecret, 'session');
}

async function authenticate(request: FastifyRequest, needs: Needs): Promise<Principal> {
  const { accounts, signIn, trail } = needs;
  const { authorization } = request.headers;
  if (authorization === undefined) return await bySession(request, needs);
  const refused = async (username: string | undefined, reason: 'wrong-credentials' | 'locked') => {
    // One record says it; that the request itself came to nothing is no news.
    request.audited = true;
    await trail.signInRefused(username, reason, 'api', originOf(request));
  };
  const bearer = /^bearer +(\S+) *$/i.exec(authorization)?.[1];
  if (bearer !== undefined) {
    const principal = await accounts.verifyToken(bearer);
    if (principal === undefined) {
      await refused(undefined, 'wrong-credentials');
      throw new ApiError('invalid_token', 'The token is wrong, revoked or expired. Sign in again.');
    }
    return principal;
  }
  const credentials = parseBasic(authorization);
  if (credentials === undefined)
    throw new ApiError('invalid_token', 'The Authorization header is neither a Bearer token nor Basic.');
  // A browser keeps a password it was asked for, and sends it with whatever any page makes it send, as it does a cookie.
  if (changesSomething(request)) requireSameSite(request, needs.options);
  const verdict = await signIn.check(credentials, request.ip);
  switch (verdict.kind) {
    case 'accepted':
      await trail.signedIn(verdict.principal, 'api', originOf(request));
      return verdict.principal;
    case 'refused':
      await refused(credentials.username, 'wrong-credentials');
      throw new ApiError('invalid_token', 'The user name or password is wrong.');
    case 'locked':
      await refused(credentials.username, 'locked');
      throw new ApiError('rate_limited', 'Too many failed sign-ins. Wait before the next one.', {
        retryAfter: verdict.retryAfter / 1000,
      });
    case 'busy':
      throw new ApiError(
        'unavailable',
        'Too many people sign in at this moment. Try again in a few seconds.',
        {
          retryAfter: 2,
        },
      );
    default:
      return unreachable(verdict);
  }
}

async function authorize(request: FastifyRequest, access: Access, needs: Needs): Promise<void> {
  const { principal } = request;
  switch (access) {
    case 'public':
    case 'signed-url':
    case 'webhook':
      return;
    case 'user':
      requireUser(principal);
      return;
    case 'account':
      requireAccount(principal);
      return;
    case 'user-admin':
      requireScope(requireUser(principal), 'user:admin');
      return;
    case 'namespace-member':
      return await requireNamespaceRole(request, 'member', needs);
    case 'namespace-admin':
      return await requireNamespaceRole(request, 'admin', needs);
    case 'superuser':
      if (!requireUser(principal).superuser)
        throw new ApiError('insufficient_scope', 'Only superusers may do this.');
      return;
    case 'repository-read':
      return await requireRole(request, 'read', needs);
    case 'repository-write':
      return await requireRole(request, 'write', needs);
    case 'repository-admin':
      return await requireRole(request, 'admin', needs);
    case 'build-log':
      return await requireRole(request, needs.options.readerBuildLogs ? 'read' : 'write', needs);
    default:
      return unreachable(access);
  }
}

export type UserPrincipal = Extract<Principal, { kind: 'user' }>;

/** The user who asks; anybody else is told to sign in. */
export function requireUser(principal: Principal): UserPrincipal {
  if (principal.kind === 'user') return principal;
  if (principal.kind === 'robot')
    throw new ApiError('insufficient_scope', 'Robot accounts may not do this; sign in as a user.');
  throw new ApiError(
    'invalid_token',
    'Sign in first: send a token (Authorization: Bearer) or a user name and password.',
  );
}

export type AccountPrincipal = Exclude<Principal, { kind: 'anonymous' }>;

/** The user or robot who asks; nobody else may. */
export function requireAccount(principal: Principal): AccountPrincipal {
  return principal.kind === 'robot' ? principal : requireUser(principal);
}

export function accountName(principal: AccountPrincipal): string {
  return principal.kind === 'user' ? principal.username : principal.name;
}

/** Refuses a token without the scope. */
export function requireScope({ scopes, superuser }: UserPrincipal, scope: TokenScope): void {
  if (scopes === 'all' || scopes.includes(scope)) return;
  // A superuser's token may administer everything there is.
  if (scope === 'org:admin' && superuser) return;
  throw new ApiError('insufficient_scope', `The token lacks the scope ${scope}.`);
}

async function requireNamespaceRole(
  request: FastifyRequest,
  wanted: 'member' | 'admin',
  { accounts }: Needs,
): Promise<void> {
  const user = requireUser(request.principal);
  const { namespace } = request.params as { namespace: string };
  const role = await namespaceRoleOf(user, namespace, accounts);
  if (role !== undefined && (wanted === 'member' || role === 'admin')) return;
  // The same whether there is such a namespace or not.
  throw new ApiError(
    'insufficient_scope',
    wanted === 'admin'
      ? `Only administrators of the namespace ${namespace} may do this; a token needs the scope org:admin.`
      : `Only members of ${namespace} may see this; a token needs the scope org:admin.`,
  );
}

async function requireRole(request: FastifyRequest, wanted: Role, { accounts }: Needs): Promise<void> {
  const { namespace, repository, build } = request.params as {
    namespace: string;
    repository: string;
    build?: string;
  };
  const name = parseRepositoryName(`${namespace}/${repository}`);
  if (name === undefined)
    throw new ApiError(
      'not_found',
      'That is not the name of a repository. Names are lower case: namespace/name.',
    );
  const role = await accounts.roleOn(request.principal, name);
  if (role === undefined || !isAtLeast(role, wanted)) {
    if (request.principal.kind === 'anonymous') requireUser(request.principal);
    throw new ApiError(
      'insufficient_scope',
      `This needs ${wanted} permission on ${name.namespace}/${name.name}, which you do not have.`,
    );
  }
  const { principal } = request;
  // What is left of a repository that is gone belongs to nobody, whoever has the namespace by now.
  const mayBeLeft = build !== undefined && !(principal.kind === 'user' && principal.superuser);
  if (mayBeLeft && (await accounts.repository(name)) === undefined)
    throw new ApiError('not_found', `There is no repository ${name.namespace}/${name.name}.`);
  request.repositoryAccess = { name, role };
  if (principal.kind === 'user' && principal.superuser)
    request.byPrivilege = !isAtLeast(await accounts.roleOn({ ...principal, superuser: false }, name), wanted);
}

/** The repository of a route whose access names one. */
export function repositoryOf(request: FastifyRequest): { name: RepositoryName; role: Role } {
  if (request.repositoryAccess === undefined)
    throw new TypeError('the route has no repository in its access');
  return request.repositoryAccess;
}
