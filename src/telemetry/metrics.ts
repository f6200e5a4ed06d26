import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** How many builds wait, run, and run without a manager that minds them. */
export interface QueueCounts {
  readonly queued: number;
  readonly running: number;
  readonly ownerless: number;
}

/**
 * Everything that is measured, in one Prometheus registry of its own. Names that begin with `quay_` are the ones
 * dashboards of the field already use; they keep their meaning. Label values are from closed sets: no repository, user
 * or build id ever becomes a label.
 */
export class Metrics {
  readonly #registry = new Registry();

  readonly buildsFinished: Counter<'executor' | 'job_status'>;
  readonly buildDuration: Histogram<'executor' | 'job_status'>;
  readonly buildAckDuration: Histogram<'executor'>;
  readonly buildRetries: Counter<'executor'>;
  readonly buildStartDuration: Histogram<'executor'>;
  readonly startFailures: Counter<'code'>;
  readonly leaseTakeovers: Counter;
  readonly epochsRefused: Counter;
  readonly logBytesReceived: Counter;
  readonly logBytesSent: Counter;
  readonly logReaders: Gauge;
  readonly uploadBytes: Counter;
  readonly queuePuts: Counter<'queue_name'>;
  readonly httpRequests: Counter<'method' | 'route' | 'status'>;
  readonly httpDuration: Histogram<'method' | 'route'>;

  constructor() {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    const seconds = [0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1200, 2400, 3600, 7200];
    this.buildsFinished = new Counter({
      name: 'quay_build_jobs_total',
      help: 'Attempts that ended, by result',
      labelNames: ['executor', 'job_status'],
      registers,
    });
    this.buildDuration = new Histogram({
      name: 'quay_build_duration_seconds',
      help: 'Seconds from the request of a build to its end',
      labelNames: ['executor', 'job_status'],
      buckets: seconds,
      registers,
    });
    this.buildAckDuration = new Histogram({
      name: 'quay_build_ack_duration_seconds',
      help: 'Seconds from the claim of an attempt to the registration of its worker',
      labelNames: ['executor'],
      buckets: [0.1, 0.2, ...seconds],
      registers,
    });
    this.buildRetries = new Counter({
      name: 'quay_build_fallback_total',
      help: 'Attempts that were started again',
      labelNames: ['executor'],
      registers,
    });
    this.buildStartDuration = new Histogram({
      name: 'quay_build_start_duration_seconds',
      help: 'Seconds an executor took to start a worker',
      labelNames: ['executor'],
      buckets: [0.05, 0.1, 0.2, ...seconds],
      registers,
    });
    this.startFailures = new Counter({
      name: 'slipway_worker_start_failures_total',
      help: 'Times no executor could start a worker, by the code of the error',
      labelNames: ['code'],
      registers,
    });
    this.leaseTakeovers = new Counter({
      name: 'slipway_lease_takeovers_total',
      help: 'Attempts that were taken over from managers that are gone',
      registers,
    });
    this.epochsRefused = new Counter({
      name: 'slipway_epochs_refused_total',
      help: 'Calls of workers under an epoch that is over',
      registers,
    });
    this.queuePuts = new Counter({
      name: 'quay_queue_item_puts_total',
      help: 'Builds that were put into the queue',
      labelNames: ['queue_name'],
      registers,
    });
    this.logBytesReceived = new Counter({
      name: 'slipway_log_received_bytes_total',
      help: 'Bytes of build logs that workers sent',
      registers,
    });
    this.logBytesSent = new Counter({
      name: 'slipway_log_sent_bytes_total',
      help: 'Bytes of build logs sent to readers',
      registers,
    });
    this.logReaders = new Gauge({
      name: 'slipway_log_readers',
      help: 'Open streams of build logs',
      registers,
    });
    this.uploadBytes = new Counter({
      name: 'slipway_upload_bytes_total',
      help: 'Bytes of uploads that were stored',
      registers,
    });
    this.httpRequests = new Counter({
      name: 'slipway_http_requests_total',
      help: 'Answered HTTP requests',
      labelNames: ['method', 'route', 'status'],
      registers,
    });
    this.httpDuration = new Histogram({
      name: 'slipway_http_request_duration_seconds',
      help: 'Seconds until an HTTP request was answered',
      labelNames: ['method', 'route'],
      buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10],
      registers,
    });
  }

  /** Adds the gauges of the build queue, which are read when the metrics are. Called once. */
  watchQueue(read: () => Promise<QueueCounts>): void {
    const registers = [this.#registry];
    // All of them are collected at once, and one reading serves all.
    let reading: Promise<QueueCounts> | undefined;
    const readOnce = (): Promise<QueueCounts> => {
      reading ??= read().finally(() => {
        reading = undefined;
      });
      return reading;
    };
    const gauge = (name: string, help: string, pick: (counts: QueueCounts) => number): void => {
      const made: Gauge<'queue_name'> = new Gauge({
        name,
        help,
        labelNames: ['queue_name'],
        registers,
        collect: async () => made.set({ queue_name: 'dockerfilebuild' }, pick(await readOnce())),
      });
    };
    gauge('quay_queue_items_available_unlocked', 'Builds that wait', ({ queued }) => queued);
    gauge(
      'quay_queue_items_available',
      'Builds that wait, or run without a manager',
      ({ queued, ownerless }) => queued + ownerless,
    );
    gauge('quay_queue_items_locked', 'Builds that run', ({ running, ownerless }) => running - ownerless);
  }

  /** The Prometheus text format and its content type. */
  async text(): Promise<{ readonly body: string; readonly contentType: string }> {
    return { body: await this.#registry.metrics(), contentType: this.#registry.contentType };
  }
}
