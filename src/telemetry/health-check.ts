import { randomUUID } from 'node:crypto';
import { statfs } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { type Clock, systemClock } from '../base/clock.ts';
import { messageOf } from '../base/coded-error.ts';

/** One part that must work. `check` throws, with a message for the operator, when it does not. */
export interface HealthCheck {
  readonly name: string;
  check(signal: AbortSignal): Promise<void>;
}

export interface HealthReport {
  readonly healthy: boolean;
  readonly services: Readonly<Record<string, boolean>>;
  /** Why, for the parts that do not work. */
  readonly problems: Readonly<Record<string, string>>;
}

/**
 * Runs all checks at once and gives each a time limit. An answer is kept for a moment, so that asking often costs
 * nothing; whoever asks meanwhile waits for the same run.
 */
export class HealthChecker {
  readonly #checks: readonly HealthCheck[];
  readonly #clock: Clock;
  readonly #timeout: number;
  readonly #keepFor: number;
  #last: { readonly at: number; readonly report: Promise<HealthReport> } | undefined;

  /** `timeout` and `keepFor` are milliseconds. */
  constructor(
    checks: readonly HealthCheck[],
    {
      clock = systemClock,
      timeout = 3_000,
      keepFor = 1_000,
    }: { readonly clock?: Clock; readonly timeout?: number; readonly keepFor?: number } = {},
  ) {
    this.#checks = checks;
    this.#clock = clock;
    this.#timeout = timeout;
    this.#keepFor = keepFor;
  }

  report(): Promise<HealthReport> {
    const now = this.#clock.now();
    if (this.#last === undefined || now - this.#last.at >= this.#keepFor)
      this.#last = { at: now, report: this.#run() };
    return this.#last.report;
  }

  async #run(): Promise<HealthReport> {
    const results = await Promise.all(
      this.#checks.map(async (check) => [check.name, await this.#problemOf(check)] as const),
    );
    const failed = results.filter((result): result is readonly [string, string] => result[1] !== undefined);
    return {
      healthy: failed.length === 0,
      services: Object.fromEntries(results.map(([name, problem]) => [name, problem === undefined])),
      problems: Object.fromEntries(failed),
    };
  }

  async #problemOf(check: HealthCheck): Promise<string | undefined> {
    const over = new AbortController();
    const limit = this.#clock
      .sleep(this.#timeout, over.signal)
      .then(() => `no answer in ${this.#timeout / 1000} s`)
      .catch(() => undefined);
    const answer = check.check(over.signal).then(
      () => undefined,
      (thrown: unknown) => messageOf(thrown),
    );
    const problem = await Promise.race([answer, limit]);
    over.abort();
    return problem;
  }
}

/** Fails when a blob cannot be stored, read and removed again. */
export function blobStoreCheck(
  blobs: {
    put(key: string, source: Readable, options: { limit: number; signal: AbortSignal }): Promise<unknown>;
    get(key: string): Promise<{ readonly size: number; readonly stream: Readable } | undefined>;
    remove(key: string): Promise<void>;
  },
  name = 'storage',
): HealthCheck {
  return {
    name,
    async check(signal) {
      const key = `health/${randomUUID()}`;
      await blobs.put(key, Readable.from([Buffer.from('ok')]), { limit: 2, signal });
      const found = await blobs.get(key);
      found?.stream.destroy();
      await blobs.remove(key);
      if (found?.size !== 2) throw new Error('what was stored a moment ago is not there');
    },
  };
}

/** Fails when the queue cannot be read, or builds run that no manager minds. */
export function queueCheck(queue: {
  counts(): Promise<{ readonly running: number; readonly ownerless: number }>;
}): HealthCheck {
  return {
    name: 'queue',
    async check() {
      const { ownerless } = await queue.counts();
      if (ownerless > 0) throw new Error(`${ownerless} builds run that no manager minds; is one up?`);
    },
  };
}

/** Fails while every executor fails that some build may run on: such builds wait. */
export function executorsCheck(fleet: {
  alerts(): Promise<readonly { readonly since: number; readonly message: string }[]>;
}): HealthCheck {
  return {
    name: 'executors',
    async check() {
      const [first] = [...(await fleet.alerts())].sort((one, other) => one.since - other.since);
      if (first !== undefined)
        throw new Error(`since ${new Date(first.since).toISOString()}: ${first.message}`);
    },
  };
}

/** Fails while the server behind the orchestrator cannot be reached. Builds go on without it, but slower to notice. */
export function orchestratorCheck(orchestrator: { readonly connected: boolean }): HealthCheck {
  return {
    name: 'redis',
    async check() {
      if (!orchestrator.connected) throw new Error('not connected; it is tried again all the time');
    },
  };
}

/** Fails when the file system of a folder has fewer than `minimumFree` bytes left for us. */
export function diskCheck(folder: string, minimumFree = 100 * 1024 ** 2): HealthCheck {
  return {
    name: 'disk_space',
    async check() {
      const { bavail, bsize } = await statfs(folder);
      const free = bavail * bsize;
      if (free < minimumFree)
        throw new Error(
          `only ${Math.floor(free / 1024 ** 2)} MiB are free where ${folder} lies; ${Math.floor(minimumFree / 1024 ** 2)} are needed`,
        );
    },
  };
}
