import type { Clock } from '../base/clock.ts';
import type { LogEntry, LogStore } from '../log/log-store.ts';
import { afterAttempt, attemptStates, type Outcome, type WorkerStage } from '../model/attempt.ts';
import type { Build } from '../model/build.ts';
import type { Fault } from '../model/fault.ts';
import type { BuildId } from '../model/ids.ts';
import { phaseOfState } from '../model/phase.ts';
import type { ManagerLog } from './manager-log.ts';
import type { ManagerMetrics } from './manager-metrics.ts';
import type { WorkerIdentity } from './worker-sessions.ts';

export interface BuildEndOptions {
  readonly log: LogStore;
  readonly clock: Clock;
  readonly logger: ManagerLog;
  readonly metrics: ManagerMetrics;
}

const remembered = 10_000;

/** What the manager writes into a build's log, up to its last entry. */
export class BuildEnd {
  readonly #options: BuildEndOptions;
  readonly #listeners = new Set<(build: Build) => void>();
  /** Builds that are being ended or were, so that what hears of an end twice writes it once. */
  readonly #ends = new Map<BuildId, Promise<void>>();

  constructor(options: BuildEndOptions) {
    this.#options = options;
  }

  /**
   * A stage that an attempt has reached. Whoever takes a report writes it, before the report is answered, and again
   * when the report is repeated: the process that took it first may have died in between, or be about to write it still.
   */
  async phase(
    { buildId, attemptId, epoch }: WorkerIdentity,
    state: 'registered' | WorkerStage,
    data: Readonly<Record<string, unknown>> = {},
  ): Promise<void> {
    const writer = { kind: 'stage', attemptId, epoch, stage: attemptStates.indexOf(state) } as const;
    await this.#options.log.appendEntry(buildId, this.#phase(phaseOfState(state), data), writer);
  }

  /**
   * An attempt ended and there is to be another one. It is in the log once, after all that the attempt did: whoever ended it
   * writes it, and again whoever starts the next one, for the other may have died in between.
   */
  async retry(
    { buildId, attemptId, epoch }: Pick<WorkerIdentity, 'buildId' | 'attemptId' | 'epoch'>,
    outcome: Outcome,
    /** `triesLeft`: with the next attempt's. `availableAt`: when it may begin, milliseconds since 1970. */
    { triesLeft, availableAt }: { readonly triesLeft: number; readonly availableAt: number },
  ): Promise<void> {
    const { code, message } =
      'fault' in outcome ? outcome.fault : { code: 'internalerror' as const, message: 'The attempt failed.' };
    const wait = Math.max(0, Math.round((availableAt - this.#options.clock.now()) / 1000));
    const when = wait === 0 ? 'The build starts again at once' : `The build starts again in ${wait} s`;
    const left = triesLeft === 1 ? '1 try' : `${triesLeft} tries`;
    const kept = afterAttempt(outcome) === 'retry-try-kept' ? '; this one does not count' : '';
    const entry = this.#fault(
      { code, message: `${message}\n${when} (${left} left${kept}).` },
      { retry: true, epoch: epoch + 1, next: new Date(availableAt).toISOString() },
    );
    const writer = { kind: 'stage', attemptId, epoch, stage: attemptStates.indexOf('done') } as const;
    await this.#options.log.appendEntry(buildId, entry, writer);
  }

  /** Called for every build that became final: its last entries are written, its log closed, listeners told. */
  end(build: Build): Promise<void> {
    const known = this.#ends.get(build.id);
    if (known !== undefined) return known;
    const ending = this.#end(build);
    this.#remember(build.id, ending);
    ending.catch(() => this.#ends.delete(build.id));
    return ending;
  }

  /** Whether this process knows that the build's log is closed, or is about to close it. */
  hasEnded(buildId: BuildId): boolean {
    return this.#ends.has(buildId);
  }

  endedElsewhere(buildId: BuildId): void {
    this.#remember(buildId, Promise.resolve());
  }

  #remember(buildId: BuildId, ending: Promise<void>): void {
    this.#ends.set(buildId, ending);
    if (this.#ends.size <= remembered) return;
    const [oldest] = this.#ends.keys();
    if (oldest !== undefined) this.#ends.delete(oldest);
  }

  async #end(build: Build): Promise<void> {
    const { log, clock, logger, metrics } = this.#options;
    const last: LogEntry[] = [];
    if (build.fault !== undefined) last.push(this.#fault(build.fault, {}));
    last.push(
      this.#phase(build.phase, {
        ...(build.digest === undefined ? {} : { digest: build.digest, tags: build.tags }),
        ...(build.phase === 'cancelled' && build.cancelledBy !== undefined ? { by: build.cancelledBy } : {}),
        ...(build.supersededBy === undefined ? {} : { superseded_by: build.supersededBy }),
      }),
    );
    // Several managers may hear of one end: the one that closes the log is the one that ended the build.
    if (!(await log.close(build.id, last))) return;
    const finishedAt = build.finishedAt ?? clock.now();
    metrics.buildFinished(build.phase, finishedAt - build.createdAt);
    logger.info({ build: build.id, phase: build.phase, code: build.fault?.code }, 'build finished');
    for (const listener of [...this.#listeners]) listener(build);
  }

  #phase(phase: string, data: Readonly<Record<string, unknown>>): LogEntry {
    return this.#entry({ type: 'phase', message: phase, data });
  }

  #fault({ code, message }: Fault, data: Readonly<Record<string, unknown>>): LogEntry {
    return this.#entry({ type: 'error', message, data: { ...data, code } });
  }

  #entry({ data, ...entry }: LogEntry): LogEntry {
    const datetime = new Date(this.#options.clock.now()).toISOString();
    return { ...entry, data: { datetime, ...data } };
  }

  /** Calls `tell` once for every build this manager ended. */
  onBuildFinished(tell: (build: Build) => void): () => void {
    const own = (build: Build) => tell(build);
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }
}
