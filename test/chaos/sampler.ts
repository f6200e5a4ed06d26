import { setTimeout as sleep } from 'node:timers/promises';
import { parseBuildId } from '../../src/model/ids.ts';
import { isFinal, type Phase } from '../../src/model/phase.ts';
import type { Cluster } from './cluster.ts';
import { attemptsOfProcesses } from './process-list.ts';
import type { SealedLogs } from './sealed-logs.ts';
import type { Violate } from './violation.ts';

interface SeenBuild {
  readonly phase: string;
  readonly digest: string | null;
  readonly fault: string | null;
  readonly finishedAt: number | null;
  /** By this process's own clock; undefined while it is not final. */
  readonly finalSince: number | undefined;
}

interface SeenAttempt {
  readonly buildId: string;
  readonly state: string;
  readonly epoch: number;
  readonly outcome: string | null;
  readonly doneSince: number | undefined;
  /** By this process's own clock: when it was last seen to wait, or the look before it was first seen. */
  readonly waitedUntil: number;
}

interface SeenLog {
  readonly total: number;
  readonly closed: boolean;
}

const every = 1_000;
/** Logs that are read when they were closed, at one look. */
const sealedAtOnce = 20;
/** Milliseconds a worker may outlive what it works for. */
const outlivable = 30_000;
const ranks = ['queued', 'scheduled', 'registered', 'unpacking', 'pulling', 'building', 'pushing', 'done'];

/**
 * Looks at the database, the worker hosts and the processes every second, past the disturbed ways, for what must hold at every
 * moment: final states stay as they are (I5), logs only grow and then say the same for ever (I3), workers end with their
 * builds (I4), and no more attempts run than are allowed.
 */
export class Sampler {
  readonly #cluster: Cluster;
  readonly #violate: Violate;
  readonly #capacity: number;
  readonly #sealed: SealedLogs;
  readonly #unsealed = new Set<string>();
  readonly #builds = new Map<string, SeenBuild>();
  readonly #attempts = new Map<string, SeenAttempt>();
  readonly #logs = new Map<string, SeenLog>();
  readonly #told = new Set<string>();
  /** When the last look began to see something. */
  #looked = performance.now();
  /** How often everything could be looked at. */
  samples = 0;
  mostRunning = 0;
  /** Most workers with a process of their own at one look. */
  mostProcesses = 0;

  constructor(
    cluster: Cluster,
    options: { readonly capacity: number; readonly sealed: SealedLogs; readonly violate: Violate },
  ) {
    this.#cluster = cluster;
    this.#violate = options.violate;
    this.#capacity = options.capacity;
    this.#sealed = options.sealed;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.sample();
      await sleep(every, undefined, { signal }).catch(() => {});
    }
  }

  async sample(): Promise<void> {
    // While PostgreSQL is away there is nothing to see.
    if (await this.#rows().catch(() => false)) this.samples += 1;
    for (let host = 0; host < this.#cluster.hosts.length; host += 1) {
      for (const { attemptId, buildId } of (await this.#cluster.workersOn(host)) ?? [])
        this.#worker(`on host ${host}`, attemptId, buildId);
    }
    const processes = await attemptsOfProcesses(this.#cluster.folder);
    this.mostProcesses = Math.max(this.mostProcesses, processes.size);
    for (const attemptId of processes) {
      const buildId = this.#attempts.get(attemptId)?.buildId;
      if (buildId !== undefined) this.#worker('with its own process', attemptId, buildId);
    }
    await this.#seal().catch(() => {});
  }

  /**
   * Between which moments an attempt ran, on the time line of `performance.now()` of this process: what rows say was
   * written by clocks that were wrong.
   */
  runOf(attemptId: string): { readonly from: number; readonly until: number } {
    const seen = this.#attempts.get(attemptId);
    return { from: seen?.waitedUntil ?? 0, until: seen?.doneSince ?? performance.now() };
  }

  async #seal(): Promise<void> {
    for (const id of [...this.#unsealed].slice(0, sealedAtOnce)) {
      const buildId = parseBuildId(id);
      if (buildId !== undefined) await this.#sealed.seal(buildId);
      this.#unsealed.delete(id);
    }
  }

  async #rows(): Promise<boolean> {
    const { sql } = this.#cluster.database;
    // One statement each, so each of them sees one moment.
    const attempts = await sql
      .selectFrom('attempts')
      .select(['id', 'build_id', 'job_id', 'epoch', 'state', 'outcome_json', 'lease_until'])
      .execute();
    const builds = await sql
      .selectFrom('builds')
      .select(['id', 'phase', 'digest', 'fault_json', 'finished_at', 'namespace', 'repository'])
      .execute();
    const logs = await sql.selectFrom('log_heads').select(['build_id', 'total', 'closed_at']).execute();
    const now = performance.now();
    for (const row of builds) {
      const seen = this.#builds.get(row.id);
      const next: SeenBuild = {
        phase: row.phase,
        digest: row.digest,
        fault: row.fault_json,
        finishedAt: row.finished_at,
        finalSince: isFinal(row.phase as Phase) ? (seen?.finalSince ?? now) : undefined,
      };
      this.#builds.set(row.id, next);
      if (seen?.finalSince !== undefined && !same(seen, next))
        this.#once('I5', `the final build changed from ${text(seen)} to ${text(next)}`, row.id);
    }
    const repositories = new Map(builds.map((row) => [row.id, `${row.namespace}/${row.repository}`]));
    const running = attempts.filter((row) => row.lease_until !== null);
    this.mostRunning = Math.max(this.mostRunning, running.length);
    if (running.length > this.#capacity)
      this.#once('capacity', `${running.length} attempts run at once, ${this.#capacity} are allowed`);
    const busy = new Map<string, string>();
    for (const row of running) {
      const repository = repositories.get(row.build_id);
      if (repository === undefined) continue;
      const other = busy.get(repository);
      if (other !== undefined && other !== row.build_id)
        this.#once('capacity', `${repository} runs two builds at once, this and ${other}`, row.build_id);
      busy.set(repository, row.build_id);
    }
    for (const row of attempts) {
      const seen = this.#attempts.get(row.id);
      const next: SeenAttempt = {
        buildId: row.build_id,
        state: row.state,
        epoch: row.epoch,
        outcome: row.outcome_json,
        doneSince: row.state === 'done' ? (seen?.doneSince ?? now) : undefined,
        waitedUntil: row.state === 'queued' ? now : (seen?.waitedUntil ?? this.#looked),
      };
      this.#attempts.set(row.id, next);
      if (seen === undefined) continue;
      const what = `attempt ${row.id} changed from ${text(seen)} to ${text(next)}`;
      if (seen.doneSince !== undefined && !same(seen, next)) this.#once('I5', what, row.build_id);
      // Back to the queue is the one way back: no worker was started.
      const back = ranks.indexOf(next.state) < ranks.indexOf(seen.state);
      if (back && !(seen.state === 'scheduled' && next.state === 'queued'))
        this.#once('I5', what, row.build_id);
    }
    const unfinished = Map.groupBy(
      attempts.filter((row) => row.state !== 'done'),
      (row) => row.job_id,
    );
    for (const [job, rows] of unfinished) {
      if (rows.length > 1)
        this.#once('I2', `job ${job} has ${rows.length} attempts that are not over`, rows[0]?.build_id);
    }
    for (const row of logs) {
      const seen = this.#logs.get(row.build_id);
      const next = { total: row.total, closed: row.closed_at !== null };
      this.#logs.set(row.build_id, next);
      if (next.closed && seen?.closed !== true) this.#unsealed.add(row.build_id);
      if (seen === undefined) continue;
      if (next.total < seen.total || (seen.closed && !same(seen, next)))
        this.#once('I3', `the log changed from ${text(seen)} to ${text(next)}`, row.build_id);
    }
    this.#looked = now;
    return true;
  }

  #worker(where: string, attemptId: string, buildId: string): void {
    const now = performance.now();
    const final = this.#builds.get(buildId)?.finalSince;
    const done = this.#attempts.get(attemptId)?.doneSince;
    if (final !== undefined && now - final > outlivable) {
      const seconds = Math.round((now - final) / 1000);
      this.#once(
        'I4',
        `the worker of attempt ${attemptId} ${where} lives ${seconds} s after its build`,
        buildId,
      );
    } else if (done !== undefined && now - done > outlivable) {
      const seconds = Math.round((now - done) / 1000);
      this.#once('I4', `the worker of attempt ${attemptId} ${where} lives ${seconds} s after it`, buildId);
    }
  }

  #once(invariant: Parameters<Violate>[0], what: string, buildId?: string): void {
    const key = `${invariant} ${buildId ?? what}`;
    if (this.#told.has(key)) return;
    this.#told.add(key);
    this.#violate(invariant, what, buildId);
  }
}

function text(value: object): string {
  return JSON.stringify(value);
}

function same(a: object, b: object): boolean {
  return text(a) === text(b);
}
