import { randomBytes } from 'node:crypto';
import { Client } from 'pg';

/** How a queue is emptied: so many loops at once, each of which takes so many jobs, completes them and goes on. */
export interface Draining {
  readonly loops: number;
  readonly batch: number;
}

/**
 * A queue to be measured, over a database of its own. A job belongs to a namespace; only Slipway makes namespaces take
 * turns.
 */
export interface Contender extends AsyncDisposable {
  readonly name: string;
  /** One job by one call, as a request makes one. */
  enqueue(namespace: string): Promise<void>;
  /**
   * Jobs that wait, in that many namespaces. `claimable`: whether they may be claimed while latency is measured; where
   * not, they are by the time of `drain`.
   */
  preload(jobs: number, namespaces: number): Promise<{ readonly claimable: boolean }>;
  /** Claims and completes that many jobs; milliseconds it took. */
  drain(jobs: number, how: Draining): Promise<number>;
  /** Milliseconds from the call that enqueues to the moment a worker has the job; urgent jobs, evenly spread in time. */
  latencies(jobs: number, perSecond: number): Promise<readonly number[]>;
}

/** A database of one contender, dropped at the end. */
export async function scratchDatabase(server: string): Promise<{ url: string } & AsyncDisposable> {
  const name = `bench_${randomBytes(6).toString('hex')}`;
  await execute(server, `create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return {
    url: url.href,
    [Symbol.asyncDispose]: () => drop(server, name),
  };
}

/** Peers say that they have stopped while their pools still close; a connection that is cut then ends this process. */
async function drop(server: string, name: string): Promise<void> {
  for (let tries = 0; tries < 50; tries += 1) {
    try {
      return await execute(server, `drop database ${name}`);
    } catch (thrown) {
      if ((thrown as { code?: string }).code !== '55006') throw thrown;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  await execute(server, `drop database ${name} with (force)`);
}

export async function execute(url: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

/** Calls `send` at an even pace, whatever it takes, and resolves when all calls have. */
export async function paced(
  jobs: number,
  perSecond: number,
  send: (n: number) => Promise<void>,
): Promise<void> {
  const begun = performance.now();
  const sent: Promise<void>[] = [];
  for (let n = 0; n < jobs; n += 1) {
    const wait = begun + (n * 1000) / perSecond - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    sent.push(send(n));
  }
  await Promise.all(sent);
}

/** Runs `work` for 0 … count − 1, so many at once. */
export async function atOnce(count: number, most: number, work: (n: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) {
      const n = next;
      next += 1;
      await work(n);
    }
  };
  await Promise.all(Array.from({ length: most }, worker));
}

/** A moment each for jobs that are known by name: when it was sent, and how long until it was claimed. */
export class Stopwatches {
  readonly #sent = new Map<string, number>();
  readonly #times: number[] = [];
  readonly #all = Promise.withResolvers<void>();
  readonly #expected: number;

  constructor(expected: number) {
    this.#expected = expected;
  }

  sent(name: string, at: number): void {
    this.#sent.set(name, at);
  }

  /** False: not one of those that are measured. */
  claimed(name: string): boolean {
    const at = this.#sent.get(name);
    if (at === undefined) return false;
    this.#sent.delete(name);
    this.#times.push(performance.now() - at);
    if (this.#times.length === this.#expected) this.#all.resolve();
    return true;
  }

  async times(): Promise<readonly number[]> {
    await this.#all.promise;
    return this.#times;
  }
}
