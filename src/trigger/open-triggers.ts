import type { AuditLog } from '../audit/audit-log.ts';
import type { Clock } from '../base/clock.ts';
import type { Database } from '../db/database.ts';
import type { SecretBox } from '../db/secret-box.ts';
import { parseBuildId } from '../model/ids.ts';
import type { RepositoryName } from '../model/repository-name.ts';
import type { BuildQueue } from '../queue/build-queue.ts';
import { TriggerActivation } from './activation.ts';
import type { BaseImages } from './base-images.ts';
import { BuildDispatch } from './build-dispatch.ts';
import type { BuilderAccounts } from './builder-accounts.ts';
import { HostConnections } from './connections.ts';
import { CronClock } from './cron-clock.ts';
import { DeliveryPruner } from './delivery-pruner.ts';
import { DeliveryWorker } from './delivery-worker.ts';
import { DueTriggers } from './due-triggers.ts';
import { FailureWatch } from './failure-watch.ts';
import type { GitHost } from './git-host.ts';
import { HostReporter } from './host-reporter.ts';
import { HostReports } from './host-reports.ts';
import { Intake } from './intake.ts';
import { KnownRefs } from './known-refs.ts';
import { LostPushWatch } from './lost-push-watch.ts';
import { ManualStart } from './manual-start.ts';
import type { Notices } from './notices.ts';
import { SourceAnalysis } from './source-analysis.ts';
import { SourceBrowser } from './source-browser.ts';
import { SqlDeliveryStore } from './sql-delivery-store.ts';
import { SqlNotices } from './sql-notices.ts';
import { SqlTriggerStore } from './sql-trigger-store.ts';
import type { TriggerService as ServiceName } from './trigger.ts';
import type { TriggerLog, TriggerMetrics } from './trigger-events.ts';
import { TriggerService } from './trigger-service.ts';
import type { Triggers } from './triggers.ts';

export interface TriggersOptions {
  readonly database: Database;
  readonly secretBox: SecretBox;
  readonly queue: BuildQueue;
  readonly audit: Pick<AuditLog, 'write'>;
  /** Those that are switched on. */
  readonly hosts: ReadonlyMap<ServiceName, GitHost>;
  readonly baseImages: BaseImages;
  readonly accounts: BuilderAccounts;
  /** Where people read the log of a build. */
  readonly logUrl: (repository: RepositoryName, build: string) => string;
  readonly maxQueuedPerNamespace?: number;
  /** Deliveries are turned away: no builds are taken. */
  readonly readOnly?: boolean;
  /** Failures in a row after which a trigger is switched off; undefined: never. */
  readonly failureThreshold: number | undefined;
  readonly internalErrorThreshold: number | undefined;
  readonly clock: Clock;
  readonly metrics: TriggerMetrics;
  readonly log: TriggerLog;
}

export interface OpenTriggers extends AsyncDisposable {
  readonly triggers: Triggers;
  readonly notices: Notices;
  /** What goes on without anybody asking; rounds of it by hand, for tests. */
  readonly background: TriggerBackground;
  start(): void;
  /** Resolves when everything that was under way has ended. */
  stop(): Promise<void>;
}

export interface TriggerBackground {
  readonly worker: DeliveryWorker;
  readonly reporter: HostReporter;
  readonly cron: CronClock;
  readonly lostPushes: LostPushWatch;
  readonly failures: FailureWatch;
  readonly pruner: DeliveryPruner;
}

/** Build triggers over a database and a queue. Every manager has them; nothing goes on before `start`. */
export function openTriggers(options: TriggersOptions): OpenTriggers {
  const { database, clock, queue, log, metrics, baseImages, accounts, maxQueuedPerNamespace } = options;
  const store = new SqlTriggerStore(options);
  const deliveries = new SqlDeliveryStore(options);
  const notices = new SqlNotices(options);
  const connections = new HostConnections(options.hosts, store);
  const dispatch = new BuildDispatch({ queue, metrics, maxQueuedPerNamespace });
  const reports = new HostReports(options);
  const due = new DueTriggers(database);
  const stores = { store, deliveries, notices, reports, due };
  const parts = { ...stores, accounts, connections, dispatch, clock, metrics, log };
  const worker = new DeliveryWorker(parts);
  const onWaiting = () => worker.wake();
  const background: TriggerBackground = {
    worker,
    reporter: new HostReporter({ ...parts, logUrl: options.logUrl }),
    cron: new CronClock({ ...parts, onWaiting }),
    lostPushes: new LostPushWatch({ ...parts, refs: new KnownRefs(database), onWaiting }),
    failures: new FailureWatch({ ...options, store, notices }),
    pruner: new DeliveryPruner(parts),
  };
  const all = Object.values(background) as readonly { start(): void; stop(): Promise<void> }[];
  const stop = async () => {
    await Promise.all(all.map(async (each) => await each.stop()));
  };
  return {
    triggers: new TriggerService({
      ...parts,
      activation: new TriggerActivation(parts),
      reporter: background.reporter,
      analysis: new SourceAnalysis({ store, connections, baseImages, now: () => clock.now() }),
      browser: new SourceBrowser(connections),
      intake: new Intake({ ...parts, maxQueuedPerNamespace, readOnly: options.readOnly ?? false, onWaiting }),
      starts: new ManualStart(parts),
      builds: async (ids) => {
        const builds = await Promise.all(
          ids.map(parseBuildId).map(async (id) => id && (await queue.build(id))),
        );
        return builds.filter((build) => build !== undefined);
      },
      onWaiting,
    }),
    notices,
    background,
    start: () => {
      for (const each of all) each.start();
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
