import type { Clock } from '../base/clock.ts';
import { unreachable } from '../base/unreachable.ts';
import type { Outcome } from '../model/attempt.ts';
import type { AttemptId } from '../model/ids.ts';
import type { Orchestrator } from '../orchestrator/orchestrator.ts';
import type { BuildQueue, Finished, FinishedBy, RunningAttempt } from '../queue/build-queue.ts';
import type { BuildEnd } from './build-end.ts';
import { BuildTraces } from './build-traces.ts';
import type { ManagerLog } from './manager-log.ts';
import { type ManagerMetrics, noExecutor } from './manager-metrics.ts';
import type { Publisher } from './publisher.ts';
import { retryDelayOf } from './retry-delay.ts';
import type { ManagerSettings } from './settings.ts';

export interface AttemptEndOptions {
  /** This manager's. */
  readonly name: string;
  readonly queue: BuildQueue;
  readonly orchestrator: Orchestrator;
  readonly end: BuildEnd;
  readonly publisher: Publisher;
  readonly clock: Clock;
  readonly settings: Pick<ManagerSettings, 'retryDelay'>;
  readonly logger: ManagerLog;
  readonly metrics: ManagerMetrics;
}

export interface EndOptions {
  readonly retryDelay?: number | undefined;
  readonly supervising?: boolean;
  readonly report?: FinishedBy['report'];
}

/**
 * The one way an attempt ends, whoever found out: the worker's own report, or the manager's reconciling. The queue
 * decides under the epoch who was first; everybody else learns `stale`, or `lost`, and changes nothing.
 */
export class AttemptEnd {
  readonly #options: AttemptEndOptions;
  readonly #traces: BuildTraces;
  readonly #listeners = new Set<(attemptId: AttemptId) => void>();

  constructor(options: AttemptEndOptions) {
    this.#options = options;
    this.#traces = new BuildTraces(options);
  }

  /**
   * `retryDelay`: milliseconds until the next attempt may begin, when there is to be one. `supervising`: it is what this
   * manager saw that ends the attempt; when another one looks after it by now the answer is `lost`.
   */
  async finish(
    attempt: Pick<RunningAttempt, 'id' | 'buildId' | 'epoch' | 'scheduledAt' | 'executor'>,
    outcome: Outcome,
    {
      retryDelay = retryDelayOf(outcome, attempt.epoch, this.#options.settings),
      supervising = false,
      report,
    }: EndOptions = {},
  ): Promise<Finished['kind']> {
    const { queue, orchestrator, metrics, logger, clock, name } = this.#options;
    const finished = await queue.finish(attempt.id, attempt.epoch, outcome, retryDelay, {
      publisher: name,
      ...(supervising ? { supervisor: name } : {}),
      ...(report === undefined ? {} : { report }),
    });
    if (finished.kind === 'lost') return finished.kind;
    if (finished.kind !== 'stale') {
      metrics.attemptFinished(
        attempt.executor ?? noExecutor,
        outcome.kind,
        clock.now() - attempt.scheduledAt,
      );
      const code = 'fault' in outcome ? outcome.fault.code : undefined;
      logger.info(
        {
          build: attempt.buildId,
          attempt: attempt.id,
          epoch: attempt.epoch,
          outcome: outcome.kind,
          code,
          next: finished.kind,
        },
        'attempt finished',
      );
      await this.#follow(attempt, outcome, finished);
      await this.#traces.ended(attempt.buildId, attempt.id);
      await orchestrator.forget(attempt.id);
    }
    for (const listener of [...this.#listeners]) listener(attempt.id);
    return finished.kind;
  }

  async #follow(
    { id, buildId, epoch, executor }: Pick<RunningAttempt, 'id' | 'buildId' | 'epoch' | 'executor'>,
    outcome: Outcome,
    finished: Finished,
  ): Promise<void> {
    const { end, publisher, metrics } = this.#options;
    switch (finished.kind) {
      case 'stale':
      case 'lost':
      case 'others-running':
        return;
      case 'publish':
        publisher.publish(buildId);
        return;
      case 'final':
        await end.end(finished.build);
        return;
      case 'retry': {
        metrics.retried(executor ?? noExecutor);
        await end.retry({ buildId, attemptId: id, epoch }, outcome, finished);
        return;
      }
      default:
        unreachable(finished);
    }
  }

  /** Calls `tell` whenever an attempt was found to be over by this manager. */
  onFinished(tell: (attemptId: AttemptId) => void): () => void {
    const own = (attemptId: AttemptId) => tell(attemptId);
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }
}
