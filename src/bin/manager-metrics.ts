import type { ManagerMetrics } from '../manager/manager-metrics.ts';
import type { Metrics } from '../telemetry/metrics.ts';

/** Writes what the manager tells into the Prometheus metrics. */
export function managerMetrics(metrics: Metrics, executor: string): ManagerMetrics {
  const seconds = (milliseconds: number) => milliseconds / 1000;
  return {
    started: (name, took) => metrics.buildStartDuration.observe({ executor: name }, seconds(took)),
    startFailed: (code) => metrics.startFailures.inc({ code }),
    registered: (took) => metrics.buildAckDuration.observe({ executor }, seconds(took)),
    attemptFinished: (outcome) => metrics.buildsFinished.inc({ executor, job_status: outcome }),
    retried: () => metrics.buildRetries.inc({ executor }),
    logReceived: (bytes) => metrics.logBytesReceived.inc(bytes),
    buildFinished: (phase, took) =>
      metrics.buildDuration.observe({ executor, job_status: phase }, seconds(took)),
    adopted: (count) => metrics.leaseTakeovers.inc(count),
    refused: () => metrics.epochsRefused.inc(),
  };
}
