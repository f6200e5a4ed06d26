/** The build manager's timers and limits. Times are milliseconds. */
export interface ManagerSettings {
  /** ALLOWED_WORKER_COUNT: workers that run at once, counted over all managers and executors. */
  readonly allowedWorkerCount: number;
  /** JOB_REGISTRATION_TIMEOUT: a claimed attempt has its worker started in this time. */
  readonly jobRegistrationTimeout: number;
  /** SETUP_TIME: a started worker registers in this time. */
  readonly setupTime: number;
  /** The same for workers of the executors of these names. */
  readonly setupTimes: Readonly<Record<string, number>>;
  /** An attempt expires when its worker was silent for so long. */
  readonly heartbeatTimeout: number;
  /** How long a claim holds without being extended; it is extended while the attempt is supervised. */
  readonly lease: number;
  /** MACHINE_MAX_TIME: the most one attempt may take. */
  readonly machineMaxTime: number;
  readonly retryDelay: number;
  /** After no executor could start a worker. */
  readonly startDelay: number;
  /** After every executor was full. */
  readonly capacityDelay: number;
  /** Between the wish to cancel reaching a worker and its end by force. */
  readonly cancelGrace: number;
  /** How long a worker that exited with status 0 may stay without its last report having come. */
  readonly settleTime: number;
  /** How often all is looked at, beside the events that hurry it. */
  readonly poll: number;
  /** How often this manager shows that it lives, and looks whether the others do. */
  readonly beatEvery: number;
  /** How often attempts whose lease has run out are looked for. */
  readonly adoptEvery: number;
  /** Tries to publish a finished image, and the first wait between them. */
  readonly publishTries: number;
  /** The same for a registry that is not ours and may be away for longer. */
  readonly targetTries: number;
  readonly publishBackOff: number;
  readonly publishBackOffCap: number;
}

export const defaultSettings: ManagerSettings = {
  allowedWorkerCount: 1,
  jobRegistrationTimeout: 30_000,
  setupTime: 500_000,
  setupTimes: {},
  heartbeatTimeout: 60_000,
  lease: 300_000,
  machineMaxTime: 7_200_000,
  retryDelay: 30_000,
  startDelay: 20_000,
  capacityDelay: 1_000,
  cancelGrace: 3_000,
  settleTime: 3_000,
  poll: 1_000,
  beatEvery: 500,
  adoptEvery: 5_000,
  publishTries: 6,
  targetTries: 60,
  publishBackOff: 500,
  publishBackOffCap: 10_000,
};

/** A longer lease is not extended less often. */
const longestLeaseStep = 60_000;

/**
 * A lease is not written again for less than this: a third of it, so that it is extended in time even when the first
 * try fails and a look comes late.
 */
export function leaseStepOf(lease: number): number {
  return Math.min(longestLeaseStep, lease / 3);
}
