import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { LiveGauges } from './live-gauges.ts';

/**
 * Everything that is measured, in one Prometheus registry of its own. Names that begin with `quay_` are those that
 * dashboards of the field already use, with the labels and the meaning they have there. Label values are from closed
 * sets: no repository, user or build id ever becomes a label. What is counted here is counted by this process; what
 * `live` reads from the database is the same for all managers of a cluster.
 */
export class Metrics {
  readonly #registry = new Registry();

  readonly buildJobs: Counter<'executor' | 'job_status'>;
  readonly buildDuration: Histogram<'executor' | 'job_status'>;
  readonly buildAckDuration: Histogram<'executor'>;
  readonly buildQueueDuration: Histogram<'executor'>;
  readonly buildStartDuration: Histogram<'executor'>;
  readonly buildFallback: Counter<'executor'>;
  readonly queuePuts: Counter<'queue_name'>;
  readonly queueGets: Counter<'queue_name' | 'availability'>;
  readonly buildsFinished: Counter<'phase'>;
  readonly buildTotalDuration: Histogram<'phase'>;
  readonly buildRetries: Counter<'executor'>;
  readonly startFailures: Counter<'code'>;
  readonly executorStartFailures: Counter<'executor' | 'code'>;
  readonly executorStarts: Histogram<'executor' | 'result'>;
  readonly publishFailures: Counter;
  readonly leaseTakeovers: Counter;
  readonly epochsRefused: Counter<'reason'>;
  readonly logBytesReceived: Counter;
  readonly logBytesSent: Counter;
  readonly logReaders: Gauge;
  readonly uploadBytes: Counter;
  readonly triggerDeliveries: Counter<'outcome'>;
  readonly commitStatuses: Counter<'result'>;
  readonly triggersDisabled: Counter<'reason'>;
  readonly httpRequests: Counter<'method' | 'route' | 'status'>;
  readonly httpDuration: Histogram<'method' | 'route'>;
  /** What is read at the moment the metrics are. */
  readonly live: LiveGauges;

  constructor() {
    collectDefaultMetrics({ register: this.#registry });
    const registers = [this.#registry];
    const counter = <Label extends string>(name: string, help: string, ...labelNames: Label[]) =>
      new Counter<Label>({ name, help, labelNames, registers });
    const histogram = <Label extends string>(
      name: string,
      help: string,
      buckets: number[],
      ...labelNames: Label[]
    ) => new Histogram<Label>({ name, help, buckets, labelNames, registers });
    const seconds = [0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1200, 2400, 3600, 7200];

    this.buildJobs = counter(
      'quay_build_jobs_total',
      'Attempts that ended, by result',
      'executor',
      'job_status',
    );
    this.buildDuration = histogram(
      'quay_build_duration_seconds',
      'Seconds from the claim of an attempt to its end',
      seconds,
      'executor',
      'job_status',
    );
    this.buildAckDuration = histogram(
      'quay_build_ack_duration_seconds',
      'Seconds from the claim of an attempt to the registration of its worker',
      [0.1, 0.2, ...seconds],
      'executor',
    );
    this.buildQueueDuration = histogram(
      'quay_build_queue_duration_seconds',
      'Seconds an attempt waited in the queue until it was claimed',
      [0.05, 0.1, 0.2, ...seconds],
      'executor',
    );
    this.buildStartDuration = histogram(
      'quay_build_start_duration_seconds',
      'Seconds an executor took to start a worker',
      [0.05, 0.1, 0.2, ...seconds],
      'executor',
    );
    this.buildFallback = counter(
      'quay_build_fallback_total',
      'Times an executor was passed over because the build had fewer tries left than its MINIMUM_RETRY_THRESHOLD',
      'executor',
    );
    this.queuePuts = counter(
      'quay_queue_item_puts_total',
      'Builds that were put into the queue',
      'queue_name',
    );
    this.queueGets = counter(
      'quay_queue_item_gets_total',
      'Attempts that were claimed (acquired), and times there was nothing to claim (nonexistant)',
      'queue_name',
      'availability',
    );
    this.buildsFinished = counter('slipway_builds_finished_total', 'Builds that ended, by phase', 'phase');
    this.buildTotalDuration = histogram(
      'slipway_build_total_duration_seconds',
      'Seconds from the request of a build to its end, all of its tries included',
      seconds,
      'phase',
    );
    this.buildRetries = counter(
      'slipway_build_retries_total',
      'Attempts that failed and that another one took the place of',
      'executor',
    );
    this.startFailures = counter(
      'slipway_worker_start_failures_total',
      'Times no executor could start a worker, by the code of the error',
      'code',
    );
    this.executorStartFailures = counter(
      'slipway_executor_start_failures_total',
      'Times one executor could not start a worker and the next was asked',
      'executor',
      'code',
    );
    this.executorStarts = histogram(
      'slipway_executor_start_seconds',
      'Seconds each executor took to start a worker, or to fail at it, by result: started, or the code of the error',
      [0.05, 0.1, 0.2, ...seconds],
      'executor',
      'result',
    );
    this.publishFailures = counter(
      'slipway_publish_failures_total',
      'Times the tags of a finished image could not be written',
    );
    this.leaseTakeovers = counter(
      'slipway_lease_takeovers_total',
      'Attempts that were taken over from managers that are gone',
    );
    this.epochsRefused = counter(
      'slipway_epochs_refused_total',
      'Calls of workers whose attempt is not current',
      'reason',
    );
    this.logBytesReceived = counter(
      'slipway_log_received_bytes_total',
      'Bytes of build logs that workers sent',
    );
    this.logBytesSent = counter('slipway_log_sent_bytes_total', 'Bytes of build logs sent to readers');
    this.logReaders = new Gauge({
      name: 'slipway_log_readers',
      help: 'Open streams of build logs',
      registers,
    });
    this.uploadBytes = counter('slipway_upload_bytes_total', 'Bytes of uploads that were stored');
    this.triggerDeliveries = counter(
      'slipway_trigger_deliveries_total',
      'Deliveries to build triggers: as they came in (waiting, skipped, refused, forbidden, repeated) and as they ended (queued, skipped, refused, failed)',
      'outcome',
    );
    this.commitStatuses = counter(
      'slipway_commit_statuses_total',
      'Commit statuses for git hosts: sent, failed (tried again) and dropped',
      'result',
    );
    this.triggersDisabled = counter(
      'slipway_triggers_disabled_total',
      'Build triggers that were switched off because their builds failed again and again',
      'reason',
    );
    this.httpRequests = counter(
      'slipway_http_requests_total',
      'Answered HTTP requests',
      'method',
      'route',
      'status',
    );
    this.httpDuration = histogram(
      'slipway_http_request_duration_seconds',
      'Seconds until an HTTP request was answered',
      [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10],
      'method',
      'route',
    );
    this.live = new LiveGauges(this.#registry);
  }

  /** The Prometheus text format and its content type. */
  async text(): Promise<{ readonly body: string; readonly contentType: string }> {
    await this.live.read();
    return { body: await this.#registry.metrics(), contentType: this.#registry.contentType };
  }
}
