import type { Clock } from '../base/clock.ts';
import { SteadyClock } from '../base/steady-clock.ts';
import { unreachable } from '../base/unreachable.ts';
import type { Executor } from '../executor/executor.ts';
import type { LogStore } from '../log/log-store.ts';
import { isRunning, type Outcome, outcomeOfFault } from '../model/attempt.ts';
import type { BuildId } from '../model/ids.ts';
import type { Orchestrator } from '../orchestrator/orchestrator.ts';
import type { BuildQueue, RunningAttempt } from '../queue/build-queue.ts';
import type { AttemptEnd } from './attempt-end.ts';
import { withoutSecrets } from './last-words.ts';
import type { ManagerLog } from './manager-log.ts';
import type { ManagerSettings } from './settings.ts';
import { type Action, type Observed, step } from './step.ts';
import type { WorkerSessionService } from './worker-session-service.ts';
import type { WorkerStarter } from './worker-starter.ts';

export interface SupervisionOptions {
  readonly manager: string;
  readonly queue: BuildQueue;
  readonly log: LogStore;
  readonly orchestrator: Orchestrator;
  readonly executor: Executor;
  readonly starter: WorkerStarter;
  readonly sessions: WorkerSessionService;
  readonly attemptEnd: AttemptEnd;
  readonly clock: Clock;
  /** Milliseconds that go on whatever the time of day is set to; the process's own unless given. */
  readonly monotonic?: () => number;
  readonly settings: ManagerSettings;
  readonly logger: ManagerLog;
}

const judgedLines = 40;
/** Made once: an error made for every worker that ends is not for free, and nobody looks at it. */
const gone = new Error('the worker is gone');
const stopTries = 5;
const stopDelay = 1_000;
/** Between two looks whether a worker has exited by itself; mostly the executor tells sooner. */
const exitLook = 250;

/**
 * One attempt under this manager's eyes: looks, lets `step` decide, and acts, one round at a time.
 *
 * | it is over because …                        | then                                              |
 * |---------------------------------------------|---------------------------------------------------|
 * | `step` said finish                          | its worker is stopped                             |
 * | it ended elsewhere (the worker's own report) | its worker may exit by itself, then it is stopped |
 * | no worker could be started                  | the attempt waits in the queue again              |
 * | another manager took it over                | it is let go                                      |
 */
export class Supervision {
  readonly #options: SupervisionOptions;
  /** All that is measured here is measured with it. */
  readonly #clock: Clock;
  readonly #since: number;
  readonly #ended: () => void;
  readonly #stopping = new AbortController();
  #attempt: RunningAttempt;
  #starting: AbortController | undefined;
  readonly #scheduledAt: number;
  #startedAt: number | undefined;
  #gone: Observed['worker'] | undefined;
  #cancelToldAt: number | undefined;
  #over = false;
  /** This manager ended the attempt, so the worker has nothing left to say. */
  #enforced = false;
  #leaving: Promise<void> | undefined;
  #wanted = false;
  #known: RunningAttempt | undefined;
  #started: Pick<RunningAttempt, 'executor' | 'worker'> = {};
  #registeredSeen: number | undefined;
  #lastBeat = 0;
  readonly #workerGone = new AbortController();
  #round: Promise<void> | undefined;

  /** `ended` is called once, when nothing is left to do for the attempt. */
  constructor(attempt: RunningAttempt, options: SupervisionOptions, ended: () => void) {
    this.#attempt = attempt;
    this.#options = options;
    this.#ended = ended;
    this.#clock = new SteadyClock(options.clock, options.monotonic ?? (() => performance.now()));
    this.#since = this.#clock.now();
    // The time of day may have been set since it was claimed, even if this manager did that a moment ago.
    const age = attempt.age ?? Math.max(0, this.#since - attempt.scheduledAt);
    this.#scheduledAt = this.#since - age;
    if (attempt.worker !== undefined) this.#startedAt = this.#scheduledAt;
  }

  get buildId(): BuildId {
    return this.#attempt.buildId;
  }

  get attempt(): RunningAttempt {
    return this.#attempt;
  }

  /**
   * Looks again, now. Resolves when that look is over. `known`: the attempt as it was read a moment ago, which saves
   * reading it; an older one does no harm, for what follows is written under conditions and looked at again, and what
   * was given away is not started again by the one who gave it away.
   */
  wake(known?: RunningAttempt): Promise<void> {
    // Whoever asks without knowing may have heard of a change: then it is read.
    this.#known = this.#wanted && this.#known === undefined ? undefined : known;
    this.#wanted = true;
    this.#round ??= this.#rounds().finally(() => {
      this.#round = undefined;
    });
    return this.#round;
  }

  async #rounds(): Promise<void> {
    while (this.#wanted && !this.#over) {
      this.#wanted = false;
      await this.#look();
    }
  }

  async #look(): Promise<void> {
    const { queue, settings, manager } = this.#options;
    const known = this.#known;
    this.#known = undefined;
    const attempt = known ?? (await queue.attempt(this.#attempt.id));
    if (attempt === undefined || attempt.epoch !== this.#attempt.epoch || !isRunning(attempt.state)) {
      await this.#leave(attempt?.desired !== 'cancel');
      return;
    }
    // What was read before the worker was recorded does not name it.
    this.#attempt = { ...attempt, ...this.#started };
    if (attempt.manager !== manager) {
      this.#release();
      return;
    }
    const desired =
      attempt.desired === 'cancel'
        ? ({ kind: 'cancel', by: attempt.cancelledBy ?? 'slipway' } as const)
        : ({ kind: 'run' } as const);
    for (const action of step(await this.#observe(), desired, this.#clock.now(), settings)) {
      // A start that found no room may have given the attempt away meanwhile.
      if (this.#over) return;
      await this.#act(action);
    }
  }

  async #observe(): Promise<Observed> {
    const { sessions } = this.#options;
    const { id, state, epoch, registeredAt, leaseUntil, capabilities, executor } = this.#attempt;
    const worker = await this.#observeWorker();
    // When it was seen, not the time of day of whoever wrote it down.
    if (registeredAt !== undefined) this.#registeredSeen ??= this.#clock.now();
    const lastSign = Math.max(await this.#lastSign(), this.#registeredSeen ?? 0);
    // Absent: not known, so it is taken for one of ours.
    const reportsItsEnd = capabilities === undefined || Object.keys(capabilities).length > 0;
    return {
      state,
      epoch,
      scheduledAt: this.#scheduledAt,
      leaseUntil,
      ...(executor === undefined ? {} : { executor }),
      supervisedSince: this.#since,
      ...(lastSign === 0 ? {} : { lastSign }),
      worker,
      reportsItsEnd,
      lastLines: worker.kind === 'gone' && !reportsItsEnd ? await this.#lastLines() : [],
      unserved: sessions.isUnserved(id),
      reporting: sessions.isReporting(id),
      ...(this.#cancelToldAt === undefined ? {} : { cancelToldAt: this.#cancelToldAt }),
    };
  }

  /** Asked for only when what is known already could let the attempt expire soon. */
  async #lastSign(): Promise<number> {
    const { orchestrator, clock, settings } = this.#options;
    if (this.#registeredSeen === undefined) return 0;
    const known = Math.max(this.#lastBeat, this.#registeredSeen);
    if (this.#clock.now() - known >= settings.heartbeatTimeout / 2) {
      const beat = await orchestrator.lastBeat(this.#attempt.id);
      // Told in the time of day that it is now, so it is how long ago that counts.
      const ago = beat === undefined ? Number.POSITIVE_INFINITY : clock.now() - beat;
      this.#lastBeat = Math.max(this.#lastBeat, this.#clock.now() - ago);
    }
    return this.#lastBeat;
  }

  async #observeWorker(): Promise<Observed['worker']> {
    if (this.#gone !== undefined) return this.#gone;
    const { worker } = this.#attempt;
    if (worker === undefined) return { kind: this.#starting === undefined ? 'none' : 'starting' };
    this.#startedAt ??= this.#clock.now();
    const status = await this.#options.executor.status(worker);
    if (status.kind !== 'gone') return { kind: 'alive', startedAt: this.#startedAt };
    const unspeakable = await this.#options.sessions.unspeakable(this.#attempt);
    this.#gone = { ...withoutSecrets(status, unspeakable), at: this.#clock.now() };
    return this.#gone;
  }

  async #lastLines(): Promise<readonly string[]> {
    const { log } = this.#options;
    const { total } = await log.read(this.buildId, 0, 0);
    const { entries } = await log.read(this.buildId, Math.max(0, total - judgedLines), judgedLines);
    return entries.filter(({ type }) => type !== 'phase').map(({ message }) => message);
  }

  async #act(action: Action): Promise<void> {
    const { queue, orchestrator, manager } = this.#options;
    const { id, epoch } = this.#attempt;
    switch (action.kind) {
      case 'start':
        this.#start();
        return;
      case 'tell-cancel':
        this.#cancelToldAt = this.#clock.now();
        await orchestrator.publish({ kind: 'cancel', attemptId: id });
        return;
      case 'extend-lease':
        if (!(await queue.extendLease(id, epoch, manager, action.until))) this.#wanted = true;
        return;
      case 'finish':
        await this.end(action.outcome);
        return;
      default:
        unreachable(action);
    }
  }

  #start(): void {
    const starting = new AbortController();
    this.#starting = starting;
    const signal = AbortSignal.any([starting.signal, this.#stopping.signal]);
    this.#options.starter
      .start(this.#attempt, signal)
      .then(async (verdict) => {
        // A try is used up: another manager may be configured otherwise, but there is an end to it.
        if (verdict.kind === 'refused')
          return await this.end(outcomeOfFault(verdict.fault, 'infrastructure'));
        if (this.#starting === starting) this.#starting = undefined;
        if (verdict.kind === 'started') {
          this.#started = { executor: verdict.executor, worker: verdict.worker };
          this.#attempt = { ...this.#attempt, ...this.#started };
          this.#startedAt ??= this.#clock.now();
          // Whoever looked meanwhile saw a start under way; a cancel may have waited for it.
          if (this.#attempt.desired === 'run') return;
        }
        if (verdict.kind === 'released') this.#release();
        if (!this.#over) this.wake().catch(() => {});
      })
      .catch((thrown: unknown) => {
        if (this.#starting === starting) this.#starting = undefined;
        this.#options.logger.error({ attempt: this.#attempt.id, err: thrown }, 'starting a worker failed');
        if (!this.#over) this.wake().catch(() => {});
      });
  }

  /** The attempt was found to be over by this manager, whoever brought it to its end. */
  finished(): void {
    void this.#leave(this.#attempt.desired !== 'cancel');
  }

  workerGone(): void {
    this.#workerGone.abort(gone);
  }

  /** Ends the attempt and its worker. `retryDelay`: milliseconds until the next one may begin. */
  async end(outcome: Outcome, retryDelay?: number): Promise<void> {
    const enforced = this.#enforced;
    // Before the end is known: it is told to `finished` first.
    this.#enforced = true;
    const { attemptEnd } = this.#options;
    const ended = await attemptEnd.finish(this.#attempt, outcome, { retryDelay, supervising: true });
    if (ended === 'lost') {
      this.#enforced = enforced;
      this.#release();
    } else await this.#leave(false);
  }

  /** The attempt is over. A worker that brought it to its end itself has a moment to exit by itself. */
  #leave(patient: boolean): Promise<void> {
    if (this.#over) return this.#leaving ?? Promise.resolve();
    this.#over = true;
    // Nobody waits for it when the worker itself brought the end; what is left of the worker is the reaper's.
    this.#leaving = this.#dismiss(patient && !this.#enforced)
      .catch((thrown: unknown) => {
        const fields = { attempt: this.#attempt.id, err: thrown };
        this.#options.logger.error(fields, 'the worker of an attempt that is over could not be looked for');
      })
      .finally(this.#ended);
    return this.#leaving;
  }

  async #dismiss(patient: boolean): Promise<void> {
    this.#starting?.abort();
    const { settings } = this.#options;
    const clock = this.#clock;
    const worker = this.#attempt.worker ?? (await this.#options.queue.attempt(this.#attempt.id))?.worker;
    if (worker !== undefined) {
      const until = clock.now() + (patient ? settings.settleTime : 0);
      const hurry = AbortSignal.any([this.#stopping.signal, this.#workerGone.signal]);
      while (!hurry.aborted && clock.now() < until && !(await this.#isGone(worker))) {
        await clock.sleep(Math.min(exitLook, until - clock.now()), hurry).catch(() => {});
      }
      await this.#stopWorker(worker);
    }
  }

  /** False also when the executor does not answer now. */
  async #isGone(worker: string): Promise<boolean> {
    const status = await this.#options.executor.status(worker).catch(() => undefined);
    return status?.kind === 'gone';
  }

  async #stopWorker(worker: string): Promise<void> {
    const { executor, clock, logger } = this.#options;
    for (let tried = 1; ; tried += 1) {
      try {
        await executor.stop(worker, new AbortController().signal);
        return;
      } catch (thrown) {
        logger.error({ worker, tried, err: thrown }, 'a worker could not be stopped');
        if (tried === stopTries) return;
        await clock.sleep(stopDelay * tried, this.#stopping.signal).catch(() => {});
      }
    }
  }

  #release(): void {
    if (this.#over) return;
    this.#over = true;
    this.#ended();
  }

  /** Lets go: nothing is decided any more, and the worker is left alone. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    const left = !this.#over;
    this.#over = true;
    await this.#round?.catch(() => {});
    if (left) this.#ended();
  }
}
