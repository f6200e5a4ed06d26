import type { Clock } from '../base/clock.ts';
import type { FleetReport } from './executor-report.ts';
import type { ExecutorReports } from './executor-reports.ts';

export interface FleetReporterOptions {
  readonly manager: string;
  readonly reports: ExecutorReports;
  readonly collect: () => Promise<FleetReport>;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
}

/** Milliseconds between two looks, and after which a report is written though it says nothing new. */
const every = 5_000;
const freshFor = 30_000;

/** Writes down how one manager finds its executors: at once when `changed` says so, else when a look finds it changed. */
export class FleetReporter {
  readonly #options: FleetReporterOptions;
  readonly #stopping = new AbortController();
  #hurry = new AbortController();
  #loop: Promise<void> | undefined;
  #written = '';
  #writtenAt = Number.NEGATIVE_INFINITY;

  constructor(options: FleetReporterOptions) {
    this.#options = options;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  changed(): void {
    this.#hurry.abort();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    if (this.#loop === undefined) return;
    await this.#loop;
    const { reports, manager, onError } = this.#options;
    await reports.remove(manager).catch(onError);
  }

  async #run(): Promise<void> {
    const { clock, onError } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      this.#hurry = new AbortController();
      await this.report().catch(onError);
      await clock.sleep(every, AbortSignal.any([signal, this.#hurry.signal])).catch(() => {});
    }
  }

  /** Writes it now, when it says something new or is not fresh any more. */
  async report(): Promise<void> {
    const { clock, collect, reports, manager } = this.#options;
    const report = await collect();
    const text = JSON.stringify(report);
    const age = clock.now() - this.#writtenAt;
    if (text === this.#written && age >= 0 && age < freshFor) return;
    await reports.write(manager, report);
    this.#written = text;
    this.#writtenAt = clock.now();
  }
}
