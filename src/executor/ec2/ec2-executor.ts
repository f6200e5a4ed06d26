import { backOff } from '../../base/back-off.ts';
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
import type { CoreosAmi } from './coreos-ami.ts';
import type { Ec2Api } from './ec2-api.ts';
import type { Ec2Settings } from './ec2-settings.ts';
import { InstanceStarter } from './instance-starter.ts';
import { isUp, reasonOf } from './instance-state.ts';
import { type Gone, InstanceTable, isAlive, type KnownInstance } from './instance-table.ts';
import { ownInstances } from './instance-tags.ts';

export interface Ec2ExecutorOptions {
  readonly settings: Ec2Settings;
  /** Closed with the executor. */
  readonly api: Ec2Api;
  readonly amis: Pick<CoreosAmi, 'find' | 'forget'>;
  /** What an instance is told at its first boot. It holds the order's token. */
  readonly userData: (order: WorkerOrder) => string;
  /** Instances at once; default: as many as the manager asks for. */
  readonly maxWorkers?: number;
  /** Instances are left after their build, and end by their own limit. */
  readonly debug: boolean;
  readonly clock: Clock;
  /** Milliseconds between two looks at all instances while there are some. */
  readonly every?: number;
  /** Milliseconds after its start in which an instance that no list has is on its way. */
  readonly appearsWithin?: number;
  /** Told that a look failed, once until one succeeds again. */
  readonly onTrouble?: (error: unknown) => void;
}

/** Looks without an instance that are skipped: nothing is there to be noticed. */
const idleFactor = 5;
/** Milliseconds that somebody who asks for instances waits for a look. */
const lookPatience = 2_000;
const never = new AbortController().signal;

/**
 * Runs each worker on an EC2 instance of its own, which is its name. Nothing is kept on this machine: instances carry
 * their attempt as a tag, and one list of them all, every few seconds, tells which live (see instance-table.ts).
 * */
export class Ec2Executor implements Executor {
  readonly name: string;
  readonly type = 'ec2';
  readonly startSteps = ['scheduled'] as const;
  readonly #options: Ec2ExecutorOptions;
  /** How long something takes is not for the time of day to say. */
  readonly #clock: Clock;
  readonly #every: number;
  readonly #starter: InstanceStarter;
  readonly #table = new InstanceTable();
  readonly #starting = new Map<AttemptId, Promise<StartedWorker>>();
  readonly #listeners = new Set<Parameters<Executor['onGone']>[0]>();
  readonly #ends = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #look: Promise<void> | undefined;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #failures = 0;
  #watch: Promise<void> | undefined;

  constructor(options: Ec2ExecutorOptions) {
    this.#options = options;
    this.#clock = new SteadyClock(options.clock, () => performance.now());
    this.name = options.settings.executor;
    this.#every = options.every ?? 3_000;
    this.#starter = new InstanceStarter({ ...options, every: this.#every });
  }

  start(order: WorkerOrder, signal: AbortSignal): Promise<StartedWorker> {
    const under = this.#starting.get(order.attemptId);
    if (under !== undefined) return under;
    const starting = this.#start(order, signal).finally(() => this.#starting.delete(order.attemptId));
    this.#starting.set(order.attemptId, starting);
    return starting;
  }

  async #start(order: WorkerOrder, signal: AbortSignal): Promise<StartedWorker> {
    signal.throwIfAborted();
    const known = this.#table.ofAttempt(order.attemptId);
    if (known !== undefined) return this.#watched(known);
    await this.#expectRoom(order.attemptId);
    const found = this.#table.ofAttempt(order.attemptId);
    if (found !== undefined) return this.#watched(found);
    const instance = await this.#starter.start(order, signal);
    const { attemptId } = order;
    return this.#watched(this.#table.seen({ ...instance, attemptId }, this.#clock.now()));
  }

  #watched(known: KnownInstance): StartedWorker {
    known.watched = true;
    this.#keepWatching();
    return { worker: known.id };
  }

  async #expectRoom(attemptId: AttemptId): Promise<void> {
    const { maxWorkers } = this.#options;
    if (maxWorkers === undefined) return;
    await this.#lookNow();
    if (this.#table.ofAttempt(attemptId) !== undefined) return;
    // Of starts under way those that came first have the room.
    const under = [...this.#starting.keys()];
    const others = under
      .slice(0, under.indexOf(attemptId))
      .filter((each) => this.#table.ofAttempt(each) === undefined);
    const alive = this.#table.alive().filter(({ telling }) => !telling);
    if (alive.length + others.length >= maxWorkers)
      throw new ExecutorError('at-capacity', `Executor ${this.name} runs ${maxWorkers} instances already.`);
  }

  async stop(worker: string, signal: AbortSignal): Promise<void> {
    const { debug, api } = this.#options;
    if (debug || !isInstanceId(worker)) return;
    const known = this.#table.get(worker);
    // Ended before, by us.
    if (known !== undefined && !isAlive(known) && known.stopping) return;
    if (known !== undefined) known.stopping = true;
    try {
      await api.terminate(worker, signal);
    } catch (thrown) {
      if (known !== undefined) known.stopping = false;
      throw thrown;
    }
    if (known !== undefined)
      this.#table.lost(known, { kind: 'gone', reason: 'The instance was terminated.' });
  }

  async status(worker: string): Promise<WorkerStatus> {
    if (!isInstanceId(worker)) return unknown;
    const known = this.#table.get(worker) ?? (await this.#find(worker));
    if (known === 'not told') return { kind: 'running' };
    if (known === undefined) return unknown;
    if (!known.watched) this.#watched(known);
    return known.state === 'starting' || known.state === 'running' ? { kind: known.state } : known.state;
  }

  /** An instance that another server started. While EC2 does not answer, nothing is known of it: only its heartbeats tell. */
  async #find(id: string): Promise<KnownInstance | undefined | 'not told'> {
    const { api } = this.#options;
    try {
      const patience = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(lookPatience)]);
      const [instance] = await api.byIds([id], patience);
      if (instance === undefined) return undefined;
      const known = this.#table.seen(instance, this.#clock.now());
      if (!isUp(instance)) await this.#ended(known, reasonOf(instance));
      return known;
    } catch {
      return 'not told';
    }
  }

  /** What the last look found, which is a few seconds old at most unless EC2 does not answer. */
  async running(): Promise<readonly { readonly worker: string; readonly attemptId: AttemptId }[]> {
    const alive = this.#table.alive();
    const patience = this.#pause() * (alive.length === 0 ? idleFactor : 1);
    if (this.#clock.now() - this.#lookedAt >= patience) await this.#soon(this.#tryLook());
    return this.#table
      .alive()
      .flatMap(({ id, attemptId }) => (attemptId === undefined ? [] : [{ worker: id, attemptId }]));
  }

  /** Whoever asks also asks others: an EC2 that does not answer holds them up for a moment only. */
  async #soon(look: Promise<void>): Promise<void> {
    if (this.#failures === 0) await forAMoment(look, this.#options.clock);
  }

  /** Between two looks: longer while EC2 does not answer. */
  #pause(): number {
    if (this.#failures === 0) return this.#every;
    return backOff(this.#failures, { first: this.#every, cap: this.#every * 20 });
  }

  get leavesWorkers(): boolean {
    return this.#options.debug;
  }

  async *check(order: WorkerOrder, signal: AbortSignal): AsyncGenerator<ReadyStep> {
    const { api, settings } = this.#options;
    let refused: unknown;
    try {
      await api.list(ownInstances(settings), signal);
    } catch (thrown) {
      signal.throwIfAborted();
      if (!(thrown instanceof ExecutorError) || thrown.code === 'unavailable') throw thrown;
      refused = thrown;
    }
    yield 'reachable';
    if (refused !== undefined) throw refused;
    await this.#starter.tryStart(order, signal);
    yield 'allowed';
  }

  /** That an instance runs is what EC2 knows; what happens on it, it does not. */
  async progress(worker: string): Promise<readonly StartStep[]> {
    return this.#table.get(worker)?.state === 'running' ? ['scheduled'] : [];
  }

  onGone(tell: Parameters<Executor['onGone']>[0]): () => void {
    const own: typeof tell = (gone) => tell(gone);
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }

  /** Instances without an attempt are not ours, whatever they are called, and are left alone. */
  async adopt(keep: (attemptId: AttemptId) => Promise<boolean>): Promise<void> {
    await this.#tryLook();
    for (const known of this.#table.alive()) {
      if (known.attemptId === undefined || this.#starting.has(known.attemptId)) continue;
      if (await keep(known.attemptId)) this.#watched(known);
      // What cannot be ended now is found again by whoever looks for workers that nobody needs.
      else await this.stop(known.id, never).catch((thrown: unknown) => this.#options.onTrouble?.(thrown));
    }
  }

  /** Lets go of the instances; they run on. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#listeners.clear();
    await Promise.allSettled(this.#starting.values());
    await this.#watch;
    await this.#look?.catch(() => {});
    await Promise.all(this.#ends);
    this.#options.api.close();
  }

  #keepWatching(): void {
    this.#watch ??= this.#watchThem().finally(() => {
      this.#watch = undefined;
      // One may have come between the last look at them and here.
      if (this.#anyWatched()) this.#keepWatching();
    });
  }

  #anyWatched(): boolean {
    return !this.#closing.signal.aborted && this.#table.alive().some(({ watched }) => watched);
  }

  async #watchThem(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#closing;
    while (this.#anyWatched()) {
      const failed = this.#failures;
      const pause =
        failed === 0 ? this.#every : backOff(failed, { first: this.#every, cap: this.#every * 10 });
      await clock.sleep(pause, signal).catch(() => {});
      if (!signal.aborted) await this.#tryLook();
    }
  }

  async #tryLook(): Promise<void> {
    try {
      await this.#lookNow();
      this.#failures = 0;
    } catch (thrown) {
      if (this.#closing.signal.aborted) return;
      this.#failures += 1;
      if (this.#failures === 1) this.#options.onTrouble?.(thrown);
    }
  }

  /** One look for all who ask meanwhile. */
  #lookNow(): Promise<void> {
    this.#look ??= this.#lookOnce().finally(() => {
      this.#look = undefined;
    });
    return this.#look;
  }

  async #lookOnce(): Promise<void> {
    const { api, settings, appearsWithin = 60_000 } = this.#options;
    const { signal } = this.#closing;
    // Also after a failure: whoever asks again at once gets what is known.
    this.#lookedAt = this.#clock.now();
    const before = this.#table.alive();
    const up = await api.list(
      [...ownInstances(settings), { Name: 'instance-state-name', Values: ['pending', 'running'] }],
      signal,
    );
    const listed = new Set(up.map(({ id }) => id));
    for (const instance of up) this.#table.seen(instance, this.#clock.now());
    const missing = before.filter((known) => !listed.has(known.id) && isAlive(known) && !known.stopping);
    if (missing.length === 0) return;
    const told = await api.byIds(
      missing.map(({ id }) => id),
      signal,
    );
    const byId = new Map(told.map((instance) => [instance.id, instance]));
    for (const known of missing) {
      const instance = byId.get(known.id);
      if (instance !== undefined && isUp(instance)) this.#table.seen(instance, this.#clock.now());
      else if (instance !== undefined) this.#endSoon(known, reasonOf(instance));
      else if (this.#clock.now() - known.since >= appearsWithin)
        this.#endSoon(known, `There is no instance ${known.id} any more.`);
    }
  }

  #endSoon(known: KnownInstance, reason: string): void {
    if (!known.watched) {
      this.#table.forget(known.id);
      return;
    }
    const end = this.#ended(known, reason).finally(() => this.#ends.delete(end));
    this.#ends.add(end);
  }

  /** Gone is told together with what its console says last, which nobody can read any more in an hour. */
  async #ended(known: KnownInstance, reason: string): Promise<void> {
    // Looks find it again meanwhile.
    if (known.telling) return;
    known.telling = true;
    const output = await this.#options.api.console(
      known.id,
      AbortSignal.any([this.#closing.signal, AbortSignal.timeout(10_000)]),
    );
    const status: Gone = { kind: 'gone', reason, ...(output === undefined ? {} : { output }) };
    if (!this.#table.lost(known, status) || known.stopping || known.attemptId === undefined) return;
    for (const listener of [...this.#listeners])
      listener({ worker: known.id, attemptId: known.attemptId, status });
  }
}

const unknown: Gone = { kind: 'gone', reason: 'There is no such instance.' };

/** What is none is not asked for: EC2 would refuse the whole call. */
function isInstanceId(worker: string): boolean {
  return /^i-[0-9a-f]{8,17}$/.test(worker);
}
