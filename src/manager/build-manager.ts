import { backOff } from '../base/back-off.ts';
import type { Clock } from '../base/clock.ts';
import { SteadyClock } from '../base/steady-clock.ts';
import type { Executor } from '../executor/executor.ts';
import type { LogStore } from '../log/log-store.ts';
import { isRunning } from '../model/attempt.ts';
import type { AttemptId, BuildId } from '../model/ids.ts';
import { isFinal } from '../model/phase.ts';
import type { Orchestrator } from '../orchestrator/orchestrator.ts';
import type { BuildQueue, RunningAttempt, TakenOver } from '../queue/build-queue.ts';
import type { AttemptEnd } from './attempt-end.ts';
import { BackgroundTasks } from './background-tasks.ts';
import type { BuildEnd } from './build-end.ts';
import { BuildTraces } from './build-traces.ts';
import type { ManagerLog } from './manager-log.ts';
import type { ManagerMetrics } from './manager-metrics.ts';
import type { Publisher } from './publisher.ts';
import type { ManagerSettings } from './settings.ts';
import { Supervision } from './supervision.ts';
import { WakeUp } from './wake-up.ts';
import { WorkerReaper } from './worker-reaper.ts';
import type { WorkerSessionService } from './worker-session-service.ts';
import { type RegistrationTokens, type WorkerSite, WorkerStarter } from './worker-starter.ts';
import type { WorkerTrials } from './worker-trials.ts';

export interface BuildManagerOptions {
  /** Unique among all managers and all their lives. */
  readonly name: string;
  /** Managers known to be dead: former lives of this one. Their attempts are taken over at once. */
  readonly formerNames?: readonly string[];
  readonly queue: BuildQueue;
  readonly log: LogStore;
  readonly orchestrator: Orchestrator;
  readonly executor: Executor;
  readonly sessions: WorkerSessionService;
  readonly attemptEnd: AttemptEnd;
  readonly buildEnd: BuildEnd;
  readonly publisher: Publisher;
  readonly tokens: RegistrationTokens;
  readonly worker: WorkerSite;
  readonly trials?: WorkerTrials;
  readonly clock: Clock;
  /** Milliseconds that go on whatever the time of day is set to; the process's own unless given. */
  readonly monotonic?: () => number;
  readonly settings: ManagerSettings;
  readonly logger: ManagerLog;
  readonly metrics: ManagerMetrics;
}

const claimedAtOnce = 16;
/** After the database or another part failed. */
const troubleDelay = 5_000;
/** Builds, of those that ended last and of those made last, whose logs are looked at, when the manager starts and then so often: one may have been left open. */
const lookedBack = 200;
const closeEvery = 30_000;

/**
 * Claims builds, has workers started for them, and supervises those until they are over. Any number of managers share
 * one queue; none is special, and nothing here is true because this is the only one.
 *
 *     stopped → start → running → drain → draining → stop → stopped
 *
 * | loop      | woken by                              | does                                                  |
 * |-----------|---------------------------------------|-------------------------------------------------------|
 * | claiming  | queue: queued, finished; the poll     | claims what may run now                               |
 * | watching  | the poll                              | looks at every attempt of this manager                |
 * | adopting  | its interval                          | takes over attempts whose lease has run out           |
 * | beating   | its interval                          | shows that it lives; takes over what the dead left    |
 * | one each  | worker gone, cancel, expiry, finished | looks at that attempt, decides, acts (supervision.ts) |
 */
export class BuildManager implements AsyncDisposable {
  readonly #options: BuildManagerOptions;
  readonly #starter: WorkerStarter;
  readonly #traces: BuildTraces;
  readonly #supervised = new Map<AttemptId, Supervision>();
  readonly #ofBuild = new Map<BuildId, Set<AttemptId>>();
  readonly #claimable: WakeUp;
  readonly #looks: WakeUp;
  readonly #emptied: WakeUp;
  readonly #leftLogs: WakeUp;
  readonly #tasks: BackgroundTasks;
  readonly #stopping = new AbortController();
  readonly #reaper: WorkerReaper;
  readonly #subscriptions: (() => void)[] = [];
  #claiming = false;
  #stopped: Promise<void> | undefined;

  constructor(options: BuildManagerOptions) {
    this.#options = options;
    this.#starter = new WorkerStarter(options);
    this.#traces = new BuildTraces(options);
    this.#claimable = new WakeUp(options.clock);
    this.#looks = new WakeUp(options.clock);
    this.#emptied = new WakeUp(options.clock);
    this.#leftLogs = new WakeUp(options.clock);
    this.#reaper = new WorkerReaper({
      ...options,
      supervises: (attemptId) => this.#supervised.has(attemptId),
    });
    this.#tasks = new BackgroundTasks((thrown) => {
      if (!this.#stopping.signal.aborted) {
        options.logger.error({ err: thrown }, 'the build manager failed at something; it goes on');
      }
    });
  }

  /** Attempts under this manager's eyes now. */
  get supervising(): number {
    return this.#supervised.size;
  }

  /** Takes over what former lives left, then begins to claim. Waits for a database that is away. */
  async start(): Promise<void> {
    const {
      queue,
      executor,
      orchestrator,
      attemptEnd,
      name,
      formerNames = [],
      settings,
      trials,
    } = this.#options;
    this.#subscriptions.push(
      queue.onChange(({ kind, buildId }) => this.#changed(kind, buildId)),
      executor.onGone(({ attemptId }) => this.#supervised.get(attemptId)?.workerGone()),
      executor.onGone(({ attemptId }) => {
        if (this.#supervised.has(attemptId)) this.#look(attemptId);
        else this.#tasks.run(() => this.#takeBack(attemptId));
      }),
      attemptEnd.onFinished((attemptId) => this.#supervised.get(attemptId)?.finished()),
      orchestrator.subscribe((event) => {
        if (event.kind !== 'log') this.#look(event.attemptId);
      }),
    );
    await this.#persist(() => this.#beat());
    const left = await this.#persist(() => queue.adopt(name, settings.lease, formerNames));
    await executor.adopt(async (attemptId) => {
      const read = await this.#persist(async () => ({ attempt: await queue.attempt(attemptId) }));
      // Nothing is known when the manager is to stop meanwhile: then the worker is the next life's.
      if (read === undefined) return true;
      if (read.attempt !== undefined) return isRunning(read.attempt.state);
      return (await this.#persist(async () => (await trials?.runs(attemptId)) === true)) ?? true;
    });
    if (left !== undefined) this.#take(left);
    for (const attempt of (await this.#persist(() => queue.supervised(name))) ?? []) this.#supervise(attempt);
    if (this.#stopping.signal.aborted) return;
    this.#reaper.start();
    this.#claiming = true;
    this.#tasks.run(() => this.#loop(() => this.#closeLeftLogs(), this.#leftLogs, closeEvery));
    this.#tasks.run(() => this.#loop(() => this.#claim(), this.#claimable, settings.poll));
    this.#tasks.run(() => this.#loop(() => this.#watch(), this.#looks, settings.poll));
    this.#tasks.run(() =>
      this.#loop(() => this.#adopt(), new WakeUp(this.#options.clock), settings.adoptEvery),
    );
    this.#tasks.run(() =>
      this.#loop(() => this.#beat(), new WakeUp(this.#options.clock), settings.beatEvery, settings.beatEvery),
    );
  }

  /**
   * Until it succeeds: a database that is away for a moment when a manager begins is no reason for the process to end, as
   * it is none later. Undefined: the manager was stopped meanwhile.
   */
  async #persist<T>(begin: () => Promise<T>): Promise<T | undefined> {
    const { clock, logger } = this.#options;
    const { signal } = this.#stopping;
    for (let n = 0; !signal.aborted; n += 1) {
      try {
        return await begin();
      } catch (thrown) {
        if (signal.aborted) break;
        const after = backOff(n, { first: 250, cap: troubleDelay });
        logger.error({ err: thrown, after }, 'the build manager could not begin; it tries again in a moment');
        await clock.sleep(after, signal).catch(() => {});
      }
    }
    return undefined;
  }

  #changed(kind: 'queued' | 'cancel' | 'finished' | 'ended', buildId: BuildId): void {
    if (kind === 'ended') {
      this.#tasks.run(() => this.#endIfFinal(buildId));
      return;
    }
    if (kind !== 'cancel') this.#claimable.wake();
    if (kind === 'queued') return;
    for (const attemptId of this.#ofBuild.get(buildId) ?? []) this.#look(attemptId);
  }

  /** A build that was cancelled while it waited never had a manager: all of them hear of it, one closes its log. */
  async #endIfFinal(buildId: BuildId): Promise<void> {
    const build = await this.#options.queue.build(buildId);
    if (build !== undefined && isFinal(build.phase)) await this.#options.buildEnd.end(build);
  }

  /** A manager that died right after a build got final did not write its end. */
  async #closeLeftLogs(): Promise<void> {
    const { queue, log, buildEnd } = this.#options;
    // Those made last as well: how late one ended was said by some manager's time of day.
    const made = await queue.builds({ limit: lookedBack });
    for (const build of [...(await queue.builds({ limit: lookedBack, byEnd: true })), ...made]) {
      if (this.#stopping.signal.aborted) return;
      if (!isFinal(build.phase) || buildEnd.hasEnded(build.id)) continue;
      const { closed } = await log.read(build.id, 0, 0);
      if (closed) buildEnd.endedElsewhere(build.id);
      else await buildEnd.end(build);
    }
  }

  /** Runs `turn` until the manager stops: whenever it is woken, and every `poll` milliseconds. */
  async #loop(
    turn: () => Promise<void>,
    wakeUp: WakeUp,
    poll: number,
    afterTrouble = troubleDelay,
  ): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      let wait = poll;
      try {
        await turn();
      } catch (thrown) {
        if (signal.aborted) return;
        this.#options.logger.error(
          { err: thrown, after: afterTrouble },
          'a turn of the build manager failed; it goes on in a moment',
        );
        wait = afterTrouble;
      }
      await wakeUp.wait(wait, signal);
    }
  }

  async #claim(): Promise<void> {
    const { queue, name, settings, logger, metrics, clock } = this.#options;
    const limit = Math.min(claimedAtOnce, settings.allowedWorkerCount);
    while (this.#claiming && !this.#stopping.signal.aborted) {
      const from = clock.now();
      const claimed = await queue.claim({
        manager: name,
        limit,
        capacity: settings.allowedWorkerCount,
        lease: settings.lease,
      });
      metrics.claimed(claimed.length);
      if (claimed.length > 0) {
        const to = clock.now();
        this.#tasks.run(() => this.#traces.claimed(claimed, from, to));
      }
      for (const attempt of claimed) {
        logger.debug({ build: attempt.buildId, attempt: attempt.id, epoch: attempt.epoch }, 'claimed');
        this.#supervise(attempt);
      }
      if (claimed.length < limit) return;
    }
  }

  async #watch(): Promise<void> {
    const { queue, name } = this.#options;
    const before = new Set(this.#supervised.keys());
    for (const attempt of await queue.supervised(name)) {
      before.delete(attempt.id);
      if (this.#supervised.has(attempt.id)) this.#look(attempt.id, attempt);
      // It may have gone back to the queue, or to another manager, since it was read: nothing is started on that word.
      else this.#supervise(attempt, 'was-held');
    }
    // Not among them any more: over, or another manager's.
    for (const attemptId of before) this.#look(attemptId);
  }

  async #adopt(): Promise<void> {
    const { queue, publisher, name, settings } = this.#options;
    this.#take(await queue.adopt(name, settings.lease));
    for (const buildId of await queue.unpublished(name, settings.lease)) publisher.publish(buildId);
  }

  async #beat(): Promise<void> {
    const { queue, name, settings } = this.#options;
    this.#take(await queue.beat(name, settings.lease));
  }

  #take({ attempts, retried, unpublished }: TakenOver): void {
    const { metrics, logger, publisher } = this.#options;
    if (attempts.length + retried > 0) {
      metrics.adopted(attempts.length + retried);
      logger.warn({ attempts: attempts.length, retried }, 'took over attempts whose manager is gone');
      this.#leftLogs.wake();
    }
    for (const attempt of attempts) this.#supervise(attempt);
    for (const buildId of unpublished) publisher.publish(buildId);
  }

  /** A worker has gone that only this manager can see, while another one, which took the attempt over, minds it. */
  async #takeBack(attemptId: AttemptId): Promise<void> {
    const { queue, name, settings } = this.#options;
    const attempt = await queue.attempt(attemptId);
    if (attempt === undefined || !isRunning(attempt.state)) return;
    const mine = await queue.takeBack(attemptId, attempt.epoch, name, settings.lease);
    if (mine !== undefined && isRunning(mine.state)) this.#supervise(mine);
  }

  /** `held`: the attempt as it was when it became this manager's, so nobody else can have changed whose it is. */
  #supervise(attempt: RunningAttempt, how: 'held' | 'was-held' = 'held'): void {
    if (this.#supervised.has(attempt.id) || this.#stopping.signal.aborted) return;
    const supervision = new Supervision(
      attempt,
      { ...this.#options, manager: this.#options.name, starter: this.#starter },
      () => {
        if (this.#supervised.get(attempt.id) === supervision) this.#forget(attempt);
        if (this.#supervised.size === 0) this.#emptied.wake();
      },
    );
    this.#supervised.set(attempt.id, supervision);
    const siblings = this.#ofBuild.get(attempt.buildId) ?? new Set();
    this.#ofBuild.set(attempt.buildId, siblings.add(attempt.id));
    this.#look(attempt.id, how === 'held' ? attempt : undefined);
  }

  #forget({ id, buildId }: RunningAttempt): void {
    this.#supervised.delete(id);
    const siblings = this.#ofBuild.get(buildId);
    siblings?.delete(id);
    if (siblings?.size === 0) this.#ofBuild.delete(buildId);
  }

  /** `known`: the attempt as it was just read; without it the look reads it. */
  #look(attemptId: AttemptId, known?: RunningAttempt): void {
    const supervision = this.#supervised.get(attemptId);
    if (supervision !== undefined && !this.#stopping.signal.aborted)
      this.#tasks.run(() => supervision.wake(known));
  }

  /**
   * Claims no more and gives running builds `grace` milliseconds to end. What still runs then is left to another manager,
   * which takes it over once this one has stopped; the workers go on. When there is no other, it goes back to the queue,
   * available at once, its try given back; its worker is stopped.
   */
  async drain(grace: number): Promise<void> {
    this.#claiming = false;
    const { publisher, logger, queue, name, monotonic } = this.#options;
    const clock = new SteadyClock(this.#options.clock, monotonic ?? (() => performance.now()));
    const end = clock.now() + grace;
    while (this.#supervised.size > 0 && clock.now() < end) {
      await this.#emptied.wait(end - clock.now(), this.#stopping.signal);
    }
    const left = [...this.#supervised.values()];
    if (left.length > 0 && (await queue.othersLive(name))) {
      logger.info({ builds: left.length }, 'leaving running builds to another manager');
      await publisher.drain();
      return;
    }
    if (left.length > 0) logger.warn({ builds: left.length }, 'giving running builds back to the queue');
    await Promise.allSettled(
      left.map((supervision) =>
        supervision.end(
          {
            kind: 'internal-error',
            fault: { code: 'managerlost', message: 'The server was stopped while this build ran.' },
            refunded: true,
          },
          0,
        ),
      ),
    );
    await publisher.drain();
  }

  /** Lets go of everything; workers run on and are found again by the next life. Safe to call twice. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#claiming = false;
    this.#stopping.abort();
    for (const end of this.#subscriptions.splice(0)) end();
    await Promise.allSettled([...this.#supervised.values()].map((supervision) => supervision.stop()));
    await this.#reaper.stop();
    await this.#tasks.idle();
    const { queue, name, logger } = this.#options;
    // Best after all else: from here on another manager takes over what runs.
    await queue.leave(name).catch((thrown: unknown) => {
      logger.warn(
        { err: thrown },
        'the other managers were not told of the end; they find out by themselves',
      );
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
