import type { Clock } from '../../base/clock.ts';
import { SteadyClock } from '../../base/steady-clock.ts';
import type { AttemptId } from '../../model/ids.ts';
import type {
  Executor,
  ReadyStep,
  StartedWorker,
  StartStep,
  WorkerOrder,
  WorkerStatus,
} from '../executor.ts';
import { ExecutorError } from '../executor-error.ts';
import { forAMoment } from '../for-a-moment.ts';
import type { Connection } from './access.ts';
import { ApiClient } from './api-client.ts';
import { type ErrorContext, isPassing, isQuota, translateApiError } from './api-error.ts';
import { BuilderApi } from './builder-api.ts';
import { jobObjectsOf } from './job-of.ts';
import { attemptOf, identityLabels, isJobName, jobNameOf, labelValue, selectorOf } from './labels.ts';
import { lastWordsOf } from './last-words.ts';
import { isStatus, launch } from './launch.ts';
import { type Listing, Looks } from './listing.ts';
import { jobOf, type Pod } from './objects.ts';
import { Patience } from './patience.ts';
import { watchPods } from './pod-watch.ts';
import { readinessOf } from './readiness.ts';
import type { JobMaker, KubernetesSettings, UserData } from './settings.ts';
import { stepsOf, type Verdict, type VerdictLimits, verdictOf } from './verdict.ts';

export interface KubernetesExecutorOptions {
  readonly settings: KubernetesSettings;
  readonly maker: JobMaker;
  readonly connection: Connection;
  /** Milliseconds for one call of the API. */
  readonly timeout: number;
  readonly userData: UserData;
  /** Workers at once, counted over all managers of this Slipway. */
  readonly maxWorkers?: number;
  readonly clock: Clock;
  /** Told when looking at the workers begins to fail, and (undefined) when it succeeds again. */
  readonly onTrouble?: (trouble: ExecutorError | undefined) => void;
  /** Milliseconds between two looks. Default 1 s. */
  readonly every?: number;
  /** Milliseconds an image that cannot be pulled is tried. Default 30 s. */
  readonly pullPatience?: number;
}

type Gone = Extract<WorkerStatus, { kind: 'gone' }>;

interface Minded {
  readonly attemptId: AttemptId;
  /** Looks begun before its Job was there: a later one that does not show it means that it is gone. */
  readonly after: number;
}

const remembered = 2_000;
/** Between two looks, however often something changes. */
const leastPause = 200;
/** A part of SETUP_TIME, so that the reason is told before the manager gives the worker up without one. */
const toStartShare = 0.9;
/** What a dead pod says last is asked for so long: its death is to be told soon. */
const lastWordsTime = 1_500;
const orphanPatience = 15_000;
const stopTime = 60_000;

/**
 * Runs workers as Jobs of a Kubernetes cluster. Looks at all of them every second while there are any, with two calls
 * (`listing.ts`), and reconciles what it knows with what it sees; a watch of the pods only makes it look sooner.
 *
 * | worker  | known by                             | seen to die by                                        |
 * |---------|--------------------------------------|-------------------------------------------------------|
 * | minded  | started here, or adopted             | a look: its pod has ended, or its Job is not there    |
 * | others' | the labels of its Job                | the same, and told only to who asks for its status    |
 * | gone    | its last status, with its last words | –                                                     |
 * | stopped | its last status only                 | –                                                     |
 *
 * All managers of one Slipway see all its workers. Which of them minds one tells others nothing: what `onGone` says is
 * said once, by the manager that minds it.
 */
export class KubernetesExecutor implements Executor {
  readonly name: string;
  readonly type: string;
  readonly #options: KubernetesExecutorOptions;
  /** How long something takes is not for the time of day to say. */
  readonly #clock: Clock;
  readonly #client: ApiClient;
  readonly #api: BuilderApi;
  readonly #looks: Looks;
  readonly #selector: string;
  readonly #patience: Patience;
  readonly #minded = new Map<string, Minded>();
  readonly #starting = new Map<string, Promise<StartedWorker>>();
  /** Workers that are gone: bounded, the oldest is forgotten first. */
  readonly #ends = new Map<string, Promise<Gone>>();
  readonly #stopped = new Map<string, Gone>();
  readonly #told = new Set<string>();
  readonly #orphans = new Map<string, number>();
  readonly startSteps = ['scheduled', 'image-pulled'] as const;
  #verdicts: ReadonlyMap<string, Verdict> = new Map();
  #lookedAt = Number.NEGATIVE_INFINITY;
  #trouble: ExecutorError | undefined;
  #unadopted: ((attemptId: AttemptId) => Promise<boolean>) | undefined;
  readonly #listeners = new Set<Parameters<Executor['onGone']>[0]>();
  readonly #closing = new AbortController();
  #hurry = new AbortController();
  #loop: Promise<unknown> | undefined;

  constructor(options: KubernetesExecutorOptions) {
    const { settings, maker, connection, timeout } = options;
    this.#options = options;
    this.#clock = new SteadyClock(options.clock, () => performance.now());
    this.name = settings.name;
    this.type = settings.type;
    this.#client = new ApiClient({ connection, timeout });
    this.#api = new BuilderApi(this.#client, settings.namespace);
    this.#selector = selectorOf(identityLabels(settings, maker));
    this.#looks = new Looks(this.#api, this.#selector);
    this.#patience = new Patience({
      toStart: settings.setupTime * toStartShare,
      toPull: options.pullPatience ?? 30_000,
    });
  }

  start(order: WorkerOrder, signal: AbortSignal): Promise<StartedWorker> {
    const worker = jobNameOf(order);
    const under = this.#starting.get(worker);
    if (under !== undefined) return under;
    const starting = this.#start(worker, order, signal).finally(() => this.#starting.delete(worker));
    this.#starting.set(worker, starting);
    return starting;
  }

  async #start(worker: string, order: WorkerOrder, signal: AbortSignal): Promise<StartedWorker> {
    signal.throwIfAborted();
    const { settings, maker, userData, clock } = this.#options;
    if (this.#minded.has(worker) && !this.#stopped.has(worker)) return { worker };
    this.#begin();
    // Who may not look at workers would start them and never see them die.
    if (this.#trouble?.code === 'misconfigured') await this.#look();
    await this.#expectRoom(worker);
    try {
      const objects = jobObjectsOf(order, settings, maker, { userData, now: clock.now() });
      await launch(this.#api, objects, { attemptId: order.attemptId, executor: this.name, clock, signal });
    } catch (thrown) {
      if (signal.aborted) throw signal.reason;
      throw this.#translate(thrown);
    }
    this.#stopped.delete(worker);
    this.#ends.delete(worker);
    this.#told.delete(worker);
    const idle = !this.#busy;
    this.#minded.set(worker, { attemptId: order.attemptId, after: this.#looks.begun });
    if (idle) this.#hurry.abort();
    return { worker };
  }

  async #expectRoom(worker: string): Promise<void> {
    const { maxWorkers } = this.#options;
    const full = [...this.#verdicts.values()].find(
      (verdict) => verdict.kind === 'starting' && isQuota(verdict.why?.reason ?? ''),
    );
    if (full?.kind === 'starting')
      throw new ExecutorError('at-capacity', `Executor ${this.name}: ${full.why?.reason ?? ''}`);
    if (maxWorkers === undefined) return;
    const others = new Set((await this.running()).map((running) => running.worker));
    for (const starting of this.#starting.keys()) others.add(starting);
    others.delete(worker);
    if (others.size >= maxWorkers)
      throw new ExecutorError('at-capacity', `Executor ${this.name} runs ${maxWorkers} workers already.`);
  }

  #translate(thrown: unknown): ExecutorError {
    return translateApiError(thrown, this.#context);
  }

  get #context(): ErrorContext {
    return { executor: this.name, namespace: this.#options.settings.namespace };
  }

  get leavesWorkers(): boolean {
    return this.#options.settings.debug;
  }

  check(order: WorkerOrder, signal: AbortSignal): AsyncIterable<ReadyStep> {
    const { settings, maker, userData, clock } = this.#options;
    const { job } = jobObjectsOf(order, settings, maker, { userData, now: clock.now() });
    return readinessOf(this.#api, job, this.#context, signal);
  }

  async progress(worker: string): Promise<readonly StartStep[]> {
    const listing = await this.#recent().catch(() => this.#looks.latest);
    const pod = listing?.pods.get(worker);
    return pod === undefined ? [] : stepsOf(pod);
  }

  /** In DEBUG a worker is left for whoever looks into it; its own limits end it. */
  async stop(worker: string, signal: AbortSignal): Promise<void> {
    if (!isJobName(worker) || this.#options.settings.debug) return;
    await this.#starting.get(worker)?.catch(() => {});
    if (this.#stopped.has(worker)) return;
    const last = await this.#ends.get(worker);
    remember(this.#stopped, worker, last ?? { kind: 'gone', reason: 'The worker was stopped.' });
    try {
      await this.#delete(worker, signal);
    } catch (thrown) {
      this.#stopped.delete(worker);
      if (signal.aborted) throw signal.reason;
      throw this.#translate(thrown);
    }
    this.#minded.delete(worker);
    this.#patience.forget(worker);
  }

  async #delete(worker: string, signal: AbortSignal): Promise<void> {
    for (let n = 1; ; n += 1) {
      try {
        await this.#api.deleteJob(worker, signal);
        return;
      } catch (thrown) {
        if (isStatus(thrown, 404)) return;
        if (signal.aborted || n === 3 || !isPassing(thrown)) throw thrown;
        await this.#options.clock.sleep(250 * n, signal);
      }
    }
  }

  /** While the API does not answer, a worker is taken to be as it was last seen: its heartbeats tell the rest. */
  async status(worker: string): Promise<WorkerStatus> {
    if (!isJobName(worker)) return { kind: 'gone', reason: 'There is no such worker.' };
    const known = this.#stopped.get(worker) ?? (await this.#ends.get(worker));
    if (known !== undefined) return known;
    this.#begin();
    let listing: Listing;
    try {
      listing = await this.#recent();
      // Another manager may have started it a moment ago.
      if (!listing.jobs.has(worker)) listing = await this.#look();
    } catch {
      return { kind: this.#verdicts.get(worker)?.kind === 'starting' ? 'starting' : 'running' };
    }
    const verdict = this.#verdicts.get(worker);
    if (verdict === undefined) {
      const minded = this.#minded.get(worker);
      if (minded !== undefined && minded.after >= listing.look) return { kind: 'starting' };
      return (await this.#ends.get(worker)) ?? { kind: 'gone', reason: vanished.reason };
    }
    return verdict.kind === 'gone'
      ? await this.#end(worker, verdict, listing.pods.get(worker))
      : { kind: verdict.kind };
  }

  /** As far as is known, when the API does not answer. */
  async running(): Promise<readonly { readonly worker: string; readonly attemptId: AttemptId }[]> {
    this.#begin();
    const listing = await this.#soon();
    const running = new Map<string, AttemptId>();
    for (const [worker, job] of listing?.jobs ?? []) {
      const attemptId = attemptOf(job.metadata);
      if (attemptId !== undefined && this.#verdicts.get(worker)?.kind !== 'gone')
        running.set(worker, attemptId);
    }
    for (const [worker, { attemptId, after }] of this.#minded)
      if (listing === undefined || after >= listing.look) running.set(worker, attemptId);
    return [...running]
      .filter(([worker]) => !this.#stopped.has(worker) && !this.#ends.has(worker))
      .map(([worker, attemptId]) => ({ worker, attemptId }));
  }

  onGone(tell: Parameters<Executor['onGone']>[0]): () => void {
    const own: typeof tell = (gone) => tell(gone);
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }

  /** When the API does not answer, it is done as soon as it does. */
  async adopt(keep: (attemptId: AttemptId) => Promise<boolean>): Promise<void> {
    this.#unadopted = keep;
    this.#begin();
    await this.#look().catch(() => {});
  }

  async #adopt(listing: Listing, keep: (attemptId: AttemptId) => Promise<boolean>): Promise<void> {
    const own = labelValue(this.#options.maker.manager);
    for (const [worker, { metadata }] of listing.jobs) {
      const attemptId = attemptOf(metadata);
      if (attemptId === undefined || this.#minded.has(worker) || this.#stopped.has(worker)) continue;
      if (this.#starting.has(worker)) continue;
      if (!(await keep(attemptId))) await this.stop(worker, AbortSignal.timeout(stopTime));
      else if (metadata.labels?.manager === own)
        this.#minded.set(worker, { attemptId, after: listing.look - 1 });
    }
  }

  /** Lets go of the workers; they run on. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#hurry.abort();
    this.#listeners.clear();
    await Promise.allSettled([...this.#starting.values()]);
    await this.#loop;
    await Promise.allSettled([...this.#ends.values()]);
    this.#client.close();
  }

  #begin(): void {
    if (this.#closing.signal.aborted) return;
    this.#loop ??= Promise.all([
      this.#run(),
      watchPods(
        {
          api: this.#api,
          selector: this.#selector,
          clock: this.#options.clock,
          // There is nothing to watch while nobody works.
          resourceVersion: () => (this.#busy ? this.#looks.latest?.resourceVersion : undefined),
          hurry: (pod) => {
            if (pod === undefined || !this.#seeEnd(pod)) this.#hurry.abort();
          },
        },
        this.#closing.signal,
      ),
    ]);
  }

  /**
   * A pod that has ended by itself has ended for good. One that is being deleted is looked at together with its Job, which
   * says why. False: a look is needed.
   */
  #seeEnd(pod: Pod): boolean {
    const worker = jobOf(pod);
    const minded = worker === undefined ? undefined : this.#minded.get(worker);
    if (worker === undefined || minded === undefined || pod.metadata.deletionTimestamp !== undefined)
      return false;
    const job = this.#looks.latest?.jobs.get(worker) ?? { metadata: { name: worker, uid: '' } };
    const verdict = verdictOf(job, pod, this.#limits, undefined);
    if (verdict.kind !== 'gone') return false;
    this.#tell(worker, minded.attemptId, this.#end(worker, verdict, pod));
    return true;
  }

  get #limits(): VerdictLimits {
    const { maximumJobTime, memoryLimit } = this.#options.settings;
    return { maximumJobTime: Math.round(maximumJobTime / 1000), memoryLimit };
  }

  get #busy(): boolean {
    return this.#minded.size > 0 || (this.#looks.latest?.jobs.size ?? 0) > 0;
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    const closing = this.#closing.signal;
    while (!closing.aborted) {
      const hurry = AbortSignal.any([closing, this.#hurry.signal]);
      await clock
        .sleep(this.#busy || this.#unadopted !== undefined ? this.#every : 3_600_000, hurry)
        .catch(() => {});
      if (closing.aborted) return;
      this.#hurry = new AbortController();
      const from = performance.now();
      await this.#look('glance').catch(() => {});
      // A cluster with much to do is not asked all the time.
      const pause = Math.max(leastPause, performance.now() - from);
      await clock.sleep(pause, closing).catch(() => {});
    }
  }

  get #every(): number {
    return this.#options.every ?? 1_000;
  }

  /** An API that does not answer holds up who asks what runs for a moment, once: until it does, what is known is told. */
  async #soon(): Promise<Listing | undefined> {
    const looking = this.#recent().catch(() => {});
    if (this.#trouble?.code !== 'unavailable') await forAMoment(looking, this.#options.clock);
    return this.#looks.latest;
  }

  /** The last listing when it is young enough, else a new one. */
  async #recent(): Promise<Listing> {
    const { latest } = this.#looks;
    if (latest !== undefined && this.#clock.now() - this.#lookedAt < this.#every) return latest;
    return await this.#look();
  }

  async #look(how: 'look' | 'glance' = 'look'): Promise<Listing> {
    const { onTrouble } = this.#options;
    let listing: Listing;
    try {
      listing = await this.#looks.look(this.#closing.signal, how);
    } catch (thrown) {
      const trouble = this.#translate(thrown);
      if (this.#trouble?.message !== trouble.message && !this.#closing.signal.aborted) onTrouble?.(trouble);
      this.#trouble = trouble;
      throw trouble;
    }
    if (this.#trouble !== undefined) onTrouble?.(undefined);
    this.#trouble = undefined;
    this.#lookedAt = this.#clock.now();
    await this.#reconcile(listing);
    return listing;
  }

  async #reconcile(listing: Listing): Promise<void> {
    const now = this.#clock.now();
    const verdicts = new Map<string, Verdict>();
    for (const [worker, job] of listing.jobs) {
      const verdict = verdictOf(job, listing.pods.get(worker), this.#limits, listing.refusals.get(worker));
      verdicts.set(worker, this.#patience.judge(worker, verdict, now));
    }
    this.#verdicts = verdicts;
    this.#patience.keep(listing.jobs);
    if (this.#unadopted !== undefined) {
      const keep = this.#unadopted;
      this.#unadopted = undefined;
      await this.#adopt(listing, keep).catch(() => {
        this.#unadopted = keep;
      });
    }
    for (const [worker, { attemptId, after }] of this.#minded) {
      const verdict = verdicts.get(worker) ?? (listing.look > after ? vanished : undefined);
      if (verdict?.kind === 'gone')
        this.#tell(worker, attemptId, this.#end(worker, verdict, listing.pods.get(worker)));
    }
    this.#endOrphans(listing, now);
  }

  #tell(worker: string, attemptId: AttemptId, ending: Promise<Gone>): void {
    if (this.#told.has(worker)) return;
    this.#told.add(worker);
    void ending.then((status) => {
      this.#minded.delete(worker);
      this.#told.delete(worker);
      if (this.#stopped.has(worker)) return;
      for (const listener of [...this.#listeners]) listener({ worker, attemptId, status });
    });
  }

  /** How a worker ended, found out once. */
  #end(worker: string, verdict: Extract<Verdict, { kind: 'gone' }>, pod: Pod | undefined): Promise<Gone> {
    const known = this.#ends.get(worker);
    if (known !== undefined) return known;
    const ending = this.#lastStatus(verdict, pod);
    remember(this.#ends, worker, ending);
    return ending;
  }

  async #lastStatus(
    { ask, reason, kind, ...how }: Extract<Verdict, { kind: 'gone' }>,
    pod: Pod | undefined,
  ): Promise<Gone> {
    if (ask === 'nothing' || pod === undefined) return { kind, reason, ...how };
    const signal = AbortSignal.any([AbortSignal.timeout(lastWordsTime), this.#closing.signal]);
    const { events, output } = await lastWordsOf(this.#api, pod, ask, signal);
    return {
      kind,
      reason: events === undefined ? reason : `${reason} ${events}`,
      ...how,
      ...(output === undefined ? {} : { output }),
    };
  }

  /** A pod goes with its Job; one that does not is helped. */
  #endOrphans(listing: Listing, now: number): void {
    if (this.#options.settings.debug) return;
    const orphans = [...listing.pods]
      .filter(([job]) => !listing.jobs.has(job))
      .map(([, pod]) => pod.metadata);
    const names = new Set(orphans.map(({ name }) => name));
    for (const name of this.#orphans.keys()) if (!names.has(name)) this.#orphans.delete(name);
    for (const { name } of orphans) {
      const since = this.#orphans.get(name) ?? now;
      this.#orphans.set(name, since);
      if (now - since < orphanPatience) continue;
      this.#orphans.set(name, now);
      this.#api.deletePod(name, this.#closing.signal).catch(() => {});
    }
  }
}

const vanished = {
  kind: 'gone',
  reason:
    'The Job of the worker is not there any more: somebody deleted it, or it ended and was removed (RETENTION_AFTER_FINISHED).',
  ask: 'nothing',
} as const;

function remember<Value>(map: Map<string, Value>, key: string, value: Value): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= remembered) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
}
