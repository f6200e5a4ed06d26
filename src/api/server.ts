import { randomUUID } from 'node:crypto';
import { createServer, type RequestListener, type Server } from 'node:http';
import proxyAddress from '@fastify/proxy-addr';
import fastify, { type FastifyBaseLogger, LogController } from 'fastify';
import { enforceAccess } from './access.ts';
import type { Api } from './api.ts';
import { addAuditRoutes } from './audit.ts';
import { AuditTrail } from './audit-trail.ts';
import { BrowserCookies } from './browser-cookies.ts';
import { addBuildLogRoutes } from './build-logs.ts';
import { addBuildRoutes } from './builds.ts';
import { answerClientError } from './client-error.ts';
import type { ApiDependencies } from './dependencies.ts';
import { addDocsRoutes } from './docs.ts';
import { handleError } from './error-handler.ts';
import { addErrorTypeRoutes } from './error-types.ts';
import { addExternalLoginRoutes } from './external-logins.ts';
import { addFiledropRoutes } from './filedrop.ts';
import { addHealthRoutes } from './health.ts';
import { readJsonBodies } from './json-body.ts';
import { addLimitRoutes } from './limits.ts';
import { addLogArchiveRoutes } from './log-archive.ts';
import { addMetricsRoutes } from './metrics.ts';
import { addNoticeRoutes } from './notices.ts';
import { OpenApi } from './openapi.ts';
import { addOrganizationRoutes } from './organizations.ts';
import { addPageRoutes } from './page-routes.ts';
import { addPermissionRoutes } from './permissions.ts';
import { addRegistryRoutes } from './registries.ts';
import { isForRegistry, registryHandler } from './registry-mount.ts';
import { addRepositoryRoutes } from './repositories.ts';
import { encodeRepositoryPath } from './repository-path.ts';
import { addRepositoryTargetRoutes } from './repository-target.ts';
import { logRequests } from './request-log.ts';
import { traceRequests } from './request-trace.ts';
import { addRobotRoutes } from './robots.ts';
import { addSecurityHeaders, securityHeaders } from './security-headers.ts';
import { addSessionRoutes } from './sessions.ts';
import { refuseUnstorable } from './storable-requests.ts';
import { addSuperuserRoutes } from './superuser.ts';
import { addExecutorRoutes } from './superuser-executors.ts';
import { addGitHostRoutes } from './superuser-git-hosts.ts';
import { addPruneRoutes } from './superuser-prune.ts';
import { addSuperuserUserRoutes } from './superuser-users.ts';
import { addTeamPermissionRoutes } from './team-permissions.ts';
import { addTeamRoutes } from './teams.ts';
import { addTriggerBuildRoutes } from './trigger-builds.ts';
import { addTriggerConnectionRoutes } from './trigger-connections.ts';
import { addTriggerDeliveryRoutes } from './trigger-deliveries.ts';
import { addTriggerSecretRoutes } from './trigger-secrets.ts';
import { addTriggerSetupRoutes } from './trigger-setup.ts';
import { addTriggerRoutes } from './triggers.ts';
import { answerUnknownAddresses } from './unknown-address.ts';
import { addUserRoutes } from './user.ts';
import { addUserPasswordRoute } from './user-password.ts';
import { addUserTokenRoutes } from './user-tokens.ts';
import { compileValidator } from './validation.ts';
import { addWebhookRoutes } from './webhooks.ts';

/** REST and the registry's `/v2/` behind one HTTP server, which whoever owns the port feeds with connections. */
export interface ApiServer extends AsyncDisposable {
  /** Does not listen by itself: give it connections (`emit('connection', socket)`), or call its `listen`. */
  readonly server: Server;
  /** Everything is in place when it resolves; before that no connection may be given. */
  start(): Promise<void>;
  /**
   * Ends the streams of logs, which otherwise stay open as long as their builds run. Readers come again and go on
   * where they were. To be called before the port waits for the answers that are under way.
   */
  endStreams(): void;
  /** Ends the streams, lets other answers finish, closes the server when it listens itself. */
  stop(): Promise<void>;
}

export function createApi(dependencies: ApiDependencies): ApiServer {
  const { logger, options, registry } = dependencies;
  const trustedProxies = [...(options.trustedProxies ?? [])];
  const isTrusted = proxyAddress.compile(trustedProxies);
  const trail = new AuditTrail(dependencies);
  const toRegistry =
    registry === undefined
      ? undefined
      : registryHandler({
          registry,
          trail,
          addressOf: (request) => proxyAddress(request, isTrusted),
          onFault: (error) => logger.error({ err: error }, 'the registry mount failed'),
        });

  // Uploads and pushes take as long as they take; a client has to send its headers in time, though.
  const server = createServer({
    requestTimeout: 0,
    headersTimeout: 15_000,
    connectionsCheckingInterval: 5_000,
    keepAliveTimeout: 65_000,
  });
  const headers = securityHeaders(options);
  const api: Api = fastify({
    serverFactory: (toApi: RequestListener) => {
      server.on('request', (request, response) => {
        if (toRegistry !== undefined && isForRegistry(request.url ?? '')) toRegistry(request, response);
        else toApi(request, response);
      });
      return server;
    },
    loggerInstance: logger as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    rewriteUrl: (request) => encodeRepositoryPath(request.url ?? '/'),
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 1024 },
    // An address that cannot be decoded never reaches a hook.
    frameworkErrors: (error, request, reply) => {
      reply.headers(headers);
      handleError(error, request, reply);
    },
    clientErrorHandler: answerClientError,
    bodyLimit: 256 * 1024,
    trustProxy: options.trustedProxies === undefined ? false : trustedProxies,
    // Unique over all servers: it stands in the server's log and in the audit log.
    genReqId: () => randomUUID(),
    exposeHeadRoutes: true,
    return503OnClosing: false,
    onProtoPoisoning: 'error',
    onConstructorPoisoning: 'error',
    forceCloseConnections: 'idle',
  });

  api.setValidatorCompiler(compileValidator);
  api.setSerializerCompiler(() => (value) => JSON.stringify(value));
  api.setErrorHandler(handleError);
  const openApi = new OpenApi(options.version);
  openApi.watch(api);
  answerUnknownAddresses(api);
  addSecurityHeaders(api, headers);
  logRequests(api);
  traceRequests(api);
  trail.watch(api);
  refuseUnstorable(api);
  const cookies = new BrowserCookies(options);
  enforceAccess(api, { ...dependencies, trail, cookies });
  readJsonBodies(api);

  addRepositoryRoutes(api, { ...dependencies, trail });
  addPermissionRoutes(api, dependencies);
  addTeamPermissionRoutes(api, dependencies);
  addLimitRoutes(api, dependencies);
  addRepositoryTargetRoutes(api, dependencies);
  addRegistryRoutes(api, dependencies);
  addBuildRoutes(api, { ...dependencies, trail });
  addTriggerRoutes(api, dependencies);
  addTriggerConnectionRoutes(api, dependencies);
  addTriggerSetupRoutes(api, dependencies);
  addTriggerBuildRoutes(api, dependencies);
  addTriggerDeliveryRoutes(api, dependencies);
  addTriggerSecretRoutes(api, dependencies);
  addNoticeRoutes(api, dependencies);
  addWebhookRoutes(api, dependencies);
  const streams = new AbortController();
  addBuildLogRoutes(api, { ...dependencies, closing: streams.signal });
  addLogArchiveRoutes(api, { ...dependencies, closing: streams.signal });
  addFiledropRoutes(api, dependencies);
  addUserRoutes(api);
  addUserTokenRoutes(api, dependencies);
  const directLogin = options.directLogin ?? true;
  const browser = { ...dependencies, cookies, trail, directLogin, closing: streams.signal };
  addSessionRoutes(api, browser);
  if (dependencies.logins !== undefined)
    addExternalLoginRoutes(api, { ...browser, logins: dependencies.logins });
  addPageRoutes(api, { ...browser, logins: dependencies.logins });
  addUserPasswordRoute(api, dependencies);
  addOrganizationRoutes(api, dependencies);
  addTeamRoutes(api, dependencies);
  addRobotRoutes(api, dependencies);
  addSuperuserRoutes(api, dependencies);
  addSuperuserUserRoutes(api, dependencies);
  addPruneRoutes(api, dependencies);
  addGitHostRoutes(api, dependencies);
  addExecutorRoutes(api, { ...dependencies, closing: streams.signal });
  addAuditRoutes(api, dependencies);
  addHealthRoutes(api, dependencies);
  addMetricsRoutes(api, dependencies);
  addErrorTypeRoutes(api);
  addDocsRoutes(api, openApi);

  dependencies.metrics.live.watchQueue(() => dependencies.queue.counts());

  return {
    server,
    async start() {
      await api.ready();
      // Node watches for headers that come too slowly only in a server that listens, or that thinks so.
      server.emit('listening');
    },
    endStreams() {
      streams.abort();
    },
    async stop() {
      streams.abort();
      await api.close();
    },
    async [Symbol.asyncDispose]() {
      await this.stop();
    },
  };
}
