import type { Clock } from '../base/clock.ts';
import type { Executor } from '../executor/executor.ts';
import type { HostKeys } from '../host-key/host-keys.ts';
import type { LogStore } from '../log/log-store.ts';
import { AttemptEnd } from '../manager/attempt-end.ts';
import type { BaseImageCredentials } from '../manager/base-image-credentials.ts';
import { BuildEnd } from '../manager/build-end.ts';
import { BuildManager } from '../manager/build-manager.ts';
import type { BuildSite } from '../manager/build-pack.ts';
import type { ManagerLog } from '../manager/manager-log.ts';
import type { ManagerMetrics } from '../manager/manager-metrics.ts';
import { Publisher } from '../manager/publisher.ts';
import type { RegistryCredentials } from '../manager/registry-credentials.ts';
import type { ManagerSettings } from '../manager/settings.ts';
import type { SourceLinks } from '../manager/source-links.ts';
import type { Targets } from '../manager/targets.ts';
import { WorkerSessionService, type WorkerSessionServiceOptions } from '../manager/worker-session-service.ts';
import type { WorkerSite } from '../manager/worker-starter.ts';
import type { WorkerTrials } from '../manager/worker-trials.ts';
import type { Orchestrator } from '../orchestrator/orchestrator.ts';
import type { BuildQueue } from '../queue/build-queue.ts';
import type { Registry } from '../registry/registry.ts';
import { RpcServer } from '../rpc/server.ts';
import type { WorkerTokens } from '../rpc/tokens.ts';

export interface ManagerOptions {
  /** Unique among all managers and all their lives. */
  readonly name: string;
  readonly formerNames?: readonly string[];
  readonly queue: BuildQueue;
  readonly log: LogStore;
  readonly orchestrator: Orchestrator;
  readonly executor: Executor;
  readonly registry: Registry;
  /** Absent: everything is published to `registry`. */
  readonly targets?: Targets;
  /** Absent: workers get no credentials but those of `registry`. */
  readonly baseImages?: BaseImageCredentials;
  readonly cachedTag: WorkerSessionServiceOptions['cachedTag'];
  readonly credentials: RegistryCredentials;
  readonly links: SourceLinks;
  readonly hostKeys: Pick<HostKeys, 'known' | 'record'>;
  readonly workerTokens: WorkerTokens;
  readonly worker: WorkerSite;
  /** Workers that try out an executor. Absent: there are none. */
  readonly trials?: WorkerTrials;
  readonly site: BuildSite;
  readonly clock: Clock;
  readonly settings: ManagerSettings;
  readonly logger: ManagerLog;
  readonly metrics: ManagerMetrics;
}

export interface ManagerParts {
  readonly manager: BuildManager;
  readonly sessions: WorkerSessionService;
  /** Answers workers on whatever connections it is given. */
  readonly rpc: RpcServer;
  /** Gives what runs `drain` milliseconds, then stops all but `rpc`, whose port's owner stops it. */
  stop(drain: number): Promise<void>;
}

/** The build manager with what it works through, over a queue, a log, an orchestrator, an executor and a registry. */
export function composeManager(options: ManagerOptions): ManagerParts {
  const { queue, log, orchestrator, registry, clock, settings, logger, metrics, workerTokens } = options;
  const buildEnd = new BuildEnd({ log, clock, logger, metrics });
  const publisher = new Publisher({
    queue,
    registry,
    name: options.name,
    ...(options.targets === undefined ? {} : { targets: options.targets }),
    end: buildEnd,
    clock,
    settings,
    logger,
    metrics,
  });
  const attemptEnd = new AttemptEnd({
    name: options.name,
    queue,
    orchestrator,
    end: buildEnd,
    publisher,
    clock,
    settings,
    logger,
    metrics,
  });
  const sessions = new WorkerSessionService({
    ...options,
    attemptEnd,
    buildEnd,
    tokenOpenings: workerTokens.openings,
  });
  const manager = new BuildManager({
    ...options,
    sessions,
    attemptEnd,
    buildEnd,
    publisher,
    tokens: {
      issue: async (worker, lifetime) => await workerTokens.sign('build_job_registration', worker, lifetime),
    },
  });
  return {
    manager,
    sessions,
    rpc: new RpcServer({ sessions, tokens: workerTokens, log: logger }),
    async stop(drain) {
      await manager.drain(drain);
      await manager.stop();
      await publisher.stop();
      await sessions.stop();
    },
  };
}
