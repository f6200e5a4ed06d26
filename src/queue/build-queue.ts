import type { AttemptState, Outcome, PushedImage, WorkerStage } from '../model/attempt.ts';
import type { Build, BuildRequest } from '../model/build.ts';
import type { Digest } from '../model/digest.ts';
import type { Fault } from '../model/fault.ts';
import type { AttemptId, BuildId, JobId } from '../model/ids.ts';
import type { RepositoryName } from '../model/repository-name.ts';
import type { NamespaceLimits } from './queue-limits.ts';

/** A secret of a build (RUN --mount=type=secret). Stored encrypted, handed to the worker, dropped at the end. */
export interface BuildSecret {
  readonly id: string;
  readonly value: Uint8Array;
}

export interface EnqueueOptions {
  readonly secrets?: readonly BuildSecret[];
  /** Refuse with `queue-full` when the namespace already has this many builds that wait. */
  readonly maxQueuedPerNamespace?: number;
  /** The same key makes the same build: the build made before is returned. */
  readonly idempotencyKey?: string;
  /** Told before the answer when that is a build that was made before under the same key. */
  readonly onRepeated?: () => void;
  /**
   * Of the builds with this key in the repository only the newest need be built (say, of one trigger and ref): those
   * that have not started end as cancelled by `superseded`, and name this build. What runs is left alone.
   */
  readonly newestOnly?: string;
  /** Told before the answer which builds this one superseded. */
  readonly onSuperseded?: (builds: readonly BuildId[]) => void;
}

export interface ClaimRequest {
  readonly manager: string;
  /** At most so many now. */
  readonly limit: number;
  /** At most so many attempts may run at once, counted over all managers (ALLOWED_WORKER_COUNT). */
  readonly capacity: number;
  /** Milliseconds the lease lasts unless it is extended. */
  readonly lease: number;
}

/** What a manager needs to supervise an attempt. Times are milliseconds since 1970. */
export interface RunningAttempt {
  readonly id: AttemptId;
  readonly jobId: JobId;
  readonly buildId: BuildId;
  readonly epoch: number;
  readonly state: AttemptState;
  readonly platform: string;
  readonly repository: RepositoryName;
  /** Tries left after this one. */
  readonly triesLeft: number;
  readonly desired: 'run' | 'cancel';
  readonly cancelledBy?: string;
  readonly executor?: string;
  /** The executor's own name for the worker, once it is started. */
  readonly worker?: string;
  readonly manager: string;
  /** Absent from what `claim` gives. */
  readonly queuedAt?: number;
  readonly scheduledAt: number;
  /**
   * Milliseconds since it was claimed, as far as who has got it now knows, by its monotonic clock. In what `claim` and
   * takeovers give.
   */
  readonly age?: number;
  readonly registeredAt?: number;
  /** What the worker said of itself when it registered; empty for one that knows only the shared protocol. */
  readonly capabilities?: Readonly<Record<string, unknown>>;
  /**
   * The stages that the worker's reports moved the attempt to, and `complete` or `error` for the one that ended it, by the
   * sequence numbers of those; absent: none yet.
   */
  readonly reports?: Readonly<Record<string, string>>;
  readonly leaseUntil: number;
}

/** Who ends an attempt. */
export interface FinishedBy {
  /** The manager that publishes the build if this completes it; the one that supervises the attempt unless given. */
  readonly publisher?: string;
  /**
   * For ends that a manager decides by what it saw: nothing changes unless it is still the one that supervises the
   * attempt. A manager that was stopped in between does not know that another one has heard the worker since.
   */
  readonly supervisor?: string;
  /** The worker's own report that brings the end; `RunningAttempt.reports` has it from then on, whatever was judged. */
  readonly report?: { readonly sequence: number; readonly kind: 'complete' | 'error' };
}

/** What happened to the build when an attempt was finished. */
export type Finished =
  /** The epoch is no longer current, or the attempt was over already: nothing changed. */
  | { readonly kind: 'stale' }
  /** Another manager supervises the attempt, which runs: nothing changed. */
  | { readonly kind: 'lost' }
  /** A new attempt waits in the queue. */
  | {
      readonly kind: 'retry';
      readonly epoch: number;
      readonly triesLeft: number;
      readonly availableAt: number;
    }
  /** Every job is complete, and tags were asked for: the manager publishes, then calls `publish`. */
  | {
      readonly kind: 'publish';
      readonly images: readonly { readonly platform: string; readonly image?: PushedImage }[];
    }
  /** Other jobs of the build still run, or it was final before: nothing is to be done for the build. */
  | { readonly kind: 'others-running' }
  /** The build is final. */
  | { readonly kind: 'final'; readonly build: Build };

/** Where a build stands that waits. */
export interface QueuePosition {
  /** Builds that come before it. */
  readonly ahead: number;
  /** Attempts that run, over all managers. */
  readonly running: number;
  /** When it is likely to start (milliseconds since 1970); absent when nothing is known to go by. */
  readonly estimatedStart?: number;
}

/** What came from managers that are gone. */
export interface TakenOver {
  readonly attempts: readonly RunningAttempt[];
  /** Attempts that were given a next one, because their worker may or may not have been started. */
  readonly retried: number;
  /** To be published by the caller. */
  readonly unpublished: readonly BuildId[];
}

export type CancelVerdict =
  | { readonly kind: 'cancelled'; readonly build: Build }
  /**
   * Running: the wish is stored, and its managers were woken; whatever the worker still reports, the build ends as
   * cancelled. While its tags are being published it ends so only if publishing fails.
   */
  | { readonly kind: 'cancelling'; readonly build: Build }
  | { readonly kind: 'already-final'; readonly build: Build }
  | { readonly kind: 'unknown' };

/**
 * The durable queue of builds, and the only place where the state of builds, jobs and attempts changes. Every method
 * is one transaction; every write that concerns an attempt carries its epoch and changes nothing when that epoch is
 * not the current one. All of it is safe to call twice.
 *
 * Called by: the API and triggers (enqueue, cancel, reading), managers (all else).
 */
export type PublicationHold = 'held' | 'cancel' | 'lost';

/** What was published: the digest, and the references where that is in another registry than ours. */
export interface PublishedImage {
  readonly digest: Digest;
  readonly size: number;
  readonly references?: readonly string[];
}

export interface BuildQueue {
  enqueue(request: BuildRequest, options?: EnqueueOptions): Promise<Build>;

  /**
   * Claims waiting attempts: state scheduled, a try used up, a lease for this manager. Namespaces take turns by
   * weight within equal priority; a repository runs at most its own number of builds at once (default 1).
   */
  claim(request: ClaimRequest): Promise<readonly RunningAttempt[]>;

  /** Puts an attempt back for which no worker was started: same epoch, the try given back, nothing lost. */
  release(id: AttemptId, epoch: number, availableAt: number): Promise<boolean>;

  /** Records which worker an executor started. False: stale, so the caller stops the worker. */
  recordWorker(id: AttemptId, epoch: number, worker: { executor: string; worker: string }): Promise<boolean>;

  /** scheduled → registered; it is registration number 1. False: stale, or registered before by another call. */
  register(
    id: AttemptId,
    epoch: number,
    worker: { capabilities: Readonly<Record<string, unknown>> },
  ): Promise<boolean>;

  /**
   * The number of one registration more, for a worker that asks again because the answer was lost. Undefined: stale, or a
   * worker was heard, so an answer has arrived.
   */
  registerAgain(id: AttemptId, epoch: number): Promise<number | undefined>;

  /**
   * A worker of this registration spoke. The first one that does has the attempt from then on, whatever manager it speaks
   * to, and no further registration is taken. Answers whose it is; undefined: stale. Asked once for each worker and process.
   */
  hear(id: AttemptId, epoch: number, registration: number): Promise<number | undefined>;

  /**
   * A stage the worker reported. `stale`: the epoch is over. A sequence number under which the attempt was moved before
   * moves it no more, whatever stage it comes with, and then the report changes nothing.
   */
  enterStage(
    id: AttemptId,
    epoch: number,
    stage: WorkerStage,
    detail?: { readonly commit?: string; readonly sequence?: number },
  ): Promise<'moved' | 'same' | 'late' | 'stale'>;

  /**
   * Moves the lease to `until` (milliseconds since 1970). False: stale. What others look at is that it moves
   * (docs/adr/0015-leases-are-watched.md).
   */
  extendLease(id: AttemptId, epoch: number, manager: string, until: number): Promise<boolean>;

  /** Ends an attempt. `retryDelay` is milliseconds until the next one may start, when there is to be one. */
  finish(
    id: AttemptId,
    epoch: number,
    outcome: Outcome,
    retryDelay: number,
    by?: FinishedBy,
  ): Promise<Finished>;

  /** The tags are in the registry: the build is complete. Stale when the epoch of any job is no longer current. */
  publish(
    buildId: BuildId,
    epochs: readonly { readonly id: AttemptId; readonly epoch: number }[],
    image: PublishedImage | undefined,
  ): Promise<Build | 'stale'>;

  /**
   * Makes sure that `manager` is the one that publishes the build, for another `lease` milliseconds. `takes`: whoever
   * else may have been is so no more. `lost`: somebody else is, or the build is over. `cancel`: held, and its end is
   * wanted.
   */
  holdPublication(
    buildId: BuildId,
    manager: string,
    options: { readonly lease: number; readonly takes: boolean },
  ): Promise<PublicationHold>;

  /** Builds whose jobs are all complete but whose tags are not published yet (their manager died in between). */
  unpublished(manager: string, lease: number): Promise<readonly BuildId[]>;

  /** Fails a build that could not be published after all tries. Stale also when it is not `publisher` that publishes it. */
  failPublish(buildId: BuildId, fault: Fault, publisher?: string): Promise<Build | 'stale'>;

  cancel(buildId: BuildId, by: string): Promise<CancelVerdict>;

  /** The attempts this manager supervises. */
  supervised(manager: string): Promise<readonly RunningAttempt[]>;

  /**
   * Takes over what managers had that are `dead` (former lives of this machine), and attempts whose lease this manager has
   * seen to stand still for `lease` milliseconds of its own monotonic time: their manager lives, perhaps, but does not look
   * after them. To be called several times within a lease. What is taken over how is as `beat` says.
   */
  adopt(manager: string, lease: number, dead?: readonly string[]): Promise<TakenOver>;

  /**
   * Says that this manager lives, and looks whether the others do. To be called before the first claim, and then
   * about twice a second: a manager that was not heard of for 4 s, or has left, has what it supervised and published
   * taken over by the first to notice. Nobody's clock is compared with another's. An attempt for which no worker was
   * recorded yet is not taken over but tried again under the next epoch, its try given back: the worker may be
   * about to start.
   */
  beat(manager: string, lease: number): Promise<TakenOver>;

  /**
   * Makes this manager the one that supervises a running attempt, because it can see the worker, and gives
   * it as `TakenOver` does. Undefined: stale. The manager it had lets go of it at its next look.
   */
  takeBack(id: AttemptId, epoch: number, manager: string, lease: number): Promise<RunningAttempt | undefined>;

  /** Whether another manager lives, as far as the last beats of this one showed. */
  othersLive(manager: string): Promise<boolean>;

  /** This manager is gone for good; whatever it still has is the others'. */
  leave(manager: string): Promise<void>;

  attempt(id: AttemptId): Promise<RunningAttempt | undefined>;
  /** Whether a worker of this epoch may still act. */
  isCurrent(id: AttemptId, epoch: number): Promise<boolean>;
  /**
   * The time of day by the clock of the manager that claimed the attempt, as far as this process can tell without its own
   * (ADR 15), for what was made to last until a time by that clock. Undefined: a worker of this epoch may not act.
   */
  timeOf(id: AttemptId, epoch: number): Promise<number | undefined>;

  build(id: BuildId): Promise<Build | undefined>;
  builds(query: {
    readonly repository?: RepositoryName;
    readonly namespaces?: readonly string[];
    readonly limit: number;
    /** Only builds created at or after (milliseconds since 1970). */
    readonly since?: number;
    readonly unfinishedOnly?: boolean;
    /** Only builds that are final, those first that ended last; otherwise those first that were made last. */
    readonly byEnd?: boolean;
  }): Promise<readonly Build[]>;
  secrets(buildId: BuildId): Promise<readonly BuildSecret[]>;

  /** Where a build stands in the queue. Undefined when it does not wait. For one build at a time, not for lists. */
  position(buildId: BuildId): Promise<QueuePosition | undefined>;
  /** `ownerless`: attempts of managers that do not count, and those whose lease stood still when it was looked at last. */
  counts(): Promise<{ readonly queued: number; readonly running: number; readonly ownerless: number }>;

  /** Undefined: there is no such namespace. */
  namespaceLimits(namespace: string): Promise<NamespaceLimits | undefined>;
  /**
   * What is not given stays. Builds that waited for the limit get their place at once; a lower one takes nothing from
   * those that have theirs. Undefined: there is no such namespace.
   */
  changeNamespaceLimits(
    namespace: string,
    change: Partial<NamespaceLimits>,
  ): Promise<NamespaceLimits | undefined>;
  /** How many builds of a repository may run at once. Undefined: there is no such repository. */
  repositoryConcurrency(name: RepositoryName): Promise<number | undefined>;
  /** As with the limits of a namespace. False: there is no such repository. */
  changeRepositoryConcurrency(name: RepositoryName, concurrency: number): Promise<boolean>;

  /**
   * Calls `wake` when something may be claimable, or a running attempt's desired state changed. `ended`: the build got
   * final without a manager being told so by an answer (it was cancelled while it waited, for example), so whoever
   * hears it writes its end. A hint that may be lost or late: callers also poll. Returns the end of the subscription.
   */
  onChange(
    wake: (change: {
      readonly kind: 'queued' | 'cancel' | 'finished' | 'ended';
      readonly buildId: BuildId;
    }) => void,
  ): () => void;
}
