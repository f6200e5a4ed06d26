import { type Clock, systemClock } from '../base/clock.ts';
import { GroupCommit } from '../base/group-commit.ts';
import type { StandstillWatch } from '../base/standstill-watch.ts';
import type { Database, SqlTransaction } from '../db/database.ts';
import { sealedColumns } from '../db/sealed-columns.ts';
import type { SecretBox } from '../db/secret-box.ts';
import { SqlError, type SqlErrorCode } from '../db/sql-error.ts';
import type { Outcome, WorkerStage } from '../model/attempt.ts';
import type { Build, BuildRequest } from '../model/build.ts';
import type { Fault } from '../model/fault.ts';
import type { AttemptId, BuildId } from '../model/ids.ts';
import type { RepositoryName } from '../model/repository-name.ts';
import { type Advance, type Advanced, advanceAll } from './advance.ts';
import { AttemptAges } from './attempt-ages.ts';
import type {
  BuildQueue,
  BuildSecret,
  CancelVerdict,
  ClaimRequest,
  EnqueueOptions,
  Finished,
  FinishedBy,
  PublicationHold,
  PublishedImage,
  QueuePosition,
  RunningAttempt,
  TakenOver,
} from './build-queue.ts';
import { cancel } from './cancel.ts';
import {
  changeNamespaceLimits,
  changeRepositoryConcurrency,
  namespaceLimits,
  repositoryConcurrency,
} from './change-limits.ts';
import { enqueueAll } from './enqueue.ts';
import type { Enqueue, Enqueued } from './enqueue-request.ts';
import {
  type Finish,
  type FinishSettings,
  finish,
  finishAll,
  type HeldAttempt,
  holdAttempt,
} from './finish.ts';
import {
  extendLeases,
  type Hearing,
  hearWorkers,
  type LeaseExtension,
  recordWorkers,
  type WorkerRecord,
} from './grouped-writes.ts';
import { type SeenLease, watchLeases } from './lease-watch.ts';
import { countQueue, positionOf } from './position.ts';
import { PostgresChanges, postgresStatements } from './postgres-statements.ts';
import { goneManagers, heldLeases, Presence } from './presence.ts';
import { holdPublication, type Publication, publishAll, takeUnpublished } from './publishing.ts';
import { QueueError } from './queue-error.ts';
import type { NamespaceLimits } from './queue-limits.ts';
import type { QueueChange, QueueChanges, QueueStatements } from './queue-statements.ts';
import { listBuilds, loadAttempts, loadBuilds, runningAttempts, selectAttempts } from './read-builds.ts';
import { SharedClaims } from './shared-claims.ts';
import { LocalChanges, sqliteStatements } from './sqlite-statements.ts';
import type { Step } from './step.ts';
import { holdUnrecorded, isNothing, type Lost, managerLost, takeOver, unrecorded } from './take-over.ts';
import { unstart } from './unstart.ts';

export interface SqlBuildQueueOptions {
  readonly secretBox: SecretBox;
  readonly clock?: Clock;
  /** Tries a job starts with; 3 unless given. */
  readonly tries?: number;
  /** Attempts a job may have in all, those included whose try was given back; 10 unless given. */
  readonly mostAttempts?: number;
  /** Milliseconds a manager has to publish before another one may take over; 60,000 unless given. */
  readonly publishLease?: number;
  /** Milliseconds that go on whatever the time of day is set to; the process's own unless given. */
  readonly monotonic?: () => number;
  /** Told when the connection that carries changes is lost; it is made again by itself. */
  readonly onError?: (error: unknown) => void;
}

/** Reads of one kind that are under way at once; more of them wait and go together. */
const readLanes = 2;

/** What one write of a group may be to blame for, alone; everything else would meet each of them. */
const ownFaults: readonly SqlErrorCode[] = [
  'unique-violation',
  'foreign-key',
  'constraint',
  'bad-text',
  'failed',
];

function mayDivide(thrown: unknown): boolean {
  return !(thrown instanceof SqlError) || ownFaults.includes(thrown.code);
}

/**
 * The build queue in SQL. `start` before use: from then on changes are heard. The transactions are in the files
 * beside this one; which rows they lock, and in which order, stands in queue-statements.ts.
 */
export class SqlBuildQueue implements BuildQueue, AsyncDisposable {
  readonly #database: Database;
  readonly #statements: QueueStatements;
  readonly #changes: QueueChanges;
  readonly #clock: Clock;
  readonly #secretBox: SecretBox;
  readonly #finishSettings: FinishSettings;
  readonly #advances: GroupCommit<Advance, Advanced>;
  readonly #finishes: GroupCommit<Finish, Finished>;
  readonly #publications: GroupCommit<Publication, Build | 'stale'>;
  readonly #records: GroupCommit<WorkerRecord, boolean>;
  readonly #leases: GroupCommit<LeaseExtension, boolean>;
  readonly #hearings: GroupCommit<Hearing, number | undefined>;
  readonly #attemptReads: GroupCommit<AttemptId, RunningAttempt | undefined>;
  readonly #buildReads: GroupCommit<BuildId, Build | undefined>;
  readonly #monotonic: () => number;
  readonly #claims: SharedClaims;
  /** What the manager in this process claims up to; known once it has claimed. */
  #capacity: number | undefined;
  readonly #enqueues: GroupCommit<Enqueue, Enqueued | QueueError>;
  /** Of the managers that beat here: one, but in tests. */
  readonly #presences = new Map<string, Presence>();
  readonly #ages: AttemptAges;
  readonly #leaseWatches = new Map<string, StandstillWatch<SeenLease>>();
  /** The leases that stood still, this manager's own included, when it looked last. */
  #still: readonly SeenLease[] = [];

  constructor(database: Database, options: SqlBuildQueueOptions) {
    this.#database = database;
    this.#clock = options.clock ?? systemClock;
    this.#secretBox = options.secretBox;
    this.#finishSettings = {
      mostAttempts: options.mostAttempts ?? 10,
      publishLease: options.publishLease ?? 60_000,
    };
    this.#monotonic = options.monotonic ?? (() => performance.now());
    this.#ages = new AttemptAges(() => this.#clock.now(), this.#monotonic);
    this.#statements = database.dialect === 'sqlite' ? sqliteStatements : postgresStatements;
    this.#claims = new SharedClaims((request) =>
      this.#statements.claim(database, this.#clock.now(), request),
    );
    this.#changes =
      database.dialect === 'sqlite'
        ? new LocalChanges()
        : new PostgresChanges({
            url: database.url ?? '',
            ...(options.onError === undefined ? {} : { onError: options.onError }),
          });
    const { sql } = database;
    const gather = { milliseconds: 25, busy: 3, enough: 16 };
    const written = { mayDivide, gather };
    const enqueueSettings = { tries: options.tries ?? 3, secretBox: options.secretBox };
    this.#enqueues = new GroupCommit({
      // People and webhooks wait for it: it does not gather.
      mayDivide,
      most: 128,
      lanes: database.dialect === 'sqlite' ? 1 : 2,
      commit: (asked) => this.#change((step) => enqueueAll(step, asked, enqueueSettings)),
    });
    this.#advances = new GroupCommit({
      ...written,
      commit: (reports) => this.#change((step) => advanceAll(step, reports)),
    });
    this.#finishes = new GroupCommit({
      ...written,
      // What waits for the disk and for the locks of other namespaces does not hold up the rest.
      ...(database.dialect === 'sqlite' ? {} : { most: 32, lanes: 2 }),
      commit: (finishes) => this.#change((step) => finishAll(step, finishes, this.#finishSettings)),
    });
    this.#publications = new GroupCommit({
      ...written,
      commit: (publications) => this.#change((step) => publishAll(step, publications)),
    });
    this.#records = new GroupCommit({
      ...written,
      commit: (records) => recordWorkers(sql, this.#statements, records),
      key: ({ id }) => id,
    });
    this.#leases = new GroupCommit({
      ...written,
      commit: (leases) => extendLeases(sql, this.#statements, leases),
      key: ({ id }) => id,
    });
    this.#hearings = new GroupCommit({
      ...written,
      commit: (hearings) => hearWorkers(sql, this.#statements, hearings),
      key: ({ id }) => id,
    });
    this.#attemptReads = new GroupCommit({
      lanes: readLanes,
      gather,
      commit: async (ids) => {
        const found = await loadAttempts(sql, ids);
        const byId = new Map(found.map((attempt) => [attempt.id, attempt]));
        return ids.map((id) => byId.get(id));
      },
    });
    this.#buildReads = new GroupCommit({
      lanes: readLanes,
      gather,
      commit: async (ids) => {
        const found = await loadBuilds(sql, ids);
        const byId = new Map(found.map((build) => [build.id, build]));
        return ids.map((id) => byId.get(id));
      },
    });
  }

  async start(): Promise<void> {
    await this.#changes.start();
  }

  async stop(): Promise<void> {
    await this.#changes.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async enqueue(request: BuildRequest, options: EnqueueOptions = {}): Promise<Build> {
    const answer = await this.#enqueues.submit({ request, options });
    if (answer instanceof QueueError) throw answer;
    if (answer.repeated) options.onRepeated?.();
    if (answer.superseded.length > 0) options.onSuperseded?.(answer.superseded);
    return answer.build;
  }

  async claim(request: ClaimRequest): Promise<readonly RunningAttempt[]> {
    this.#capacity = request.capacity;
    return this.#claims.claim(request);
  }

  async release(id: AttemptId, epoch: number, availableAt: number): Promise<boolean> {
    return this.#change(async (step) => {
      const held = await holdAttempt(step, id, epoch, { mayEndBuild: true });
      if (held === undefined || held.attempt.state !== 'scheduled') return false;
      const { builds, build, job, attempt } = held;
      if (attempt.desired === 'cancel') {
        const outcome: Outcome = { kind: 'cancelled', by: attempt.cancelled_by ?? 'slipway' };
        await this.#finish(step, held, outcome, 0);
        return true;
      }
      builds.changeAttempt(attempt, {
        state: 'queued',
        ready: 1,
        available_at: availableAt,
        delayed_at: step.now,
        manager: null,
        lease_until: null,
        scheduled_at: null,
        executor: null,
        worker: null,
      });
      builds.changeTries(job, job.tries_left + 1);
      builds.settle(build);
      await builds.write();
      await unstart(step, build.row);
      step.changes.push({ kind: 'queued', buildId: step.buildId(build.row.id) });
      return true;
    });
  }

  recordWorker(id: AttemptId, epoch: number, worker: { executor: string; worker: string }): Promise<boolean> {
    return this.#records.submit({ id, epoch, ...worker });
  }

  async register(
    id: AttemptId,
    epoch: number,
    { capabilities }: { capabilities: Readonly<Record<string, unknown>> },
  ): Promise<boolean> {
    return (await this.#advances.submit({ kind: 'register', id, epoch, capabilities })) === 'moved';
  }

  async registerAgain(id: AttemptId, epoch: number): Promise<number | undefined> {
    const row = await this.#database.sql
      .updateTable('attempts')
      .set((set) => ({ registrations: set('registrations', '+', 1) }))
      .where('id', '=', id)
      .where('epoch', '=', epoch)
      .where('state', '=', 'registered')
      .where('lease_until', 'is not', null)
      .where('heard', '=', 0)
      .returning('registrations')
      .executeTakeFirst();
    return row?.registrations;
  }

  hear(id: AttemptId, epoch: number, registration: number): Promise<number | undefined> {
    return this.#hearings.submit({ id, epoch, registration });
  }

  enterStage(
    id: AttemptId,
    epoch: number,
    stage: WorkerStage,
    detail: { readonly commit?: string; readonly sequence?: number } = {},
  ): Promise<'moved' | 'same' | 'late' | 'stale'> {
    return this.#advances.submit({ kind: 'stage', id, epoch, stage, ...detail });
  }

  extendLease(id: AttemptId, epoch: number, manager: string, until: number): Promise<boolean> {
    return this.#leases.submit({ id, epoch, manager, until });
  }

  finish(
    id: AttemptId,
    epoch: number,
    outcome: Outcome,
    retryDelay: number,
    by: FinishedBy = {},
  ): Promise<Finished> {
    return this.#finishes.submit({ id, epoch, outcome, retryDelay, by });
  }

  publish(
    buildId: BuildId,
    epochs: readonly { readonly id: AttemptId; readonly epoch: number }[],
    image: PublishedImage | undefined,
  ): Promise<Build | 'stale'> {
    return this.#publications.submit({ kind: 'published', buildId, epochs, image });
  }

  async holdPublication(
    buildId: BuildId,
    manager: string,
    { lease, takes }: { readonly lease: number; readonly takes: boolean },
  ): Promise<PublicationHold> {
    const until = this.#clock.now() + lease;
    return await this.#database.statement((sql) => holdPublication(sql, { buildId, manager, until, takes }));
  }

  failPublish(buildId: BuildId, fault: Fault, publisher?: string): Promise<Build | 'stale'> {
    return this.#publications.submit({ kind: 'failed', buildId, fault, publisher });
  }

  async unpublished(manager: string, lease: number): Promise<readonly BuildId[]> {
    const living = this.#presences.get(manager)?.living ?? [];
    return this.#change((step) => takeUnpublished(step, manager, lease, living));
  }

  async cancel(buildId: BuildId, by: string): Promise<CancelVerdict> {
    return this.#change((step) => cancel(step, buildId, by));
  }

  async supervised(manager: string): Promise<readonly RunningAttempt[]> {
    const rows = await selectAttempts(this.#database.sql)
      .where('attempts.manager', '=', manager)
      .where('attempts.lease_until', 'is not', null)
      .orderBy('attempts.scheduled_at')
      .execute();
    return runningAttempts(rows);
  }

  async adopt(manager: string, lease: number, dead: readonly string[] = []): Promise<TakenOver> {
    const watch = this.#leaseWatches.get(manager) ?? watchLeases(this.#monotonic);
    this.#leaseWatches.set(manager, watch);
    const held = await heldLeases(this.#database.sql);
    this.#ages.look(held);
    this.#still = watch.stoodStill(held, lease);
    const leases = this.#still.filter((seen) => seen.manager !== manager);
    return this.#takeOver({ managers: dead, leases }, manager, lease);
  }

  async beat(manager: string, lease: number): Promise<TakenOver> {
    const presence = this.#presences.get(manager) ?? new Presence(manager, this.#monotonic);
    this.#presences.set(manager, presence);
    const { sql } = this.#database;
    await presence.beat(sql, this.#clock.now());
    return this.#takeOver({ managers: await goneManagers(sql), leases: [] }, manager, lease);
  }

  async #takeOver(lost: Lost, manager: string, lease: number): Promise<TakenOver> {
    if (isNothing(lost)) return { attempts: [], retried: 0, unpublished: [] };
    let retried = 0;
    for (const left of await this.#change((step) => unrecorded(step, lost))) {
      const ended = await this.#change(async (step) => {
        const held = await holdUnrecorded(step, left, lost);
        return held === undefined ? undefined : this.#finish(step, held, managerLost, 0);
      });
      if (ended !== undefined) retried += 1;
    }
    const taken = await this.#change((step) => takeOver(step, lost, manager, lease));
    return { ...taken, retried, attempts: taken.attempts.map((attempt) => this.#aged(attempt)) };
  }

  #aged(attempt: RunningAttempt): RunningAttempt {
    return { ...attempt, age: this.#ages.of(attempt) };
  }

  async takeBack(
    id: AttemptId,
    epoch: number,
    manager: string,
    lease: number,
  ): Promise<RunningAttempt | undefined> {
    const { numUpdatedRows } = await this.#database.sql
      .updateTable('attempts')
      .set({ manager, lease_until: this.#clock.now() + lease })
      .where('id', '=', id)
      .where('epoch', '=', epoch)
      .where('lease_until', 'is not', null)
      .executeTakeFirst();
    const attempt = numUpdatedRows > 0n ? await this.attempt(id) : undefined;
    return attempt === undefined ? undefined : this.#aged(attempt);
  }

  async othersLive(manager: string): Promise<boolean> {
    return this.#presences.get(manager)?.othersLive ?? false;
  }

  async leave(manager: string): Promise<void> {
    this.#presences.delete(manager);
    this.#leaseWatches.delete(manager);
    await this.#database.sql.deleteFrom('managers').where('name', '=', manager).execute();
  }

  async attempt(id: AttemptId): Promise<RunningAttempt | undefined> {
    return this.#attemptReads.submit(id);
  }

  async isCurrent(id: AttemptId, epoch: number): Promise<boolean> {
    return (await this.#scheduledAt(id, epoch)) !== undefined;
  }

  async timeOf(id: AttemptId, epoch: number): Promise<number | undefined> {
    const scheduledAt = await this.#scheduledAt(id, epoch);
    return scheduledAt === undefined ? undefined : scheduledAt + this.#ages.of({ id, scheduledAt });
  }

  /** Undefined: a worker of this epoch may not act. */
  async #scheduledAt(id: AttemptId, epoch: number): Promise<number | undefined> {
    const row = await this.#database.sql
      .selectFrom('attempts')
      .innerJoin('builds', 'builds.id', 'attempts.build_id')
      .select('attempts.scheduled_at')
      .where('attempts.id', '=', id)
      .where('attempts.epoch', '=', epoch)
      .where('attempts.lease_until', 'is not', null)
      .where('builds.finished_at', 'is', null)
      .executeTakeFirst();
    return row === undefined ? undefined : (row.scheduled_at ?? this.#clock.now());
  }

  async build(id: BuildId): Promise<Build | undefined> {
    return this.#buildReads.submit(id);
  }

  async builds(query: Parameters<BuildQueue['builds']>[0]): Promise<readonly Build[]> {
    return listBuilds(this.#database.sql, query);
  }

  async secrets(buildId: BuildId): Promise<readonly BuildSecret[]> {
    const rows = await this.#database.sql
      .selectFrom('build_secrets')
      .selectAll()
      .where('build_id', '=', buildId)
      .orderBy('id')
      .execute();
    return rows.map(({ id, sealed }) => ({
      id,
      value: this.#secretBox.open(sealed, sealedColumns.buildSecrets.purpose({ build_id: buildId, id })),
    }));
  }

  async position(buildId: BuildId): Promise<QueuePosition | undefined> {
    const given = { now: this.#clock.now(), capacity: this.#capacity };
    return positionOf(this.#database.sql, buildId, given);
  }

  async counts(): Promise<{ readonly queued: number; readonly running: number; readonly ownerless: number }> {
    return countQueue(this.#database.sql, this.#still);
  }

  onChange(wake: (change: QueueChange) => void): () => void {
    return this.#changes.listen(wake);
  }

  async namespaceLimits(namespace: string): Promise<NamespaceLimits | undefined> {
    return namespaceLimits(this.#database.sql, namespace);
  }

  async changeNamespaceLimits(
    namespace: string,
    change: Partial<NamespaceLimits>,
  ): Promise<NamespaceLimits | undefined> {
    return this.#change((step) => changeNamespaceLimits(step, namespace, change));
  }

  async repositoryConcurrency(name: RepositoryName): Promise<number | undefined> {
    return repositoryConcurrency(this.#database.sql, name);
  }

  async changeRepositoryConcurrency(name: RepositoryName, concurrency: number): Promise<boolean> {
    return this.#change((step) => changeRepositoryConcurrency(step, name, concurrency));
  }

  #finish(step: Step, held: HeldAttempt, outcome: Outcome, retryDelay: number): Promise<Finished> {
    return finish(step, held, outcome, { retryDelay, ...this.#finishSettings });
  }

  /** One transaction; its changes are told when it is committed. */
  async #change<T>(work: (step: Step) => Promise<T>): Promise<T> {
    let changes: QueueChange[] = [];
    const result = await this.#database.transaction(async (sql: SqlTransaction) => {
      changes = [];
      const step: Step = {
        sql,
        statements: this.#statements,
        now: this.#clock.now(),
        changes,
        buildId: (text) => text as BuildId,
      };
      const made = await work(step);
      await this.#changes.announce(sql, changes);
      return made;
    });
    this.#changes.committed(changes);
    return result;
  }
}
