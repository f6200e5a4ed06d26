import type { AttemptId, BuildId } from '../model/ids.ts';

/** What a worker is started with. Values are data: an executor never lets them break out into a command line. */
export interface WorkerOrder {
  readonly buildId: BuildId;
  readonly attemptId: AttemptId;
  readonly epoch: number;
  readonly namespace: string;
  readonly platform: string;
  readonly triesLeft: number;
  /** The registration token. A secret: never in an argument list, a label or a log. */
  readonly token: string;
  /** host:port workers reach the manager at, and whether that is TLS. */
  readonly server: string;
  readonly serverTls: boolean;
  readonly registryHost: string;
  /** Milliseconds the worker may live at most. */
  readonly maxLifetime: number;
}

/** What an executor knows about a worker it started. Times are milliseconds since 1970. */
export type WorkerStatus =
  | { readonly kind: 'starting' }
  | { readonly kind: 'running' }
  /** It is over. `reason` is for a person; `output` the last lines it wrote itself. */
  | {
      readonly kind: 'gone';
      readonly exitCode?: number;
      readonly signal?: string;
      readonly reason: string;
      readonly output?: string;
    };

export interface StartedWorker {
  /** The executor's own name for it; stored, and understood by this executor after a restart of the manager. */
  readonly worker: string;
  /** The executor that runs it, when another one was asked (a list of them). */
  readonly executor?: string;
}

/** What has to be so before a worker can be started. `allowed`: it may start one and end it. */
export type ReadyStep = 'reachable' | 'allowed';

/** What a worker goes through before it registers. */
export type StartStep = 'scheduled' | 'image-pulled';

/**
 * Runs workers somewhere. `start` is idempotent by attempt id: a second call finds the worker that is there.
 * `stop` of a worker that is gone is success. `onGone` tells within seconds when a worker dies, also for workers that
 * were started by a former life of the manager (after `adopt`).
 */
export interface Executor {
  /** Unique among the configured ones. */
  readonly name: string;
  readonly type: string;
  start(order: WorkerOrder, signal: AbortSignal): Promise<StartedWorker>;
  /** Ends the worker and everything it started: asked to first, forced after a few seconds. */
  stop(worker: string, signal: AbortSignal): Promise<void>;
  status(worker: string): Promise<WorkerStatus>;
  /** Workers that run now, whoever started them. */
  running(): Promise<readonly { readonly worker: string; readonly attemptId: AttemptId }[]>;
  /** Ends the subscription when the returned function is called. */
  onGone(
    tell: (gone: {
      readonly worker: string;
      readonly attemptId: AttemptId;
      readonly status: WorkerStatus;
    }) => void,
  ): () => void;
  /** Finds the workers of a former life; ends those whose attempt `keep` refuses. */
  adopt(keep: (attemptId: AttemptId) => Promise<boolean>): Promise<void>;
  close(): Promise<void>;
  /** Set for looking into workers: `stop` leaves them, and their own limits end them. */
  readonly leavesWorkers?: boolean;
  /**
   * Where this type can tell without starting the worker of the order: gives each step that is so, in order, and throws an
   * ExecutorError with what to do at the first that is not. Changes nothing.
   */
  check?(order: WorkerOrder, signal: AbortSignal): AsyncIterable<ReadyStep>;
  /** The steps that this type can tell apart, in order; a worker that has registered has all of them behind it. */
  readonly startSteps?: readonly StartStep[];
  /** Of these, what a worker has behind it as far as is known. */
  progress?(worker: string): Promise<readonly StartStep[]>;
}
