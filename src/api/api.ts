import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { Span } from '@opentelemetry/api';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import type { Principal, Role } from '../account/accounts.ts';
import type { RepositoryName } from '../model/repository-name.ts';

/** The HTTP application: every resource file adds its routes to one of these. */
export type Api = FastifyInstance<
  Server,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

/**
 * Who may call a route; every route must say it.
 *
 * | access           | who                                                                         |
 * |------------------|-----------------------------------------------------------------------------|
 * | public           | anybody                                                                     |
 * | signed-url       | whoever holds a signed URL; the route checks it                             |
 * | webhook          | whoever proves to send for the trigger in the path; the trigger checks it    |
 * | user             | any user who is signed in                                                   |
 * | account          | any user or robot                                                           |
 * | user-admin       | a user, with a password or a token of scope `user:admin`                    |
 * | namespace-member | who is in a team of the namespace in the path; a token needs `org:admin`    |
 * | namespace-admin  | who administers it; a token needs `org:admin`                     |
 * | superuser        | a superuser, with a password or a token of scope `super:user`               |
 * | repository-read  | whoever may read the repository in the path; everybody if it is public      |
 * | repository-write | whoever may write it                                                        |
 * | repository-admin | whoever administers it                                                      |
 * | build-log        | whoever may write it, or read it where readers may see logs                 |
 */
export type Access =
  | 'public'
  | 'signed-url'
  | 'webhook'
  | 'user'
  | 'account'
  | 'user-admin'
  | 'namespace-member'
  | 'namespace-admin'
  | 'superuser'
  | 'repository-read'
  | 'repository-write'
  | 'repository-admin'
  | 'build-log';

declare module 'fastify' {
  interface FastifySchema {
    operationId?: string;
    summary?: string;
    description?: string;
    tags?: readonly string[];
    /** Media types of an answer that is not JSON. */
    produces?: readonly string[];
    /** Media type of a body that is not JSON. */
    consumes?: string;
  }
  interface FastifyContextConfig {
    access?: Access;
    /** The route checks the field `csrf_token` of its form by itself; all others need the header. */
    csrf?: 'form';
  }
  interface FastifyRequest {
    /** Set before any route runs. */
    principal: Principal;
    /** Of the session that the request came with, when that is how it says who asks. */
    sessionSecret: string | undefined;
    /** Set for routes with a repository in the path, once access was granted. */
    repositoryAccess: { readonly name: RepositoryName; readonly role: Role } | undefined;
    /** What was granted was granted only because a superuser asked. */
    byPrivilege: boolean;
    /** The request's span in its trace. */
    span: Span | undefined;
    /** What is about to be sent, before it becomes text; for the audit log. */
    auditAnswer: unknown;
    /** The request has its record in the audit log. */
    audited: boolean;
  }
}
