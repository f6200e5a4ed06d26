import { Counter, Gauge, type Registry } from 'prom-client';
import { type Clock, systemClock } from '../base/clock.ts';

/** The name that dashboards of the field know the queue of builds by. */
export const buildQueueName = 'dockerfilebuild';

/** How many builds wait, run, and run without a manager that minds them. */
export interface QueueCounts {
  readonly queued: number;
  readonly running: number;
  readonly ownerless: number;
}

/** What the jobs in the queue and out of it are at. */
export interface QueueSurvey {
  /** Milliseconds since the request of the build that has waited longest; absent when none waits. */
  readonly oldestWaiting?: number;
  /** Attempts by the phase that users see. */
  readonly jobs: readonly { readonly phase: string; readonly count: number }[];
  /** Workers by executor. */
  readonly workers: readonly { readonly executor: string; readonly count: number }[];
}

export interface PoolCounts {
  readonly idle: number;
  readonly busy: number;
  /** Queries that wait for a connection. */
  readonly waiting: number;
}

export interface ExecutorGauges {
  readonly executors: readonly {
    readonly name: string;
    readonly breaker: 'closed' | 'half-open' | 'open';
    readonly cordoned: boolean;
  }[];
  /** Alerts that no worker can be started. */
  readonly alerts: number;
}

const breakerStates = ['closed', 'half-open', 'open'] as const;

interface Source {
  readonly read: () => Promise<void>;
  readonly forget: () => void;
}

/** Milliseconds that a source may take; what it would have said is left out then. */
const patience = 3_000;

/**
 * Gauges whose values are read when the metrics are. A source that fails, or does not answer in time, leaves its
 * gauges out instead of showing old values, and is counted; the other metrics are shown all the same.
 */
export class LiveGauges {
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #sources = new Map<string, Source>();
  readonly #failures: Counter<'source'>;
  readonly #unlabelled = new Set<unknown>();
  #reading: Promise<void> | undefined;

  constructor(registry: Registry, clock: Clock = systemClock) {
    this.#registry = registry;
    this.#clock = clock;
    this.#failures = new Counter({
      name: 'slipway_metrics_read_failures_total',
      help: 'Times a source of metrics did not answer, by source',
      labelNames: ['source'],
      registers: [registry],
    });
  }

  /** The build queue as a whole; the same for all managers. */
  watchQueue(read: () => Promise<QueueCounts>): void {
    const unlocked = this.#gauge(
      'quay_queue_items_available_unlocked',
      'Builds that wait and that nobody minds',
      'queue_name',
    );
    const available = this.#gauge(
      'quay_queue_items_available',
      'Builds that wait, or run without a manager',
      'queue_name',
    );
    const locked = this.#gauge('quay_queue_items_locked', 'Builds that a manager minds', 'queue_name');
    const unowned = this.#gauge('slipway_builds_ownerless', 'Builds that run and that no manager minds');
    const queue_name = buildQueueName;
    this.#watch('queue', [unlocked, available, locked, unowned], async () => {
      const { queued, running, ownerless } = await read();
      unlocked.set({ queue_name }, queued);
      available.set({ queue_name }, queued + ownerless);
      locked.set({ queue_name }, running - ownerless);
      unowned.set(ownerless);
    });
  }

  /** What runs where, and how long the longest has waited; the same for all managers. */
  watchSurvey(
    read: () => Promise<QueueSurvey>,
    known: { readonly phases: readonly string[]; readonly executors: readonly string[] },
  ): void {
    const jobs = this.#gauge('quay_build_jobs', 'Attempts that wait or run now, by phase', 'job_status');
    const workers = this.#gauge('slipway_workers_running', 'Workers that run now', 'executor');
    const oldest = this.#gauge(
      'slipway_queue_oldest_waiting_seconds',
      'Seconds since the request of the build that has waited longest; 0 when none waits',
    );
    this.#watch('survey', [jobs, workers, oldest], async () => {
      const survey = await read();
      jobs.reset();
      workers.reset();
      // A series that is there from the start is one that alerts can be made of.
      for (const job_status of known.phases) jobs.set({ job_status }, 0);
      for (const executor of known.executors) workers.set({ executor }, 0);
      for (const { phase, count } of survey.jobs) jobs.set({ job_status: phase }, count);
      for (const { executor, count } of survey.workers) workers.set({ executor }, count);
      oldest.set((survey.oldestWaiting ?? 0) / 1000);
    });
  }

  /** Whether this process is connected to the orchestrator. */
  watchOrchestrator(connected: () => boolean): void {
    const gauge = this.#gauge('slipway_orchestrator_connected', '1 while connected to the orchestrator');
    this.#watch('orchestrator', [gauge], async () => gauge.set(connected() ? 1 : 0));
  }

  /** Logs that wait for the archive; the same for all managers. */
  watchArchive(waiting: () => Promise<number>): void {
    const gauge = this.#gauge(
      'slipway_logs_unarchived',
      'Logs of builds that are over and that are not in the archive yet',
    );
    this.#watch('archive', [gauge], async () => gauge.set(await waiting()));
  }

  /** The connections of this process to the database. */
  watchPool(read: () => PoolCounts): void {
    const connections = this.#gauge('slipway_database_connections', 'Connections to the database', 'state');
    const waiting = this.#gauge(
      'slipway_database_queries_waiting',
      'Queries that wait for a connection to the database',
    );
    this.#watch('database', [connections, waiting], async () => {
      const pool = read();
      connections.set({ state: 'idle' }, pool.idle);
      connections.set({ state: 'busy' }, pool.busy);
      waiting.set(pool.waiting);
    });
  }

  /** The executors of this process, and whether all fail. */
  watchExecutors(read: () => Promise<ExecutorGauges>): void {
    const breaker = this.#gauge(
      'slipway_executor_breaker',
      '1 for the state that the circuit breaker of an executor is in, 0 for the others',
      'executor',
      'state',
    );
    const cordoned = this.#gauge(
      'slipway_executor_cordoned',
      '1 while an executor takes no new builds because somebody cordoned or drains it',
      'executor',
    );
    const failing = this.#gauge(
      'slipway_executors_failing',
      'Alerts that every executor fails that some build may run on',
    );
    this.#watch('executors', [breaker, cordoned, failing], async () => {
      const { executors, alerts } = await read();
      for (const executor of executors) {
        for (const state of breakerStates)
          breaker.set({ executor: executor.name, state }, executor.breaker === state ? 1 : 0);
        cordoned.set({ executor: executor.name }, executor.cordoned ? 1 : 0);
      }
      failing.set(alerts);
    });
  }

  /** Attempts that the manager in this process minds. */
  watchManager(supervising: () => number): void {
    const gauge = this.#gauge('slipway_manager_attempts', 'Attempts that this manager minds');
    this.#watch('manager', [gauge], async () => gauge.set(supervising()));
  }

  /** Reads every source once, whoever else asks meanwhile. */
  read(): Promise<void> {
    this.#reading ??= this.#readAll().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #readAll(): Promise<void> {
    await Promise.all(
      [...this.#sources].map(async ([name, source]) => {
        if (await this.#inTime(source)) return;
        source.forget();
        this.#failures.inc({ source: name });
      }),
    );
  }

  async #inTime(source: Source): Promise<boolean> {
    const over = new AbortController();
    const limit = this.#clock.sleep(patience, over.signal).then(
      () => false,
      () => false,
    );
    const answer = source.read().then(
      () => true,
      () => false,
    );
    const inTime = await Promise.race([answer, limit]);
    over.abort();
    return inTime;
  }

  #gauge<Label extends string>(name: string, help: string, ...labelNames: Label[]): Gauge<Label> {
    const gauge = new Gauge({ name, help, labelNames, registers: [this.#registry] });
    if (labelNames.length === 0) this.#unlabelled.add(gauge);
    return gauge;
  }

  #watch<Label extends string>(
    name: string,
    gauges: readonly Gauge<Label>[],
    read: () => Promise<void>,
  ): void {
    if (this.#sources.has(name)) throw new TypeError(`the metrics of "${name}" have a source already`);
    this.#sources.set(name, {
      read,
      forget: () => {
        for (const gauge of gauges) {
          gauge.reset();
          // It would show 0 otherwise.
          if (this.#unlabelled.has(gauge)) gauge.remove();
        }
      },
    });
  }
}
