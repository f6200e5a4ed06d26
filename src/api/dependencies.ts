import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import type { Accounts } from '../account/accounts.ts';
import type { Sessions } from '../account/sessions.ts';
import type { SignIn } from '../account/sign-in.ts';
import type { AuditLog } from '../audit/audit-log.ts';
import type { Clock } from '../base/clock.ts';
import type { EgressGuard } from '../egress/egress-guard.ts';
import type { Fleet } from '../fleet/fleet.ts';
import type { HostKeys } from '../host-key/host-keys.ts';
import type { LogStore } from '../log/log-store.ts';
import type { ExternalLogins } from '../login/external-logins.ts';
import type { BuildQueue } from '../queue/build-queue.ts';
import type { Registries } from '../registries/external-registry.ts';
import type { RegistryProbe } from '../registries/registry-probe.ts';
import type { ImageWitness } from '../registry/gateway.ts';
import type { TokenAnswer, TokenRequest } from '../registry/token-endpoint.ts';
import type { RepositoryRemoval } from '../retention/repository-removal.ts';
import type { Retention } from '../retention/retention.ts';
import type { HealthCheck } from '../telemetry/health-check.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { HostConnection } from '../trigger/host/host-connection.ts';
import type { Notices } from '../trigger/notices.ts';
import type { Triggers } from '../trigger/triggers.ts';
import type { Uploads } from '../upload/uploads.ts';
import type { UrlSigner } from '../upload/url-signer.ts';

/** The embedded registry as the API sees it. */
export interface RegistryMount {
  /** `GET /v2/auth`. Throws TokenRequestError. */
  readonly tokens: { answer(request: TokenRequest): Promise<TokenAnswer> };
  /** Everything else below `/v2/`. */
  handle(request: IncomingMessage, response: ServerResponse, witness: ImageWitness): void | Promise<void>;
}

export interface ApiOptions {
  readonly version: string;
  /** `host[:port]` in image names. */
  readonly registryHost: string;
  /** `http(s)://host[:port]` of this server as the client of that request knows it. */
  readonly publicOrigin: (incoming: IncomingMessage) => string;
  /** HTTP 429 when a namespace has this many builds that wait. Undefined: no limit. */
  readonly maxQueuedPerNamespace?: number;
  /** Whether builds may be asked for (FEATURE_BUILD_SUPPORT); those there are can be read and cancelled either way. */
  readonly buildSupport: boolean;
  /** HTTP 503 for new builds (REGISTRY_STATE: readonly). */
  readonly readOnly?: boolean;
  /** Whether people who may only read a repository may read its build logs (FEATURE_READER_BUILD_LOGS). */
  readonly readerBuildLogs: boolean;
  /** Whether the server is reached by https only; turns on Strict-Transport-Security. */
  readonly https: boolean;
  /** Whether browsers may sign in by password (FEATURE_DIRECT_LOGIN); yes unless given. */
  readonly directLogin?: boolean;
  /** Addresses of proxies whose X-Forwarded-For is believed. */
  readonly trustedProxies?: readonly string[];
}

/** Everything the API needs; the composition root builds it. */
export interface ApiDependencies {
  readonly accounts: Accounts;
  readonly signIn: SignIn;
  /** Of browsers. */
  readonly sessions: Sessions;
  /** Signing in by other services. Undefined: there is none. */
  readonly logins?: ExternalLogins;
  readonly audit: AuditLog;
  readonly queue: BuildQueue;
  readonly logs: LogStore;
  /** The executors of all servers. */
  readonly fleet: Pick<Fleet, 'view' | 'cordon' | 'uncordon' | 'trial'>;
  /** Registries of namespaces outside of Slipway, and what tries out their credentials. */
  readonly registries: Registries;
  readonly probe: RegistryProbe;
  readonly uploads: Uploads;
  readonly retention: Retention;
  readonly removal: Pick<RepositoryRemoval, 'clear' | 'isHeld' | 'remove'>;
  readonly triggers: Triggers;
  readonly notices: Notices;
  readonly hostConnection: HostConnection;
  /** Of git servers. */
  readonly hostKeys: Pick<HostKeys, 'list' | 'forget'>;
  /** Signs the links to archived logs. */
  readonly links: UrlSigner;
  /** Judges archive and git URLs before a build is queued; workers check again when they fetch. */
  readonly egress: EgressGuard;
  readonly metrics: Metrics;
  readonly health: {
    /** Each part by its name: database, registry, disk_space, storage, redis, auth, queue, executors. */
    readonly instance: readonly HealthCheck[];
    readonly endToEnd: readonly HealthCheck[];
  };
  /** Undefined: no embedded registry. */
  readonly registry?: RegistryMount;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly options: ApiOptions;
}
