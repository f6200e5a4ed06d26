import { PgBoss } from 'pg-boss';
import { atOnce, type Contender, type Draining, execute, paced, Stopwatches } from './contender.ts';

const queue = 'builds';

/** pg-boss by its own calls: `send`, `insert`, `fetch` and `complete`, and a worker that NOTIFY wakes. */
export class PgBossContender implements Contender {
  readonly name = 'pg-boss';
  readonly #boss: PgBoss;
  readonly #url: string;

  private constructor(boss: PgBoss, url: string) {
    this.#boss = boss;
    this.#url = url;
  }

  static async open(url: string): Promise<PgBossContender> {
    const boss = new PgBoss({ connectionString: url, max: 10, useListenNotify: true });
    boss.on('error', (error) => {
      throw error;
    });
    await boss.start();
    await boss.createQueue(queue, { notify: true });
    return new PgBossContender(boss, url);
  }

  async enqueue(namespace: string): Promise<void> {
    await this.#boss.send(queue, { namespace });
  }

  async preload(jobs: number, namespaces: number): Promise<{ readonly claimable: boolean }> {
    const size = 1_000;
    await atOnce(Math.ceil(jobs / size), 2, async (n) => {
      const batch = Array.from({ length: size }, (_, each) => ({
        data: { namespace: `waiting-${(n * size + each) % namespaces}` },
        startAfter: 86_400,
      }));
      await this.#boss.insert(queue, batch);
    });
    return { claimable: false };
  }

  async drain(jobs: number, { loops, batch }: Draining): Promise<number> {
    await execute(this.#url, `update pgboss.job set start_after = now() where start_after > now()`);
    const begun = performance.now();
    let left = jobs;
    const loop = async () => {
      while (left > 0) {
        const batchSize = Math.min(batch, left);
        left -= batchSize;
        const claimed = await this.#boss.fetch(queue, { batchSize });
        left += batchSize - claimed.length;
        if (claimed.length > 0) {
          await this.#boss.complete(
            queue,
            claimed.map(({ id }) => id),
          );
        }
      }
    };
    await Promise.all(Array.from({ length: loops }, loop));
    return performance.now() - begun;
  }

  async latencies(jobs: number, perSecond: number): Promise<readonly number[]> {
    const watches = new Stopwatches(jobs);
    await this.#boss.work<{ name?: string }>(
      queue,
      {
        batchSize: 16,
        burstWhenBatchFull: true,
        pollingIntervalSeconds: 0.5,
        notifyPollingIntervalSeconds: 0.5,
      },
      async (claimed) => {
        for (const { data } of claimed) watches.claimed(data.name ?? '');
      },
    );
    await paced(jobs, perSecond, async (n) => {
      watches.sent(`job ${n}`, performance.now());
      await this.#boss.send(queue, { name: `job ${n}` }, { priority: 10 });
    });
    const times = await watches.times();
    await this.#boss.offWork(queue);
    return times;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#boss.stop({ graceful: false });
  }
}
