import type { IncomingMessage } from 'node:http';
import type { Logger } from 'pino';
import type { Accounts } from '../account/accounts.ts';
import type { Sessions } from '../account/sessions.ts';
import type { SignIn } from '../account/sign-in.ts';
import type { ApiDependencies, ApiOptions } from '../api/dependencies.ts';
import { type ApiServer, createApi } from '../api/server.ts';
import type { AuditLog } from '../audit/audit-log.ts';
import type { Clock } from '../base/clock.ts';
import type { BlobStore } from '../blob/blob-store.ts';
import type { Fleet } from '../fleet/fleet.ts';
import type { HostKeys } from '../host-key/host-keys.ts';
import type { LogStore } from '../log/log-store.ts';
import type { ExternalLogins } from '../login/external-logins.ts';
import type { Orchestrator } from '../orchestrator/orchestrator.ts';
import type { BuildQueue } from '../queue/build-queue.ts';
import { RepositoryRemoval } from '../retention/repository-removal.ts';
import type { Retention } from '../retention/retention.ts';
import {
  blobStoreCheck,
  diskCheck,
  executorsCheck,
  orchestratorCheck,
  queueCheck,
} from '../telemetry/health-check.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Uploads } from '../upload/uploads.ts';
import type { UrlSigner } from '../upload/url-signer.ts';
import type { RegistryParts } from './compose-registry.ts';
import type { ComposedTriggers } from './compose-triggers.ts';
import { egressOf } from './egress-of.ts';

export interface ApiCompositionOptions {
  readonly accounts: Accounts;
  readonly signIn: SignIn;
  readonly sessions: Sessions;
  readonly logins?: ExternalLogins;
  readonly audit: AuditLog;
  readonly queue: BuildQueue;
  readonly fleet: Fleet;
  readonly log: LogStore;
  readonly uploads: Uploads;
  readonly retention: Retention;
  readonly hostKeys: HostKeys;
  readonly links: UrlSigner;
  readonly blobs: BlobStore;
  readonly triggers: Pick<ComposedTriggers, 'triggers' | 'notices' | 'hostConnection'>;
  /** Where archived logs are, when that is another place. */
  readonly archives?: BlobStore;
  readonly registries: ApiDependencies['registries'];
  readonly probe: ApiDependencies['probe'];
  readonly registry: Pick<RegistryParts, 'registry' | 'gateway' | 'tokenEndpoint' | 'images'>;
  readonly orchestrator: Pick<Orchestrator, 'connected'>;
  readonly metrics: Metrics;
  /** A folder on the disk whose free space counts. */
  readonly disk: string;
  /** Private hosts and CIDR blocks that URLs of users may lead to. */
  readonly allowPrivate: readonly string[];
  readonly publicOrigin: (incoming: IncomingMessage) => string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly options: Omit<ApiOptions, 'publicOrigin'>;
}

/** REST and `/v2/` as one HTTP server without a port. */
export function composeApi(parts: ApiCompositionOptions): ApiServer {
  const { queue, log, allowPrivate, publicOrigin } = parts;
  const { registry, gateway, tokenEndpoint } = parts.registry;
  const database = { name: 'database', check: async () => void (await queue.counts()) };
  const registryAnswers = {
    name: 'registry',
    check: async (signal: AbortSignal) => void (await registry.tags('slipway/health', signal)),
  };
  const stores = [
    blobStoreCheck(parts.blobs),
    ...(parts.archives === undefined ? [] : [blobStoreCheck(parts.archives, 'log_archive')]),
  ];
  return createApi({
    ...parts,
    ...parts.triggers,
    logs: log,
    removal: new RepositoryRemoval({ ...parts, images: parts.registry.images }),
    egress: egressOf(allowPrivate),
    health: {
      instance: [database, registryAnswers, diskCheck(parts.disk), ...stores],
      endToEnd: [
        database,
        registryAnswers,
        ...stores,
        orchestratorCheck(parts.orchestrator),
        { name: 'auth', check: async () => void (await parts.accounts.anyUser()) },
        queueCheck(queue),
        executorsCheck(parts.fleet),
      ],
    },
    registry: {
      tokens: tokenEndpoint,
      handle: (request, response, witness) => gateway.handle(request, response, witness),
    },
    options: { ...parts.options, publicOrigin },
  });
}
