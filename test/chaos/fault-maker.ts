import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster } from './cluster.ts';
import { Disturbances } from './disturbances.ts';
import { Random } from './random.ts';
import { describeFault, type Schedule, type TimedFault } from './schedule.ts';

const retireLimit = 20_000;

/** Does to a cluster what the schedule says, and puts everything in order again at its end. */
export class FaultMaker {
  readonly #cluster: Cluster;
  readonly #schedule: Schedule;
  readonly #log: (line: string) => void;
  readonly #under = new Set<Promise<void>>();
  /** What happened beside the schedule: for the report. */
  readonly failures: string[] = [];
  readonly disturbances = new Disturbances();

  constructor(cluster: Cluster, schedule: Schedule, log: (line: string) => void) {
    this.#cluster = cluster;
    this.#schedule = schedule;
    this.#log = log;
  }

  /** Resolves when the last fault is over and everything runs. */
  async run(signal: AbortSignal): Promise<void> {
    const begun = Date.now();
    for (const fault of this.#schedule.faults) {
      await sleep(Math.max(0, begun + fault.at - Date.now()), undefined, { signal });
      this.#log(describeFault(fault));
      const disturbance = this.disturbances.begin();
      const done = this.#make(fault, signal)
        .catch((thrown: unknown) => {
          if (!signal.aborted) this.failures.push(`${describeFault(fault)}: ${String(thrown)}`);
        })
        .finally(() => {
          disturbance.until = performance.now();
          this.#under.delete(done);
        });
      this.#under.add(done);
    }
    const all = Promise.all(this.#under);
    await Promise.race([all, rejectOn(signal)]);
    await sleep(Math.max(0, begun + this.#schedule.duration - Date.now()), undefined, { signal });
  }

  async #make(fault: TimedFault, signal: AbortSignal): Promise<void> {
    const cluster = this.#cluster;
    switch (fault.kind) {
      case 'kill': {
        const target = cluster.processOf(fault.target);
        await target.kill();
        await sleep(fault.for, undefined, { signal });
        await target.start();
        return;
      }
      case 'freeze': {
        const thaw = cluster.processOf(fault.target).freeze();
        try {
          await sleep(fault.for, undefined, { signal });
        } finally {
          thaw();
        }
        return;
      }
      case 'retire': {
        const target = cluster.processOf({ kind: 'manager', index: fault.manager });
        // Without its database a manager cannot hand anything over; then it is ended, as a service manager would.
        await target.retire(retireLimit);
        await sleep(fault.for, undefined, { signal });
        await target.start();
        return;
      }
      case 'postgres':
        await cluster.postgres.stop(fault.how === 'fast' ? 'SIGINT' : 'SIGQUIT');
        await sleep(fault.for, undefined, { signal });
        await cluster.postgres.start();
        return;
      case 'redis':
        await cluster.redis.stop('SIGKILL');
        await sleep(fault.for, undefined, { signal });
        await cluster.redis.start();
        return;
      case 'flush':
        await cluster.redis.flush();
        return;
      case 'cut':
      case 'stall':
      case 'slow': {
        const way = cluster.wayOf(fault.way);
        if (fault.kind === 'slow') way.set({ kind: 'slow', delay: fault.delay });
        else way.set({ kind: fault.kind === 'cut' ? 'cut' : 'stalled' });
        try {
          await sleep(fault.for, undefined, { signal });
        } finally {
          way.set({ kind: 'fair' });
        }
        return;
      }
      case 'reset': {
        const random = new Random(`reset ${this.#schedule.seed} ${fault.at}`);
        cluster.wayOf(fault.way).reset(() => random.chance(fault.share));
        return;
      }
      case 'clock':
        cluster.setClock(fault.manager, fault.offset);
        await sleep(fault.for, undefined, { signal });
        cluster.setClock(fault.manager, 0);
        return;
    }
  }
}

function rejectOn(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
