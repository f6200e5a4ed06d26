import type { Span } from '@opentelemetry/api';
import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/coded-error.ts';
import type { Executor, WorkerOrder } from '../executor/executor.ts';
import { ExecutorError } from '../executor/executor-error.ts';
import type { Fault } from '../model/fault.ts';
import { type AttemptId, parseAttemptId } from '../model/ids.ts';
import type { BuildQueue, RunningAttempt } from '../queue/build-queue.ts';
import { markFailed } from '../telemetry/tracing.ts';
import type { BuildEnd } from './build-end.ts';
import { BuildTraces } from './build-traces.ts';
import type { ManagerLog } from './manager-log.ts';
import type { ManagerMetrics } from './manager-metrics.ts';
import type { ManagerSettings } from './settings.ts';
import type { WorkerIdentity } from './worker-sessions.ts';

/** Makes the token that a worker registers with. */
export interface RegistrationTokens {
  issue(identity: WorkerIdentity, lifetimeSeconds: number): Promise<string>;
}

/** Where workers find the manager and the registry. */
export interface WorkerSite {
  /** host:port */
  readonly server: string;
  readonly serverTls: boolean;
  readonly registryHost: string;
}

export interface WorkerStarterOptions {
  readonly queue: Pick<BuildQueue, 'recordWorker' | 'release' | 'build'>;
  readonly executor: Executor;
  readonly buildEnd: Pick<BuildEnd, 'retry'>;
  readonly tokens: RegistrationTokens;
  readonly worker: WorkerSite;
  readonly clock: Clock;
  readonly settings: Pick<
    ManagerSettings,
    'jobRegistrationTimeout' | 'setupTime' | 'machineMaxTime' | 'startDelay' | 'capacityDelay'
  >;
  readonly logger: ManagerLog;
  readonly metrics: ManagerMetrics;
}

export type StartVerdict =
  | { readonly kind: 'started'; readonly executor: string; readonly worker: string }
  /** No worker was started, and the attempt waits in the queue again. */
  | { readonly kind: 'released' }
  /** None will ever be started for it as the executors are configured: to wait would be to wait for ever. */
  | { readonly kind: 'refused'; readonly fault: Fault }
  /** Somebody else ended the attempt meanwhile; the worker was stopped again. */
  | { readonly kind: 'stale' };

/** Retries whose reason is surely in the log. */
const remembered = 1_000;
/** Seconds a registration token is good beyond the time its worker has. */
const tokenLeeway = 30;

/**
 * Gets one worker going for an attempt, or gives the attempt back to the queue without using up a try; one that nobody
 * takes it says so of.
 */
export class WorkerStarter {
  readonly #options: WorkerStarterOptions;
  readonly #traces: BuildTraces;
  readonly #explained = new Set<AttemptId>();

  constructor(options: WorkerStarterOptions) {
    this.#options = options;
    this.#traces = new BuildTraces(options);
  }

  async start(attempt: RunningAttempt, signal: AbortSignal): Promise<StartVerdict> {
    return await this.#traces.starting(attempt, async (span) => {
      const verdict = await this.#start(attempt, signal, span);
      span?.setAttribute('slipway.start.verdict', verdict.kind);
      return verdict;
    });
  }

  async #start(attempt: RunningAttempt, signal: AbortSignal, span: Span | undefined): Promise<StartVerdict> {
    const { queue, executor, clock, metrics, logger } = this.#options;
    if (attempt.epoch > 1) await this.#explain(attempt);
    const begun = clock.now();
    let started: Awaited<ReturnType<Executor['start']>>;
    try {
      started = await executor.start(await this.#order(attempt), signal);
    } catch (thrown) {
      if (span !== undefined) markFailed(span, thrown instanceof ExecutorError ? thrown.code : 'internal');
      return await this.#giveBack(attempt, thrown);
    }
    const name = started.executor ?? executor.name;
    metrics.started(name, clock.now() - begun);
    const worker = { executor: name, worker: started.worker };
    span?.setAttributes({ 'slipway.executor': name, 'cicd.worker.id': started.worker });
    if (await queue.recordWorker(attempt.id, attempt.epoch, worker)) {
      logger.info({ build: attempt.buildId, attempt: attempt.id, ...worker }, 'worker started');
      return { kind: 'started', ...worker };
    }
    await executor.stop(started.worker, signal);
    return { kind: 'stale' };
  }

  /** Why there is this attempt after another one. Who ended that one may have died before it said so. */
  async #explain({ id, jobId, buildId, epoch, triesLeft }: RunningAttempt): Promise<void> {
    // It comes here again and again while every executor is full.
    if (this.#explained.has(id)) return;
    const { queue, buildEnd, clock, logger } = this.#options;
    try {
      const job = (await queue.build(buildId))?.jobs.find((each) => each.id === jobId);
      const before = job?.attempts.find((each) => each.epoch === epoch - 1);
      const attemptId = parseAttemptId(before?.id ?? '');
      if (before?.outcome === undefined || attemptId === undefined) return;
      const next = { triesLeft: triesLeft + 1, availableAt: clock.now() };
      await buildEnd.retry({ buildId, attemptId, epoch: before.epoch }, before.outcome, next);
    } catch (thrown) {
      logger.warn({ build: buildId, attempt: id, err: thrown }, 'why a build is tried again was not written');
      return;
    }
    this.#explained.add(id);
    const [oldest] = this.#explained;
    if (this.#explained.size > remembered && oldest !== undefined) this.#explained.delete(oldest);
  }

  async #order(attempt: RunningAttempt): Promise<WorkerOrder> {
    const { tokens, worker, settings } = this.#options;
    const identity = {
      buildId: attempt.buildId,
      jobId: attempt.jobId,
      attemptId: attempt.id,
      epoch: attempt.epoch,
    };
    const lifetime = Math.max(settings.jobRegistrationTimeout, settings.setupTime) / 1000 + tokenLeeway;
    return {
      buildId: attempt.buildId,
      attemptId: attempt.id,
      epoch: attempt.epoch,
      namespace: attempt.repository.namespace,
      platform: attempt.platform,
      triesLeft: attempt.triesLeft,
      token: await tokens.issue(identity, Math.ceil(lifetime)),
      ...worker,
      maxLifetime: settings.machineMaxTime,
    };
  }

  async #giveBack(attempt: RunningAttempt, thrown: unknown): Promise<StartVerdict> {
    const { queue, clock, settings, logger, metrics } = this.#options;
    const code = thrown instanceof ExecutorError ? thrown.code : 'internal';
    const full = code === 'at-capacity';
    metrics.startFailed(code);
    const fields = { build: attempt.buildId, attempt: attempt.id, code, err: thrown };
    if (full) logger.debug(fields, 'every executor is full; the build waits');
    else if (code === 'refused') {
      logger.error(fields, 'no executor takes the build');
      const message = `${messageOf(thrown)} Then build again.`;
      return { kind: 'refused', fault: { code: 'workernotstarted', message } };
    } else logger.error(fields, 'no executor could start a worker; the build waits and is tried again');
    const availableAt = clock.now() + (full ? settings.capacityDelay : settings.startDelay);
    return (await queue.release(attempt.id, attempt.epoch, availableAt))
      ? { kind: 'released' }
      : { kind: 'stale' };
  }
}
