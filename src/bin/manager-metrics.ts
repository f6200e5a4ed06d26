import type { ExecutorErrorCode } from '../executor/executor-error.ts';
import type { StartResult } from '../executor/watched-executor.ts';
import type { ManagerMetrics } from '../manager/manager-metrics.ts';
import type { Outcome } from '../model/attempt.ts';
import { buildQueueName } from '../telemetry/live-gauges.ts';
import type { Metrics } from '../telemetry/metrics.ts';

/** The words that dashboards of the field know results by. */
const jobStatus: Readonly<Record<Outcome['kind'], string>> = {
  complete: 'complete',
  error: 'error',
  'internal-error': 'incomplete',
  cancelled: 'cancelled',
  expired: 'expired',
};

/** Writes what the manager tells into the Prometheus metrics. */
export function managerMetrics(metrics: Metrics): ManagerMetrics {
  const seconds = (milliseconds: number) => Math.max(0, milliseconds) / 1000;
  const queue_name = buildQueueName;
  return {
    claimed: (count) => {
      if (count === 0) metrics.queueGets.inc({ queue_name, availability: 'nonexistant' });
      else metrics.queueGets.inc({ queue_name, availability: 'acquired' }, count);
    },
    started: (executor, took) => metrics.buildStartDuration.observe({ executor }, seconds(took)),
    startFailed: (code) => metrics.startFailures.inc({ code }),
    registered: (executor, { took, waited }) => {
      metrics.buildAckDuration.observe({ executor }, seconds(took));
      metrics.buildQueueDuration.observe({ executor }, seconds(waited));
    },
    attemptFinished: (executor, outcome, took) => {
      const labels = { executor, job_status: jobStatus[outcome] };
      metrics.buildJobs.inc(labels);
      metrics.buildDuration.observe(labels, seconds(took));
    },
    retried: (executor) => metrics.buildRetries.inc({ executor }),
    logReceived: (bytes) => metrics.logBytesReceived.inc(bytes),
    buildFinished: (phase, took) => {
      metrics.buildsFinished.inc({ phase });
      metrics.buildTotalDuration.observe({ phase }, seconds(took));
    },
    publishFailed: () => metrics.publishFailures.inc(),
    adopted: (count) => metrics.leaseTakeovers.inc(count),
    refused: (reason) => metrics.epochsRefused.inc({ reason }),
  };
}

/** Writes how each start of an executor went. */
export function startMetrics(metrics: Metrics): (executor: string, result: StartResult) => void {
  return (executor, result) =>
    metrics.executorStarts.observe(
      { executor, result: result.kind === 'started' ? 'started' : result.code },
      result.took / 1000,
    );
}

/** Writes what a list of executors tells: who was passed over, and who could not start a worker. */
export function fallbackMetrics(
  metrics: Metrics,
): (executor: string, why: 'retries' | ExecutorErrorCode) => void {
  return (executor, why) => {
    if (why === 'retries') metrics.buildFallback.inc({ executor });
    else metrics.executorStartFailures.inc({ executor, code: why });
  };
}
