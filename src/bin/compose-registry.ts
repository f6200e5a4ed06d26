import type { IncomingMessage } from 'node:http';
import type { Logger } from 'pino';
import type { Accounts } from '../account/accounts.ts';
import { AccountAuthorizer } from '../account/authorizer.ts';
import type { SignIn } from '../account/sign-in.ts';
import type { Clock } from '../base/clock.ts';
import type { Database } from '../db/database.ts';
import type { RegistryCredentials } from '../manager/registry-credentials.ts';
import type { WorkerSessionServiceOptions } from '../manager/worker-session-service.ts';
import type { AttemptGate } from '../registry/authorizer.ts';
import { BuildCredentials } from '../registry/build-credential.ts';
import { cachedTag } from '../registry/cached-tag.ts';
import { embeddedClient } from '../registry/embedded-client.ts';
import { EmbeddedRegistry } from '../registry/embedded-registry.ts';
import { RegistryGateway } from '../registry/gateway.ts';
import { ImageRemoval } from '../registry/image-removal.ts';
import type { OciClient } from '../registry/oci-client.ts';
import { OciRegistry } from '../registry/oci-registry.ts';
import type { Registry } from '../registry/registry.ts';
import type { RegistryStorage } from '../registry/registry-config.ts';
import type { SigningKey } from '../registry/signing-key.ts';
import { SqlPushHistory } from '../registry/sql-push-history.ts';
import { TokenEndpoint } from '../registry/token-endpoint.ts';
import { TokenService } from '../registry/token-service.ts';

export interface RegistryOptions {
  readonly database: Database;
  readonly accounts: Accounts;
  readonly signIn: SignIn;
  /** Says which attempts are current: the queue. */
  readonly attempts: AttemptGate;
  readonly key: SigningKey;
  readonly issuer: string;
  /** The child's own folder. Absolute. */
  readonly folder: string;
  /** Where images are, when that is not this process's alone. */
  readonly storage?: RegistryStorage;
  /** `http(s)://host[:port]` of this server. */
  readonly url: string;
  /** host[:port], as images are named. */
  readonly registryHost: string;
  /** Images can be pulled, and nothing else. */
  readonly readOnly?: boolean;
  readonly publicOrigin: (incoming: IncomingMessage) => string;
  /** Told whenever a worker is turned away because its attempt is not current. */
  readonly onStale?: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface RegistryParts {
  readonly registry: Registry;
  /** Our own client of it. */
  readonly client: OciClient;
  /** Removes those of a repository that goes. */
  readonly images: ImageRemoval;
  readonly gateway: RegistryGateway;
  readonly tokenEndpoint: TokenEndpoint;
  /** What workers pull and push with. */
  readonly credentials: RegistryCredentials;
  readonly cachedTag: WorkerSessionServiceOptions['cachedTag'];
  /** The process behind the gateway. */
  readonly embedded: EmbeddedRegistry;
}

/** A docker-registry child behind our gateway, with our tokens. Nothing is started yet. */
export function composeRegistry(options: RegistryOptions): RegistryParts {
  const { accounts, signIn, attempts, clock, logger, registryHost } = options;
  const identity = { key: options.key, issuer: options.issuer, service: 'slipway-registry', clock };
  const tokens = new TokenService(identity);
  const buildCredentials = new BuildCredentials(identity);
  const embedded = new EmbeddedRegistry({
    ...identity,
    folder: options.folder,
    ...(options.storage === undefined ? {} : { storage: options.storage }),
    realm: `${options.url}/v2/auth`,
    onEvent: ({ kind, ...event }) => {
      const level = kind === 'exited' || kind === 'start-failed' ? 'error' : 'info';
      logger[level]({ ...event, ...('error' in event ? { err: event.error } : {}) }, `registry: ${kind}`);
    },
  });
  const history = new SqlPushHistory(options.database, clock);
  const onPush = (push: Parameters<typeof history.record>[0]) => history.record(push);
  const client = embeddedClient({ socketPath: embedded.socketPath, name: registryHost, tokens, clock });
  const registry = new OciRegistry({
    client,
    pusher: 'slipway',
    fence: history,
  });
  return {
    embedded,
    client,
    images: new ImageRemoval({ client, database: options.database }),
    registry,
    gateway: new RegistryGateway({
      socketPath: embedded.socketPath,
      tokens,
      attempts,
      clock,
      readOnly: options.readOnly ?? false,
      publicOrigin: options.publicOrigin,
      ...(options.onStale === undefined ? {} : { onStale: options.onStale }),
      onPush,
      onFault: (error) => logger.error({ err: error }, 'the registry gateway failed'),
    }),
    tokenEndpoint: new TokenEndpoint({
      tokens,
      buildCredentials,
      authorizer: new AccountAuthorizer(accounts, signIn),
      attempts,
      clock,
    }),
    cachedTag: async ({ repository, requested }, signal) =>
      await cachedTag(
        { repository: `${repository.namespace}/${repository.name}`, requested },
        { registry, history },
        signal,
      ),
    credentials: workerCredentials(buildCredentials, [buildCredentials.opening, tokens.opening]),
  };
}

/** A worker's two passwords: each is good for one repository while its attempt is current. */
function workerCredentials(issuer: BuildCredentials, openings: readonly Uint8Array[]): RegistryCredentials {
  return {
    openings,
    issue: async ({ identity, repository, push, untrusted, expiresAt, asker }) => {
      const grant = {
        buildId: identity.buildId,
        jobId: identity.jobId,
        attemptId: identity.attemptId,
        epoch: identity.epoch,
        worker: push.kind === 'tags' ? ('reference' as const) : ('slipway' as const),
        tags: push.kind === 'tags' ? push.tags : [],
        ...(asker === undefined ? {} : { asker }),
      };
      const common = { grant, repository: `${repository.namespace}/${repository.name}`, expiresAt };
      // Without the right to pull, the token endpoint says what everybody may.
      const pull = untrusted ? [] : (['pull'] as const);
      const all = push.kind === 'nothing' ? pull : (['pull', 'push'] as const);
      return {
        pullToken: await issuer.issue({ ...common, actions: pull }),
        pushToken: await issuer.issue({ ...common, actions: all }),
      };
    },
  };
}
