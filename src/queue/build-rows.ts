import type { Row } from '../db/schema.ts';
import { type AttemptState, attemptStates, type Outcome } from '../model/attempt.ts';
import type { AttemptView, Build, BuildRequest, JobView } from '../model/build.ts';
import { type Digest, parseDigest } from '../model/digest.ts';
import type { Fault } from '../model/fault.ts';
import type { AttemptId, BuildId, JobId } from '../model/ids.ts';
import { type Phase, phases } from '../model/phase.ts';
import type { RunningAttempt } from './build-queue.ts';
import { QueueError } from './queue-error.ts';

/** Rows of builds, jobs and attempts as values of the model. What is read here was written by the queue alone. */
export function buildOf(
  build: Omit<Row<'builds'>, 'number'>,
  jobs: readonly Row<'jobs'>[],
  attempts: readonly Row<'attempts'>[],
): Build {
  const request = JSON.parse(build.request_json) as BuildRequest;
  return {
    ...request,
    id: build.id as BuildId,
    phase: phaseOf(build.phase),
    desired: desiredOf(build.desired),
    createdAt: build.created_at,
    ...given('cancelledBy', build.cancelled_by),
    ...given('supersededBy', build.superseded_by === null ? null : (build.superseded_by as BuildId)),
    ...given('startedAt', build.started_at),
    ...given('finishedAt', build.finished_at),
    ...given('fault', build.fault_json === null ? null : (JSON.parse(build.fault_json) as Fault)),
    ...given('digest', build.digest === null ? null : digestOfRow(build.digest)),
    ...given('imageSize', build.image_size),
    ...given(
      'published',
      build.published_json === null ? null : (JSON.parse(build.published_json) as readonly string[]),
    ),
    ...given('commit', build.commit_sha),
    jobs: jobs
      .filter((job) => job.build_id === build.id)
      .sort((a, b) => a.ordinal - b.ordinal)
      .map((job) => jobView(job, attempts)),
  };
}

function jobView(job: Row<'jobs'>, attempts: readonly Row<'attempts'>[]): JobView {
  return {
    id: job.id as JobId,
    platform: job.platform,
    attempts: attempts
      .filter((attempt) => attempt.job_id === job.id)
      .sort((a, b) => a.epoch - b.epoch)
      .map(attemptView),
  };
}

const enteredColumns = attemptStates.map((state) => [state, `${state}_at`] as const);

function attemptView(row: Row<'attempts'>): AttemptView {
  const entered: Partial<Record<string, number>> = {};
  for (const [state, column] of enteredColumns) {
    const time = row[column];
    if (time !== null) entered[state] = time;
  }
  return {
    id: row.id,
    epoch: row.epoch,
    state: row.state,
    ...given('outcome', outcomeOf(row)),
    ...given('executor', row.executor),
    ...given('worker', row.worker),
    entered,
  };
}

/** The columns a RunningAttempt is made from. */
export type AttemptRow = Row<'attempts'> & {
  readonly repository: string;
  readonly platform: string;
  readonly tries_left: number;
};

/** Undefined: the attempt waits, so no manager has it. */
export function runningAttemptOf(row: AttemptRow): RunningAttempt | undefined {
  if (row.manager === null || row.scheduled_at === null || row.state === 'queued') return undefined;
  return {
    id: row.id as AttemptId,
    jobId: row.job_id as JobId,
    buildId: row.build_id as BuildId,
    epoch: row.epoch,
    state: stateOf(row.state),
    platform: row.platform,
    repository: { namespace: row.namespace, name: row.repository },
    triesLeft: row.tries_left,
    desired: desiredOf(row.desired),
    ...given('cancelledBy', row.cancelled_by),
    ...given('executor', row.executor),
    ...given('worker', row.worker),
    manager: row.manager,
    queuedAt: row.queued_at,
    scheduledAt: row.scheduled_at,
    ...given('registeredAt', row.registered_at),
    ...given('capabilities', row.capabilities_json === null ? null : capabilitiesOf(row.capabilities_json)),
    ...given('reports', row.reports_json === null ? null : reportsOf(row)),
    leaseUntil: row.lease_until ?? 0,
  };
}

export function reportsOf({
  reports_json,
}: Pick<Row<'attempts'>, 'reports_json'>): Readonly<Record<string, string>> {
  return reports_json === null ? {} : (JSON.parse(reports_json) as Readonly<Record<string, string>>);
}

function capabilitiesOf(text: string): Readonly<Record<string, unknown>> {
  return JSON.parse(text) as Readonly<Record<string, unknown>>;
}

export function outcomeOf({ outcome_json }: Pick<Row<'attempts'>, 'outcome_json'>): Outcome | null {
  return outcome_json === null ? null : (JSON.parse(outcome_json) as Outcome);
}

export function stateOf(text: string): AttemptState {
  return oneOf(attemptStates, text, 'attempts.state');
}

export function phaseOf(text: string): Phase {
  return oneOf(phases, text, 'builds.phase');
}

function desiredOf(text: string): 'run' | 'cancel' {
  return oneOf(['run', 'cancel'] as const, text, 'desired');
}

function digestOfRow(text: string): Digest {
  const digest = parseDigest(text);
  if (digest === undefined) throw badRow('builds.digest', text);
  return digest;
}

function oneOf<T extends string>(allowed: readonly T[], text: string, column: string): T {
  const found = allowed.find((each) => each === text);
  if (found === undefined) throw badRow(column, text);
  return found;
}

function badRow(column: string, text: string): QueueError {
  return new QueueError(
    'bad-row',
    `The database has the value ${JSON.stringify(text)} in ${column}, which this version does not know. Was it changed by hand?`,
  );
}

/** `{ [name]: value }`, or nothing when there is no value. */
function given<Name extends string, Value>(
  name: Name,
  value: Value | null,
): { readonly [name in Name]?: Value } {
  return value === null ? {} : ({ [name]: value } as { readonly [name in Name]?: Value });
}
