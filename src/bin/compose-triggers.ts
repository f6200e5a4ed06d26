import type { Logger } from 'pino';
import type { Accounts } from '../account/accounts.ts';
import { useOnce } from '../account/use-once.ts';
import { namespaceRoleOf } from '../api/namespace-role.ts';
import type { AuditLog } from '../audit/audit-log.ts';
import type { Clock } from '../base/clock.ts';
import type { Database } from '../db/database.ts';
import type { SecretBox } from '../db/secret-box.ts';
import { parseImageReference } from '../model/image-reference.ts';
import { parseRepositoryName } from '../model/repository-name.ts';
import type { BuildQueue } from '../queue/build-queue.ts';
import { buildQueueName } from '../telemetry/live-gauges.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { BaseImages } from '../trigger/base-images.ts';
import { HostConnection } from '../trigger/host/host-connection.ts';
import { type OpenTriggers, openTriggers, type TriggersOptions } from '../trigger/open-triggers.ts';
import type { TriggerMetrics } from '../trigger/trigger-events.ts';

export interface TriggerCompositionOptions
  extends Pick<
    TriggersOptions,
    'hosts' | 'maxQueuedPerNamespace' | 'readOnly' | 'failureThreshold' | 'internalErrorThreshold'
  > {
  readonly database: Database;
  readonly secretBox: SecretBox;
  readonly queue: BuildQueue;
  readonly audit: AuditLog;
  readonly accounts: Accounts;
  /** `host[:port]` in image names. */
  readonly registryHost: string;
  /** `http(s)://host[:port]` that people reach this server by. */
  readonly url: string;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface ComposedTriggers extends OpenTriggers {
  readonly hostConnection: HostConnection;
}

/** Build triggers of this server; not started yet. */
export function composeTriggers(options: TriggerCompositionOptions): ComposedTriggers {
  const { accounts, registryHost, url, metrics, logger, database, clock } = options;
  // States of logins and of connections are both hashes of what nobody guesses, so one memory does for both.
  const hostConnection = new HostConnection({
    hosts: options.hosts,
    box: options.secretBox,
    clock,
    use: async (hash, forgetAt) => await useOnce(database, { hash, forgetAt, now: clock.now() }),
  });
  const open = openTriggers({
    ...options,
    accounts: accounts.users,
    baseImages: ownImages(accounts, registryHost),
    logUrl: ({ namespace, name }, build) => `${url}/repository/${namespace}/${name}/build/${build}`,
    metrics: triggerMetrics(metrics),
    log: logger,
  });
  return { ...open, hostConnection };
}

/** Writes what triggers tell into the Prometheus metrics. */
function triggerMetrics(metrics: Metrics): TriggerMetrics {
  return {
    delivered: (outcome) => metrics.triggerDeliveries.inc({ outcome }),
    queued: () => metrics.queuePuts.inc({ queue_name: buildQueueName }),
    statusSent: (result) => metrics.commitStatuses.inc({ result }),
    disabled: (reason) => metrics.triggersDisabled.inc({ reason }),
  };
}

/** Robots that people choose from; a namespace with more names its robots itself. */
const mostRobots = 200;

/** The images of our own registry, by what the person who asks may do with their repositories. */
function ownImages(accounts: Accounts, registryHost: string): BaseImages {
  return {
    async look(image, { username, superuser = false, for: builder }) {
      const reference = parseImageReference(image);
      if (reference === undefined || reference.registry !== registryHost) return 'elsewhere';
      const name = parseRepositoryName(reference.repository);
      const found = name === undefined ? undefined : await accounts.repository(name);
      if (found === undefined) return undefined;
      const asker = { kind: 'user', username, superuser, scopes: 'all' } as const;
      const { namespace } = builder;
      // Who may not choose a robot does not learn which there are.
      const isAdmin = (await namespaceRoleOf(asker, namespace, accounts)) === 'admin';
      const robots = isAdmin ? await accounts.robots.robots(namespace, { limit: mostRobots }) : [];
      return {
        repository: found.name,
        visibility: found.visibility,
        canRead: (await accounts.roleOn(asker, found.name)) !== undefined,
        isAdmin,
        robots: await Promise.all(
          robots.map(async (robot) => {
            const role = await accounts.roleOn({ kind: 'robot', name: robot.name, namespace }, found.name);
            return { name: robot.name, canRead: role !== undefined };
          }),
        ),
      };
    },
  };
}
