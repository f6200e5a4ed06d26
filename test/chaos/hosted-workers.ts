import { appendFileSync } from 'node:fs';
import { systemClock as clock } from '../../src/base/clock.ts';
import type { WorkerOrder, WorkerStatus } from '../../src/executor/executor.ts';
import { ManagerLink } from '../../src/rpc/manager-link.ts';
import { runAgent } from '../../src/worker/agent.ts';
import { exitStatus } from '../../src/worker/worker-end.ts';
import { Workspace } from '../../src/worker/workspace.ts';
import { AttemptEngine } from './attempt-engine.ts';
import type { HostedWorker, HostOrder } from './faulty-executor.ts';
import { attemptFaultsOf } from './schedule.ts';
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

/** Workers as the product's agent, each with a connection, a folder and an engine of its own, in this process. */
export class HostedWorkers {
  readonly #config: HostConfig;
  readonly #workers = new Map<string, Hosted>();
  readonly #wiretap: Wiretap;

  constructor(config: HostConfig) {
    this.#config = config;
    this.#wiretap = new Wiretap({
      front: `127.0.0.1:${config.doors[0]}`,
      acknowledged: (told) => appendFileSync(config.journal, `${JSON.stringify(told)}\n`),
    });
  }

  /** Idempotent by attempt, as every executor has to be. */
  start({ order, build }: HostOrder): void {
    const { attemptId, buildId } = order;
    const known = this.#workers.get(attemptId);
    if (known !== undefined && known.status.kind !== 'gone') return;
    const end = new AbortController();
    const hosted: Hosted = {
      worker: { attemptId, buildId },
      end,
      status: { kind: 'running' },
      over: this.#live(order, build, end).then((status) => {
        hosted.status = status;
      }),
    };
    this.#workers.set(attemptId, hosted);
  }

  async #live(order: WorkerOrder, build: number, end: AbortController): Promise<WorkerStatus> {
    const faults = attemptFaultsOf(this.#config.seed, build, order.epoch);
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
      this.#wiretap.listen(order.attemptId, faults);
      const { end: result, registered } = await this.#work(order, end.signal);
      if (killed) return { kind: 'gone', signal: 'SIGKILL', reason: 'The schedule says that it dies.' };
      const status = exitStatus(result, registered);
      return { kind: 'gone', exitCode: status, reason: `The worker exited with status ${status}.` };
    } catch (thrown) {
      if (end.signal.aborted)
        return { kind: 'gone', signal: killed ? 'SIGKILL' : 'SIGTERM', reason: 'It was ended.' };
      throw thrown;
    } finally {
      alive.abort();
      this.#wiretap.over(order.attemptId);
    }
  }

  async #work(order: WorkerOrder, signal: AbortSignal) {
    const { doors, folder, index } = this.#config;
    const door = doors[Number.parseInt(order.attemptId.slice(-8), 16) % doors.length];
    return await runAgent(
      {
        link: new ManagerLink({
          server: `127.0.0.1:${door}`,
          clock,
          log: (text) => console.log(`${new Date().toISOString()} ${order.attemptId} ${text}`),
        }),
        registrationToken: order.token,
        capabilities: {
          version: 'chaos',
          logBatches: true,
          pushesByDigest: true,
          engine: 'dummy',
          platform: 'linux/amd64',
        },
        loadEngine: async () => new AttemptEngine({ attemptId: order.attemptId, clock }),
        makeWorkspace: () => Workspace.create(undefined, folder),
        keepWorkspace: false,
        clock,
        log: (text) => console.log(`${new Date().toISOString()} ${order.attemptId} host ${index}: ${text}`),
      },
      signal,
    );
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
    await Promise.all([...this.#workers.keys()].map((attemptId) => this.stop(attemptId)));
    this.#wiretap.close();
  }
}
