import type { Logger } from 'pino';
import type { Clock } from '../base/clock.ts';
import type { Database } from '../db/database.ts';
import { BreakingExecutor } from '../executor/breaking-executor.ts';
import type { ChoosingRules } from '../executor/choosing-rules.ts';
import { CircuitBreaker, type CircuitBreakerOptions } from '../executor/circuit-breaker.ts';
import type { Executor } from '../executor/executor.ts';
import { FailoverExecutor } from '../executor/failover.ts';
import { FailureAlerts } from '../executor/failure-alerts.ts';
import { LimitedExecutor } from '../executor/limited-executor.ts';
import { StartHistory } from '../executor/start-history.ts';
import { TimedExecutor } from '../executor/timed-executor.ts';
import { WatchedExecutor } from '../executor/watched-executor.ts';
import { runTrial, type TrialEvent } from '../executor/worker-trial.ts';
import type { FleetReport } from '../fleet/executor-report.ts';
import { ExecutorReports } from '../fleet/executor-reports.ts';
import { ExecutorSwitches } from '../fleet/executor-switches.ts';
import { Fleet, type OwnExecutors } from '../fleet/fleet.ts';
import { FleetReporter } from '../fleet/fleet-reporter.ts';
import { WorkerTrials } from '../fleet/worker-trials.ts';
import { defaultSettings, type ManagerSettings } from '../manager/settings.ts';
import type { WorkerSite } from '../manager/worker-starter.ts';
import { newAttemptId, newBuildId, newJobId } from '../model/ids.ts';
import { surveyQueue } from '../queue/queue-survey.ts';
import type { WorkerTokens } from '../rpc/tokens.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { fallbackMetrics, startMetrics } from './manager-metrics.ts';

/** One executor of the list, as it is, with what its configuration says of it. */
export interface FleetEntry {
  readonly executor: Executor;
  readonly rules?: ChoosingRules;
  readonly maxWorkers?: number;
  /** What no message of it may say. */
  readonly secrets?: readonly string[];
}

export interface FleetBase {
  readonly database: Database;
  readonly clock: Clock;
}

export interface OwnFleetOptions extends FleetBase {
  /** The manager's. */
  readonly name: string;
  readonly entries: readonly FleetEntry[];
  readonly workerTokens: WorkerTokens;
  readonly worker: WorkerSite;
  readonly settings?: Partial<Pick<ManagerSettings, 'setupTime' | 'setupTimes' | 'jobRegistrationTimeout'>>;
  readonly breaker?: Omit<CircuitBreakerOptions, 'clock'>;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

export interface OwnFleet {
  /** All of them as one. */
  readonly executor: FailoverExecutor;
  readonly fleet: Fleet;
  readonly trials: WorkerTrials;
  /** Tells the others how these executors do; to be stopped before the database is. */
  readonly reporter: FleetReporter;
}

/** Of the time in which a worker has to be started, what executors may take of it one after the other. */
const startShare = 0.8;
/** Milliseconds an executor has for a start, however many there are. */
const leastStart = 5_000;

/** Seconds the token of a trial is good beyond the time its worker has. */
const tokenLeeway = 30;

/** The executors of other servers, for one that does not build. */
export function composeFleet({ database, clock }: FleetBase): Fleet {
  return new Fleet(parts({ database, clock }));
}

function parts({ database, clock }: FleetBase) {
  return {
    switches: new ExecutorSwitches({ database, clock }),
    reports: new ExecutorReports({ database, clock }),
    survey: async () => await surveyQueue(database, clock.now()),
  };
}

/**
 * A manager's executors as one, and as superusers see them. Each is asked through what is put around it here: its limit,
 * the breaker that leaves it alone while it fails, and what measures it, the innermost.
 */
export function composeOwnFleet(options: OwnFleetOptions): OwnFleet {
  const { database, clock, name: manager, metrics, logger } = options;
  const { switches, reports, survey } = parts(options);
  const trials = new WorkerTrials({ database, clock });
  const alerts = new FailureAlerts({ clock, onChange: () => reporter.changed() });
  const members = options.entries.map((entry) => member(entry, options, () => reporter.changed()));
  const executor = new FailoverExecutor({
    entries: members.map(({ asked, rules }) => ({ executor: asked, ...rules })),
    cordoned: () => switches.names(),
    alerts,
    onFallback: fallbackMetrics(metrics),
    onTrouble: (name, error) => logger.warn({ executor: name, err: error }, 'an executor does not answer'),
  });
  const reporter = new FleetReporter({
    manager,
    reports,
    clock,
    collect: async (): Promise<FleetReport> => ({
      executors: await Promise.all(members.map((each) => each.report())),
      alerts: alerts.all.map((alert) => ({ ...alert, executors: [...alert.executors] })),
    }),
    onError: (error) => logger.warn({ err: error }, 'how the executors do was not written down'),
  });
  metrics.live.watchExecutors(async () => {
    const names = await switches.names();
    return {
      executors: members.map(({ asked, rules, breaker }) => ({
        name: asked.name,
        breaker: breaker.state.kind,
        cordoned: rules.cordoned === true || names.has(asked.name),
      })),
      alerts: alerts.all.length,
    };
  });
  const own: OwnExecutors = {
    has: (name) => members.some(({ asked }) => asked.name === name),
    trial: (name, signal) => {
      const found = members.find(({ asked }) => asked.name === name);
      if (found === undefined) throw new TypeError(`there is no executor ${name}`);
      return trial(found, trials, options, alerts, signal);
    },
  };
  return { executor, fleet: new Fleet({ switches, reports, survey, own }), trials, reporter };
}

type Member = ReturnType<typeof member>;

function member(
  { executor, rules = {}, maxWorkers, secrets = [] }: FleetEntry,
  { clock, metrics, breaker: breakerOptions, entries, settings }: OwnFleetOptions,
  changed: () => void,
) {
  const breaker = new CircuitBreaker({ clock, ...breakerOptions });
  const history = new StartHistory(clock);
  const measure = startMetrics(metrics);
  const { jobRegistrationTimeout } = { ...defaultSettings, ...settings };
  // So that all have their turn before the attempt is given up.
  const most = startShare * jobRegistrationTimeout;
  const limit = Math.max(most / entries.length, Math.min(leastStart, most / 2));
  const timed = new TimedExecutor(executor, { clock, limit });
  const watched = new WatchedExecutor(timed, {
    clock,
    secrets,
    onStart: (result) => {
      measure(executor.name, result);
      history.add(result);
      if (result.kind === 'failed' && result.code !== 'at-capacity') changed();
    },
  });
  const breaking = new BreakingExecutor(watched, breaker);
  return {
    /** Itself. */
    executor,
    /** What orders go to. */
    asked: maxWorkers === undefined ? breaking : new LimitedExecutor(breaking, maxWorkers),
    rules,
    secrets,
    breaker,
    async report(): Promise<FleetReport['executors'][number]> {
      const { namespaceWhitelist, stagedRollout, minimumRetryThreshold, cordoned, platforms } = rules;
      const running = await executor.running().catch(() => undefined);
      return {
        name: executor.name,
        type: executor.type,
        rules: {
          minimumRetryThreshold: minimumRetryThreshold ?? 0,
          ...(namespaceWhitelist === undefined ? {} : { namespaceWhitelist: [...namespaceWhitelist] }),
          ...(stagedRollout === undefined ? {} : { stagedRollout }),
          ...(platforms === undefined ? {} : { platforms: [...platforms] }),
          cordoned: cordoned === true,
        },
        ...(maxWorkers === undefined ? {} : { maxWorkers }),
        ...(running === undefined ? {} : { running: running.length }),
        breaker: breaker.state,
        ...(history.lastStart === undefined ? {} : { lastStart: history.lastStart }),
        failures: [...history.failures],
      };
    },
  };
}

/** A worker that passes says that the executor works: it is left alone no more, and no alert is about it. */
async function* trial(
  { executor, breaker, secrets }: Member,
  trials: WorkerTrials,
  { workerTokens, worker, settings, clock }: OwnFleetOptions,
  alerts: FailureAlerts,
  signal: AbortSignal,
): AsyncGenerator<TrialEvent> {
  const { setupTime, setupTimes } = { ...defaultSettings, ...settings };
  const limit = setupTimes[executor.name] ?? setupTime;
  const identity = { buildId: newBuildId(), jobId: newJobId(), attemptId: newAttemptId(), epoch: 1 };
  const { buildId, attemptId, epoch } = identity;
  const lifetime = Math.ceil(limit / 1000) + tokenLeeway;
  await trials.begin(attemptId);
  try {
    const order = {
      buildId,
      attemptId,
      epoch,
      namespace: 'slipway-trial',
      platform: '',
      triesLeft: 0,
      token: await workerTokens.sign('build_job_registration', identity, lifetime),
      ...worker,
      maxLifetime: lifetime * 1000,
    };
    for await (const event of runTrial({
      executor,
      order,
      registered: async () => await trials.registered(attemptId),
      secrets,
      limit,
      clock,
      signal,
    })) {
      if (event.kind === 'passed' && event.step === 'registered') {
        breaker.succeeded();
        alerts.clear(executor.name);
      }
      yield event;
    }
  } finally {
    await trials.end(attemptId);
  }
}
