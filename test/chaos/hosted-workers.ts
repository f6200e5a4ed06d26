import { systemClock as clock } from '../../src/base/clock.ts';
import type { WorkerStatus } from '../../src/executor/executor.ts';
import { exitStatus } from '../../src/worker/worker-end.ts';
import { doorOf, runAgentOf } from './agent-life.ts';
import type { HostedWorker, HostOrder } from './faulty-executor.ts';
import { journalTo } from './journal.ts';
import { liveAsProcess } from './process-life.ts';
import { liveAsReference, speakLateAsReference } from './reference-life.ts';
import { type AttemptFaults, attemptFaultsOf, natureOf } from './schedule.ts';
import { Wiretap } from './wiretap.ts';

/** What a worker host is told, as JSON in the file its first argument names. */
export interface HostConfig {
  readonly index: number;
  readonly seed: number;
  readonly port: number;
  /** Ports of the proxy before the managers; each worker takes one, so that not all share one connection. */
  readonly doors: readonly number[];
  /** For the folders of workers. */
  readonly folder: string;
  /** One line of JSON for each acknowledgement (see Acknowledged). Outlives this process. */
  readonly journal: string;
}

interface Hosted {
  readonly worker: HostedWorker;
  readonly end: AbortController;
  readonly over: Promise<void>;
  status: WorkerStatus;
}

/**
 * Workers, each with a connection and a folder of its own: the product's agent in this process or in one of its own,
 * or a worker that knows only the shared protocol.
 */
export class HostedWorkers {
  readonly #config: HostConfig;
  readonly #workers = new Map<string, Hosted>();
  readonly #wiretap: Wiretap;
  readonly #closing = new AbortController();

  constructor(config: HostConfig) {
    this.#config = config;
    this.#wiretap = new Wiretap({
      front: `127.0.0.1:${config.doors[0]}`,
      acknowledged: journalTo(config.journal),
    });
  }

  /** Idempotent by attempt, as every executor has to be. */
  start(hostOrder: HostOrder): void {
    const { attemptId, buildId } = hostOrder.order;
    const known = this.#workers.get(attemptId);
    if (known !== undefined && known.status.kind !== 'gone') return;
    const end = new AbortController();
    const hosted: Hosted = {
      worker: { attemptId, buildId },
      end,
      status: { kind: 'running' },
      over: this.#live(hostOrder, end).then((status) => {
        hosted.status = status;
      }),
    };
    this.#workers.set(attemptId, hosted);
  }

  async #live(hosted: HostOrder, end: AbortController): Promise<WorkerStatus> {
    const faults = attemptFaultsOf(this.#config.seed, hosted.build, hosted.order.epoch);
    const { worker } = faults;
    const alive = new AbortController();
    let killed = false;
    try {
      if (worker.kind === 'begins-late') await clock.sleep(worker.after, end.signal);
      if (worker.kind === 'never-registers') await clock.sleep(2 ** 31 - 1, end.signal);
      if (worker.kind === 'dies') {
        clock.sleep(worker.after, alive.signal).then(
          () => {
            killed = true;
            end.abort();
          },
          () => {},
        );
      }
      const status = await this.#liveAs(hosted, faults, end.signal);
      if (killed) return { kind: 'gone', signal: 'SIGKILL', reason: 'The schedule says that it dies.' };
      return status;
    } catch (thrown) {
      if (end.signal.aborted)
        return { kind: 'gone', signal: killed ? 'SIGKILL' : 'SIGTERM', reason: 'It was ended.' };
      throw thrown;
    } finally {
      alive.abort();
    }
  }

  async #liveAs(hosted: HostOrder, faults: AttemptFaults, signal: AbortSignal): Promise<WorkerStatus> {
    // One that pushes because it knows nothing else cannot carry out a build that is not to be pushed.
    const pushes = natureOf(this.#config.seed, hosted.build) !== 'unpushed';
    const body = faults.body === 'reference' && !pushes ? 'agent' : faults.body;
    switch (body) {
      case 'agent':
        return await this.#liveAsAgent(hosted, faults, signal);
      case 'process':
        return await liveAsProcess({ hosted, config: this.#config }, faults.process, signal);
      case 'reference':
        return await this.#liveAsReference(hosted, faults, signal);
    }
  }

  async #liveAsAgent(
    { order }: HostOrder,
    faults: AttemptFaults,
    signal: AbortSignal,
  ): Promise<WorkerStatus> {
    this.#wiretap.listen(order.attemptId, faults);
    try {
      const { end, registered } = await runAgentOf({ order, config: this.#config, version: 'chaos' }, signal);
      const status = exitStatus(end, registered);
      return { kind: 'gone', exitCode: status, reason: `The worker exited with status ${status}.` };
    } finally {
      this.#wiretap.over(order.attemptId);
    }
  }

  async #liveAsReference(
    { order }: HostOrder,
    { lateReports }: AttemptFaults,
    signal: AbortSignal,
  ): Promise<WorkerStatus> {
    const door = doorOf(order, this.#config.doors);
    const acknowledged = journalTo(this.#config.journal);
    const { status, completed } = await liveAsReference({ order, door, acknowledged }, signal);
    if (completed !== undefined && lateReports !== undefined) {
      // Whoever is not there any more, or is cut off, says nothing; the log check finds out what must not be there.
      clock
        .sleep(lateReports, this.#closing.signal)
        .then(() => speakLateAsReference(door, completed, order.attemptId))
        .catch(() => {});
    }
    return status;
  }

  async stop(attemptId: string): Promise<void> {
    const hosted = this.#workers.get(attemptId);
    hosted?.end.abort();
    await hosted?.over;
  }

  status(attemptId: string): WorkerStatus {
    return (
      this.#workers.get(attemptId)?.status ?? {
        kind: 'gone',
        reason: 'Its host knows no such worker any more.',
      }
    );
  }

  running(): readonly HostedWorker[] {
    return [...this.#workers.values()]
      .filter(({ status }) => status.kind !== 'gone')
      .map(({ worker }) => worker);
  }

  async stopAll(): Promise<void> {
    this.#closing.abort();
    await Promise.all([...this.#workers.keys()].map((attemptId) => this.stop(attemptId)));
    this.#wiretap.close();
  }
}
