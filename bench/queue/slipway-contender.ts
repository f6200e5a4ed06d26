import { randomBytes } from 'node:crypto';
import { Database, type DatabaseOptions } from '../../src/db/database.ts';
import { SecretBox } from '../../src/db/secret-box.ts';
import type { BuildRequest } from '../../src/model/build.ts';
import { escapeTag } from '../../src/model/tag.ts';
import type { RunningAttempt } from '../../src/queue/build-queue.ts';
import { SqlBuildQueue } from '../../src/queue/sql-build-queue.ts';
import { atOnce, type Contender, type Draining, paced, Stopwatches } from './contender.ts';

const capacity = 1_000_000;
const lease = 300_000;
const repositories = 10;

/**
 * Slipway's queue: one queue object enqueues, another one is the manager's, each with connections of its own on
 * PostgreSQL. On SQLite they are one, as in `slipway up`. Nothing is to be pushed, so
 * a build is completed by `finish`.
 */
export class SlipwayContender implements Contender {
  readonly name: string;
  readonly #front: SqlBuildQueue;
  readonly #manager: SqlBuildQueue;
  readonly #databases: readonly Database[];
  #made = 0;

  private constructor(
    name: string,
    databases: readonly Database[],
    queues: readonly [SqlBuildQueue, SqlBuildQueue],
  ) {
    this.name = name;
    this.#databases = databases;
    [this.#front, this.#manager] = queues;
  }

  static async open(name: string, options: DatabaseOptions): Promise<SlipwayContender> {
    const box = { secretBox: new SecretBox({ key: randomBytes(32) }) };
    const first = await Database.open(options);
    const manager = new SqlBuildQueue(first, box);
    await manager.start();
    if (options.provider === 'sqlite') return new SlipwayContender(name, [first], [manager, manager]);
    const second = await Database.open(options);
    return new SlipwayContender(name, [first, second], [new SqlBuildQueue(second, box), manager]);
  }

  async enqueue(namespace: string): Promise<void> {
    this.#made += 1;
    await this.#front.enqueue(request(namespace, `app-${this.#made}`, 0));
  }

  /** Each namespace has ten repositories: a tenth of the builds may be claimed at once, the others wait for a place. */
  async preload(jobs: number, namespaces: number): Promise<{ readonly claimable: boolean }> {
    await atOnce(jobs, 512, async (n) => {
      const repository = Math.floor(n / namespaces) % repositories;
      await this.#front.enqueue(request(`waiting-${n % namespaces}`, `app-${repository}`, 0));
    });
    return { claimable: true };
  }

  async drain(jobs: number, { loops, batch }: Draining): Promise<number> {
    const begun = performance.now();
    let left = jobs;
    const loop = async () => {
      while (left > 0) {
        const limit = Math.min(batch, left);
        left -= limit;
        const claimed = await this.#manager.claim({ manager: 'bench', limit, capacity, lease });
        left += limit - claimed.length;
        await Promise.all(claimed.map((attempt) => this.#complete(attempt)));
      }
    };
    await Promise.all(Array.from({ length: loops }, loop));
    return performance.now() - begun;
  }

  async #complete({ id, epoch, buildId }: RunningAttempt): Promise<void> {
    const finished = await this.#manager.finish(id, epoch, { kind: 'complete' }, 0);
    if (finished.kind !== 'final') throw new Error(`the build ${buildId} was lost: ${finished.kind}`);
  }

  /** As a manager waits for work: woken by the change, it claims one build; urgent ones come first. */
  async latencies(jobs: number, perSecond: number): Promise<readonly number[]> {
    const watches = new Stopwatches(jobs);
    const completed: Promise<void>[] = [];
    const claimOne = async () => {
      const claimed = await this.#manager.claim({ manager: 'bench', limit: 1, capacity, lease });
      for (const attempt of claimed) {
        watches.claimed(`${attempt.repository.namespace}/${attempt.repository.name}`);
        completed.push(this.#complete(attempt));
      }
    };
    const failed = Promise.withResolvers<never>();
    const urgent = new Set<string>();
    const end = this.#manager.onChange(({ kind, buildId }) => {
      if (kind === 'queued' && !urgent.has(buildId)) {
        urgent.add(buildId);
        claimOne().catch(failed.reject);
      }
    });
    await paced(jobs, perSecond, async (n) => {
      this.#made += 1;
      const namespace = `waiting-${n % 1000}`;
      const repository = `urgent-${this.#made}`;
      watches.sent(`${namespace}/${repository}`, performance.now());
      await this.#front.enqueue(request(namespace, repository, 10));
    });
    const times = await Promise.race([watches.times(), failed.promise]);
    end();
    await Promise.all(completed);
    return times;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#front.stop();
    await this.#manager.stop();
    for (const database of this.#databases) await database.stop();
  }
}

function request(namespace: string, name: string, priority: number): BuildRequest {
  return {
    repository: { namespace, name },
    source: { kind: 'archive', url: 'https://example.com/source.tar.gz' },
    context: '/',
    dockerfilePath: '/Dockerfile',
    tags: [escapeTag('latest')],
    displayName: 'source.tar.gz',
    platforms: [],
    buildArgs: {},
    labels: {},
    noCache: false,
    push: false,
    priority,
  };
}
