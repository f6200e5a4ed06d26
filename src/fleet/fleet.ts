import type { TrialEvent } from '../executor/worker-trial.ts';
import type { QueueSurvey } from '../queue/queue-survey.ts';
import type { ExecutorReports } from './executor-reports.ts';
import type { ExecutorSwitches, SwitchPosition } from './executor-switches.ts';
import { FleetError } from './fleet-error.ts';
import { type ExecutorView, type FleetAlert, type FleetView, viewFleet } from './fleet-view.ts';

/** The executors of this server's own manager. */
export interface OwnExecutors {
  has(name: string): boolean;
  /** Tries one out; ends early when the signal fires. */
  trial(name: string, signal: AbortSignal): AsyncIterable<TrialEvent>;
}

export interface FleetOptions {
  readonly switches: ExecutorSwitches;
  readonly reports: ExecutorReports;
  readonly survey: () => Promise<Pick<QueueSurvey, 'workers'>>;
  /** Absent: this server does not build. */
  readonly own?: OwnExecutors;
}

/** The executors of all managers as superusers see and switch them. Any server can say and do the same. */
export class Fleet {
  readonly #options: FleetOptions;

  constructor(options: FleetOptions) {
    this.#options = options;
  }

  async view(): Promise<FleetView> {
    const { reports, switches, survey } = this.#options;
    const [reported, set, { workers }] = await Promise.all([reports.living(), switches.all(), survey()]);
    return viewFleet(reported, set, new Map(workers.map(({ executor, count }) => [executor, count])));
  }

  async alerts(): Promise<readonly FleetAlert[]> {
    return viewFleet(await this.#options.reports.living(), new Map(), new Map()).alerts;
  }

  /** From now on no manager gives it an order. What runs goes on. Throws FleetError `unknown-executor`. */
  async cordon(name: string, position: SwitchPosition, by: string): Promise<ExecutorView> {
    await this.#find(name);
    await this.#options.switches.set(name, position, by);
    return await this.#find(name);
  }

  /** Throws FleetError `unknown-executor`, or `configured` when its configuration cordons it. */
  async uncordon(name: string): Promise<ExecutorView> {
    const { rules } = await this.#find(name);
    if (rules.cordoned)
      throw new FleetError(
        'configured',
        `The configuration of executor ${name} has CORDONED: true. Take that out, and restart the servers.`,
      );
    await this.#options.switches.clear(name);
    return await this.#find(name);
  }

  /** Throws FleetError `unknown-executor` or `elsewhere` before anything is started. */
  async trial(name: string, signal: AbortSignal): Promise<AsyncIterable<TrialEvent>> {
    const { own } = this.#options;
    if (own?.has(name) === true) return own.trial(name, signal);
    const { managers } = await this.#find(name);
    throw new FleetError(
      'elsewhere',
      `This server does not have executor ${name}. Ask one that has it (--server): ${managers.join(', ')}.`,
    );
  }

  async #find(name: string): Promise<ExecutorView> {
    const { executors } = await this.view();
    const found = executors.find((executor) => executor.name === name);
    if (found !== undefined) return found;
    const names = executors.map((executor) => executor.name).join(', ');
    throw new FleetError(
      'unknown-executor',
      `There is no executor ${name}. ${names === '' ? 'No manager runs.' : `There are: ${names}.`}`,
    );
  }
}
