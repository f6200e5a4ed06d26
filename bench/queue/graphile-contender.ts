import { Logger, makeWorkerUtils, run, type WorkerUtils } from 'graphile-worker';
import { atOnce, type Contender, type Draining, execute, paced, Stopwatches } from './contender.ts';

const task = 'build';
const quiet = new Logger(() => () => {});

/**
 * graphile-worker by its own calls. It offers no claim by hand, so emptying the queue means to run its workers: as many
 * at once as loops times batch, with its local queue as large as that.
 */
export class GraphileContender implements Contender {
  readonly name = 'graphile-worker';
  readonly #utils: WorkerUtils;
  readonly #url: string;

  private constructor(utils: WorkerUtils, url: string) {
    this.#utils = utils;
    this.#url = url;
  }

  static async open(url: string): Promise<GraphileContender> {
    const utils = await makeWorkerUtils({ connectionString: url, logger: quiet });
    await utils.migrate();
    return new GraphileContender(utils, url);
  }

  async enqueue(namespace: string): Promise<void> {
    await this.#utils.addJob(task, { namespace });
  }

  async preload(jobs: number, namespaces: number): Promise<{ readonly claimable: boolean }> {
    const size = 1_000;
    const runAt = new Date(Date.now() + 86_400_000);
    await atOnce(Math.ceil(jobs / size), 2, async (n) => {
      const batch = Array.from({ length: size }, (_, each) => ({
        identifier: task,
        payload: { namespace: `waiting-${(n * size + each) % namespaces}` },
        runAt,
      }));
      await this.#utils.addJobs(batch);
    });
    return { claimable: false };
  }

  async drain(jobs: number, { loops, batch }: Draining): Promise<number> {
    await execute(this.#url, `update graphile_worker._private_jobs set run_at = now() where run_at > now()`);
    const done = Promise.withResolvers<void>();
    let left = jobs;
    const begun = performance.now();
    const runner = await this.#run(loops * batch, batch, () => {
      left -= 1;
      if (left === 0) done.resolve();
    });
    await done.promise;
    const took = performance.now() - begun;
    await runner.stop();
    return took;
  }

  #run(concurrentJobs: number, batch: number, claimed: (name: string) => void) {
    return run({
      taskList: {
        [task]: async (payload) => claimed(String((payload as { name?: string }).name)),
      },
      preset: {
        worker: {
          connectionString: this.#url,
          concurrentJobs,
          maxPoolSize: 10,
          pollInterval: 1_000,
          logger: quiet,
          ...(batch > 1
            ? { localQueue: { size: concurrentJobs }, completeJobBatchDelay: 0, failJobBatchDelay: 0 }
            : {}),
        },
      },
    });
  }

  async latencies(jobs: number, perSecond: number): Promise<readonly number[]> {
    const watches = new Stopwatches(jobs);
    const runner = await this.#run(4, 1, (name) => watches.claimed(name));
    await paced(jobs, perSecond, async (n) => {
      watches.sent(`job ${n}`, performance.now());
      await this.#utils.addJob(task, { name: `job ${n}` }, { priority: -10 });
    });
    const times = await watches.times();
    await runner.stop();
    return times;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#utils.release();
  }
}
