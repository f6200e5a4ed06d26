import { type AttemptState, isRunning, type Outcome, outcomeOfFault } from '../model/attempt.ts';
import { judgeExit } from './judge-exit.ts';
import { leaseStepOf, type ManagerSettings } from './settings.ts';

/**
 * What is known of one attempt that a manager supervises. Times are milliseconds since 1970 by the supervising manager's
 * steady clock (src/base/steady-clock.ts), which nobody sets: what is over is over because time passed.
 */
export interface Observed {
  readonly state: AttemptState;
  readonly epoch: number;
  /** By the time of day of whoever claimed it; how long ago that was is known as well as it was when this began. */
  readonly scheduledAt: number;
  readonly leaseUntil: number;
  /** Who started its worker. */
  readonly executor?: string;
  /** When this manager began to supervise it: what happened before was another's to judge. */
  readonly supervisedSince: number;
  /** When the worker last registered or beat; undefined: never, as far as is known. */
  readonly lastSign?: number;
  readonly worker: /** Nothing was started yet. */
    | { readonly kind: 'none' }
    /** A start is under way. */
    | { readonly kind: 'starting' }
    | { readonly kind: 'alive'; readonly startedAt: number }
    | {
        readonly kind: 'gone';
        readonly at: number;
        readonly exitCode?: number;
        readonly signal?: string;
        readonly reason: string;
        readonly output?: string;
      };
  /** Whether the worker reports its own end (a worker of ours), or exits and leaves it to us to find out why. */
  readonly reportsItsEnd: boolean;
  /** The last lines of the build's log. Needed only for a worker that is gone and does not report its end. */
  readonly lastLines: readonly string[];
  /** It asked for its build, and the manager it asked could not answer. */
  readonly unserved: boolean;
  /** Its last report (complete or error) is being looked into right now. */
  readonly reporting: boolean;
  /** When it was told to cancel. */
  readonly cancelToldAt?: number;
}

export type Desired = { readonly kind: 'run' } | { readonly kind: 'cancel'; readonly by: string };

export type Action =
  | { readonly kind: 'start' }
  | { readonly kind: 'tell-cancel' }
  | { readonly kind: 'extend-lease'; readonly until: number }
  /** The attempt is over; its worker, if there is one, is stopped afterwards. At most one, and then alone. */
  | { readonly kind: 'finish'; readonly outcome: Outcome };

export type StepSettings = Pick<
  ManagerSettings,
  | 'jobRegistrationTimeout'
  | 'setupTime'
  | 'setupTimes'
  | 'heartbeatTimeout'
  | 'lease'
  | 'machineMaxTime'
  | 'cancelGrace'
  | 'settleTime'
>;

/**
 * What to do now to bring an attempt from what is observed towards what is desired. Pure; called as often as one likes,
 * for every action may be repeated: a second finish finds the attempt over, a second start the worker that is there.
 * Once it says `finish`, it says so at every later time too.
 *
 * In this order: an attempt that waits or is over is nobody's business; while a last report is being looked into,
 * nothing is judged; a wish to cancel comes before everything that is found out; then a worker that is gone; then
 * the clocks.
 */
export function step(observed: Observed, desired: Desired, now: number, settings: StepSettings): Action[] {
  if (!isRunning(observed.state)) return [];
  if (observed.reporting) return keep(observed, now, settings);
  const outcome =
    desired.kind === 'cancel'
      ? cancelled(observed, desired.by, now, settings)
      : (lost(observed, now, settings) ?? overdue(observed, now, settings));
  if (outcome !== undefined) return [{ kind: 'finish', outcome }];
  if (desired.kind === 'cancel') {
    const told: Action[] = observed.cancelToldAt === undefined ? [{ kind: 'tell-cancel' }] : [];
    return [...told, ...keep(observed, now, settings)];
  }
  const start: Action[] =
    observed.state === 'scheduled' && observed.worker.kind === 'none' ? [{ kind: 'start' }] : [];
  return [...start, ...keep(observed, now, settings)];
}

function keep({ leaseUntil }: Observed, now: number, { lease }: StepSettings): Action[] {
  const until = now + lease;
  return until - leaseUntil >= leaseStepOf(lease) ? [{ kind: 'extend-lease', until }] : [];
}

/** A worker that registered is asked first; one that has not knows nobody to ask. */
function cancelled(
  { state, worker, cancelToldAt }: Observed,
  by: string,
  now: number,
  { cancelGrace }: StepSettings,
): Outcome | undefined {
  const listens = state !== 'scheduled' && worker.kind !== 'gone';
  if (listens && (cancelToldAt === undefined || now < cancelToldAt + cancelGrace)) return undefined;
  return { kind: 'cancelled', by };
}

function lost(observed: Observed, now: number, { settleTime }: StepSettings): Outcome | undefined {
  const { worker, state } = observed;
  if (worker.kind !== 'gone') return undefined;
  const registered = state !== 'scheduled';
  if (observed.unserved && (!registered || state === 'registered')) return notServed(worker);
  // Its last report may be on its way, through another manager perhaps.
  if (registered && worker.exitCode === 0 && now < worker.at + settleTime) return undefined;
  if (registered && !observed.reportsItsEnd) {
    const verdict = judgeExit({ ...worker, state, lastLines: observed.lastLines });
    if (verdict !== undefined) return verdict;
  }
  return outcomeOfFault(
    {
      code: registered ? 'workerlost' : 'workernotregistered',
      message: registered
        ? `The worker was lost while the build was ${state}. ${lastWords(worker)}`
        : `The worker ended before it asked for its build. ${lastWords(worker)}`,
    },
    'infrastructure',
  );
}

function notServed(worker: Extract<Observed['worker'], { kind: 'gone' }>): Outcome {
  const message =
    'The worker asked for its build while Slipway could not answer, and ended. The build is tried again; if this goes on, ' +
    `see the log of the build manager. ${lastWords(worker)}`;
  return outcomeOfFault({ code: 'internalerror', message }, 'slipway');
}

function lastWords({ reason, output }: { readonly reason: string; readonly output?: string }): string {
  return output === undefined ? reason : `${reason} Its last output was:\n${output}`;
}

function overdue(observed: Observed, now: number, settings: StepSettings): Outcome | undefined {
  const { state, scheduledAt, supervisedSince, lastSign, worker } = observed;
  if (now >= scheduledAt + settings.machineMaxTime) {
    return outcomeOfFault(
      {
        code: 'toolong',
        message:
          `The build ran for ${seconds(now - scheduledAt)} s, which is longer than MACHINE_MAX_TIME allows ` +
          `(${seconds(settings.machineMaxTime)} s). Make it faster, or ask for a higher limit.`,
      },
      'user',
    );
  }
  if (state === 'scheduled') {
    const started = worker.kind === 'alive';
    const since = Math.max(started ? worker.startedAt : scheduledAt, supervisedSince);
    const setupTime = settings.setupTimes[observed.executor ?? ''] ?? settings.setupTime;
    const allowed = started ? setupTime : settings.jobRegistrationTimeout;
    if (worker.kind === 'none' || now < since + allowed) return undefined;
    return {
      kind: 'expired',
      at: state,
      fault: {
        code: 'workernotregistered',
        message: started
          ? `The worker was started but did not register in ${seconds(allowed)} s. Check that it can reach the build manager.`
          : `No worker was started in ${seconds(allowed)} s: the executor did not answer.`,
      },
    };
  }
  if (now < Math.max(lastSign ?? 0, supervisedSince) + settings.heartbeatTimeout) return undefined;
  return {
    kind: 'expired',
    at: state,
    fault: {
      code: 'workerlost',
      message:
        `The worker stopped answering while the build was ${state}: no heartbeat came in ` +
        `${seconds(settings.heartbeatTimeout)} s.`,
    },
  };
}

function seconds(milliseconds: number): number {
  return Math.round(milliseconds / 1000);
}
