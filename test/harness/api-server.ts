import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import type { TokenScope } from '../../src/account/accounts.ts';
import { AccountAuthorizer } from '../../src/account/authorizer.ts';
import { LoginLimiter } from '../../src/account/login-limiter.ts';
import { PasswordHasher } from '../../src/account/password-hash.ts';
import type { SessionTimes } from '../../src/account/sessions.ts';
import { SignIn } from '../../src/account/sign-in.ts';
import { SqlAccounts } from '../../src/account/sql-accounts.ts';
import { SqlExternalIdentities } from '../../src/account/sql-external-identities.ts';
import { SqlSessions } from '../../src/account/sql-sessions.ts';
import type { ApiOptions } from '../../src/api/dependencies.ts';
import { createApi } from '../../src/api/server.ts';
import { SqlAuditLog } from '../../src/audit/sql-audit-log.ts';
import { type Clock, systemClock } from '../../src/base/clock.ts';
import { composeOwnFleet, type FleetEntry } from '../../src/bin/compose-fleet.ts';
import { composeTriggers } from '../../src/bin/compose-triggers.ts';
import { FolderBlobStore } from '../../src/blob/folder-blob-store.ts';
import type { Database } from '../../src/db/database.ts';
import { SecretBox } from '../../src/db/secret-box.ts';
import { EgressGuard } from '../../src/egress/egress-guard.ts';
import { EgressPolicy } from '../../src/egress/egress-policy.ts';
import { DummyExecutor, type DummyWork } from '../../src/executor/dummy-executor.ts';
import { SqlHostKeys } from '../../src/host-key/sql-host-keys.ts';
import { SqlLogStore } from '../../src/log/sql-log-store.ts';
import { ExternalLogins } from '../../src/login/external-logins.ts';
import { LoginMemory } from '../../src/login/login-memory.ts';
import type { LoginProvider } from '../../src/login/login-provider.ts';
import { parseRepositoryName } from '../../src/model/repository-name.ts';
import { SqlBuildQueue } from '../../src/queue/sql-build-queue.ts';
import { RegistryProbe } from '../../src/registries/registry-probe.ts';
import { SqlRegistries } from '../../src/registries/sql-registries.ts';
import { type RepositoryImages, RepositoryRemoval } from '../../src/retention/repository-removal.ts';
import { Retention } from '../../src/retention/retention.ts';
import { StrayBlobs } from '../../src/retention/stray-blobs.ts';
import { newTokenKey, TokenKeySet } from '../../src/rpc/token-keys.ts';
import { WorkerTokens } from '../../src/rpc/tokens.ts';
import { diskCheck, type HealthCheck } from '../../src/telemetry/health-check.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { type GitHostsOptions, gitHosts } from '../../src/trigger/host/hosts.ts';
import { Uploads } from '../../src/upload/uploads.ts';
import { UrlSigner } from '../../src/upload/url-signer.ts';
import { freePort } from '../services/service.ts';
import { type OpenScratch, scratchFile } from './scratch-database.ts';

export interface ApiHarnessOptions {
  /** A SQLite file unless given. */
  readonly openDatabase?: OpenScratch;
  readonly clock?: Clock;
  readonly uploadLimit?: number;
  readonly logLimit?: number;
  readonly options?: Partial<ApiOptions>;
  readonly health?: readonly HealthCheck[];
  readonly registry?: 'none' | 'echo';
  /** Login services. Undefined: there are none. */
  readonly providers?: readonly LoginProvider[];
  /** Whether whoever comes from one for the first time becomes a user. */
  readonly createUsers?: boolean;
  readonly sessionTimes?: SessionTimes;
  /** Images that go with their repositories, where there is a registry. */
  readonly images?: (database: Database) => RepositoryImages;
  /** Private hosts that users may lead us to. */
  readonly allowHosts?: readonly string[];
  /** Executors of a manager that is there too. */
  readonly executors?: readonly FleetEntry[];
  /** Besides custom-git. */
  readonly hosts?: GitHostsOptions;
}

export const password = 'correct horse';

/** The REST interface on a port of its own, over a real database and real stores in a folder that goes away. */
export async function startApiServer({
  openDatabase = scratchFile,
  clock = systemClock,
  uploadLimit,
  logLimit,
  options = {},
  health,
  registry = 'none',
  providers,
  createUsers = true,
  sessionTimes,
  images,
  allowHosts = [],
  executors = [],
  hosts = {},
}: ApiHarnessOptions = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'slipway-api-'));
  const scratch = await openDatabase();
  const { database } = scratch;
  const blobs = new FolderBlobStore({ folder: join(folder, 'blobs') });
  await blobs.start();
  const secretBox = new SecretBox({ key: randomBytes(32) });
  const queue = new SqlBuildQueue(database, { secretBox, clock });
  await queue.start();
  const logs = new SqlLogStore(database, {
    clock,
    archives: blobs,
    ...(logLimit === undefined ? {} : { limit: logLimit }),
  });
  await logs.start();
  const passwords = new PasswordHasher();
  const accounts = new SqlAccounts({ database, passwords, clock });
  const sessions = new SqlSessions({
    database,
    clock,
    ...(sessionTimes === undefined ? {} : { times: sessionTimes }),
  });
  // Login services have to know where they send browsers back to before there is anything to send them to.
  const ownPort = providers === undefined ? 0 : await freePort();
  const logins =
    providers === undefined
      ? undefined
      : new ExternalLogins({
          providers,
          memory: new LoginMemory(new SecretBox({ key: randomBytes(32) }), clock),
          identities: new SqlExternalIdentities({
            database,
            passwords,
            clock,
            isReserved: (username) => username === 'root',
          }),
          accounts,
          siteUrl: `http://127.0.0.1:${ownPort}`,
          createUsers,
        });
  const signIn = new SignIn(accounts, new LoginLimiter(database, clock));
  const authorizer = new AccountAuthorizer(accounts, signIn);
  const signer = new UrlSigner(randomBytes(32), clock);
  const strays = new StrayBlobs({
    database,
    stores: { uploads: blobs, logs: blobs },
    clock,
    onError: (error) => {
      throw error;
    },
  });
  const retention = new Retention({ database, strays, clock });
  const hostKeys = new SqlHostKeys({ database, clock });
  const uploads = new Uploads({
    database,
    blobs,
    signer,
    clock,
    ...(uploadLimit === undefined ? {} : { limit: uploadLimit }),
  });
  const metrics = new Metrics();
  const audit = new SqlAuditLog({ database, clock });
  const logged: string[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => logged.push(line) });
  const triggers = composeTriggers({
    database,
    secretBox,
    queue,
    audit,
    accounts,
    hosts: gitHosts(hosts),
    registryHost: 'registry.example',
    url: 'http://slipway.example',
    failureThreshold: 100,
    internalErrorThreshold: 5,
    ...(options.maxQueuedPerNamespace === undefined
      ? {}
      : { maxQueuedPerNamespace: options.maxQueuedPerNamespace }),
    readOnly: options.readOnly ?? false,
    metrics,
    clock,
    logger,
  });
  const checks = health ?? [diskCheck(folder, 1)];
  const egress = new EgressGuard(new EgressPolicy({ allowHosts: ['sources.example', ...allowHosts] }));
  const registries = new SqlRegistries({ database, secretBox, clock });
  const manager = 'manager-1';
  const { fleet, trials, reporter, executor } = composeOwnFleet({
    name: manager,
    entries: [...executors, { executor: new DummyExecutor({ name: 'idle', clock, work: workUntilStopped }) }],
    database,
    workerTokens: new WorkerTokens({
      keys: new TokenKeySet([newTokenKey()]),
      issuer: 'slipway',
      audience: '127.0.0.1',
      clock,
    }),
    worker: { server: '127.0.0.1:1', serverTls: false, registryHost: 'registry.example' },
    metrics,
    clock,
    logger,
  });
  if (executors.length > 0) {
    await database.sql.insertInto('managers').values({ name: manager, beats: 1, joined_at: 0 }).execute();
    await reporter.report();
  }
  const api = createApi({
    fleet,
    accounts,
    signIn,
    sessions,
    ...(logins === undefined ? {} : { logins }),
    audit,
    queue,
    logs,
    uploads,
    retention,
    removal: new RepositoryRemoval({ retention, images: images?.(database), clock }),
    triggers: triggers.triggers,
    notices: triggers.notices,
    hostConnection: triggers.hostConnection,
    hostKeys,
    links: signer,
    egress,
    registries,
    probe: new RegistryProbe({ egress, clock }),
    metrics,
    health: { instance: checks, endToEnd: checks },
    ...(registry === 'none' ? {} : { registry: echoRegistry(authorizer) }),
    clock,
    logger,
    options: {
      version: '0.0.0-test',
      registryHost: 'registry.example',
      publicOrigin: (incoming) => `http://${incoming.headers.host}`,
      buildSupport: true,
      readerBuildLogs: false,
      https: false,
      ...options,
    },
  });
  await api.start();
  await new Promise<void>((resolve) => api.server.listen(ownPort, '127.0.0.1', resolve));
  const { port } = api.server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;

  /** A user who is signed in by a token with these scopes. */
  const addUser = async (
    username: string,
    {
      superuser = false,
      scopes = ['repo:read', 'repo:write', 'repo:admin', 'org:admin', 'user:admin', 'super:user'],
    }: { superuser?: boolean; scopes?: readonly TokenScope[] } = {},
  ): Promise<string> => {
    await accounts.createUser({ username, password, superuser });
    return (await accounts.createToken(username, { name: 'test', scopes })).token;
  };

  return {
    url,
    folder,
    database,
    blobs,
    accounts,
    signIn,
    sessions,
    logins,
    audit,
    /** Not started: rounds of what goes on in the background are made by hand. */
    triggers,
    authorizer,
    queue,
    registries,
    logs,
    uploads,
    retention,
    hostKeys,
    metrics,
    logged,
    api,
    trials,
    /** Of the executors: nothing is written by itself. */
    reporter,
    addUser,
    async addRepository(text: string, visibility: 'public' | 'private' = 'private') {
      const name = parseRepositoryName(text);
      if (name === undefined) throw new TypeError(`not a repository name: ${text}`);
      await accounts.createRepository(name, { visibility });
      return name;
    },
    /** One request; `body` is sent as JSON. */
    async call(
      method: string,
      path: string,
      {
        token,
        body,
        headers = {},
        redirect = 'follow',
      }: {
        token?: string;
        body?: unknown;
        headers?: Record<string, string>;
        redirect?: 'follow' | 'manual';
      } = {},
    ) {
      const response = await fetch(`${url}${path}`, {
        method,
        redirect,
        headers: {
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      const isJson = (response.headers.get('content-type') ?? '').startsWith('application/json');
      return {
        status: response.status,
        headers: response.headers,
        text,
        json: (isJson && text !== '' ? JSON.parse(text) : {}) as Record<string, unknown>,
      };
    },
    async [Symbol.asyncDispose]() {
      await triggers.stop();
      await executor.close();
      await logs.stop();
      await api.stop();
      api.server.closeAllConnections();
      await queue.stop();
      await scratch[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

const workUntilStopped: DummyWork = (_order, signal) =>
  new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve({ exitCode: 0 }), { once: true });
  });

export type ApiHarness = Awaited<ReturnType<typeof startApiServer>>;

/** Stands where the gateway does and says what it was asked for. */
function echoRegistry(authorizer: AccountAuthorizer) {
  return {
    tokens: {
      async answer({
        credentials,
      }: {
        credentials: Parameters<AccountAuthorizer['authenticate']>[0] | undefined;
      }) {
        const subject = credentials === undefined ? undefined : await authorizer.authenticate(credentials);
        if (subject !== undefined && 'tryLater' in subject) throw new TypeError('not here');
        const token = `for ${subject?.name ?? 'nobody'}`;
        return { token, access_token: token, expires_in: 60, issued_at: '2026-01-01T00:00:00Z' };
      },
    },
    handle(request: import('node:http').IncomingMessage, response: import('node:http').ServerResponse): void {
      response.end(`registry ${request.method} ${request.url}`);
    },
  };
}
