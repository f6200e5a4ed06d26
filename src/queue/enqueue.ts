import type { NewRow, Row } from '../db/schema.ts';
import type { SecretBox } from '../db/secret-box.ts';
import type { Build, BuildRequest } from '../model/build.ts';
import { newAttemptId, newBuildId, newJobId } from '../model/ids.ts';
import type { EnqueueOptions } from './build-queue.ts';
import { buildOf } from './build-rows.ts';
import { admitNext, placeFor, yieldPlace } from './places.ts';
import { QueueError } from './queue-error.ts';
import { loadBuild } from './read-builds.ts';
import type { Step } from './step.ts';

export async function enqueue(
  step: Step,
  request: BuildRequest,
  options: EnqueueOptions,
  settings: { readonly tries: number; readonly secretBox: SecretBox },
): Promise<Build> {
  const { namespace, name: repository } = request.repository;
  const { sql, now } = step;
  await step.statements.lockNamespace(sql, namespace);
  if (options.idempotencyKey !== undefined) {
    const made = await sql
      .selectFrom('builds')
      .select('id')
      .where('namespace', '=', namespace)
      .where('repository', '=', repository)
      .where('idempotency_key', '=', options.idempotencyKey)
      .executeTakeFirst();
    const build = made === undefined ? undefined : await loadBuild(sql, made.id);
    if (build !== undefined) return build;
  }
  await refuseWhenFull(step, namespace, options.maxQueuedPerNamespace);

  const place = await placeFor(step, namespace, repository, request.priority);
  const buildRow: Omit<Row<'builds'>, 'number'> = {
    id: newBuildId(),
    namespace,
    repository,
    priority: request.priority,
    request_json: JSON.stringify(request),
    idempotency_key: options.idempotencyKey ?? null,
    phase: 'waiting',
    desired: 'run',
    cancelled_by: null,
    admitted: place.kind === 'open' ? 1 : 0,
    verdict: null,
    created_at: now,
    started_at: null,
    finished_at: null,
    fault_json: null,
    digest: null,
    image_size: null,
    commit_sha: null,
    publisher: null,
    publish_until: null,
    newest_key: null,
    superseded_by: null,
  };
  const platforms = request.platforms.length === 0 ? [''] : request.platforms;
  const jobRows: NewRow<'jobs'>[] = platforms.map((platform, ordinal) => ({
    id: newJobId(),
    build_id: buildRow.id,
    ordinal,
    platform,
    tries_left: settings.tries,
    attempt_id: newAttemptId(),
  }));
  const attemptRows = jobRows.map((job, ordinal) =>
    queuedAttempt(job, buildRow, {
      epoch: 1,
      now,
      availableAt: now,
      ...(place.kind === 'open' ? { turn: place.turn + ordinal * place.step } : {}),
    }),
  );
  await sql.insertInto('builds').values(buildRow).execute();
  await sql.insertInto('jobs').values(jobRows).execute();
  await sql.insertInto('attempts').values(attemptRows).execute();
  for (const secret of options.secrets ?? []) {
    const sealed = settings.secretBox.seal(secret.value, secretPurpose(buildRow.id, secret.id));
    await sql.insertInto('build_secrets').values({ build_id: buildRow.id, id: secret.id, sealed }).execute();
  }
  if (place.kind === 'open') step.changes.push({ kind: 'queued', buildId: step.buildId(buildRow.id) });
  else if (place.yields) {
    await yieldPlace(step, namespace, repository, request.priority);
    await admitNext(step, namespace, repository);
  }
  return buildOf(buildRow, jobRows, attemptRows);
}

async function refuseWhenFull(step: Step, namespace: string, most: number | undefined): Promise<void> {
  if (most === undefined) return;
  const waiting = await step.sql
    .selectFrom('builds')
    .select('id')
    .where('namespace', '=', namespace)
    .where('started_at', 'is', null)
    .where('finished_at', 'is', null)
    .limit(most)
    .execute();
  if (waiting.length < most) return;
  throw new QueueError(
    'queue-full',
    `The namespace ${namespace} has ${waiting.length} builds waiting, and may have ${most}. Wait until some have started, or cancel some.`,
  );
}

/** A secret opens only for the build and the name it was given for. */
export function secretPurpose(buildId: string, secretId: string): string {
  return `build-secret ${buildId} ${secretId}`;
}

export function queuedAttempt(
  job: Pick<Row<'jobs'>, 'id' | 'build_id' | 'attempt_id'>,
  build: Pick<Row<'builds'>, 'namespace' | 'priority'>,
  given: {
    readonly epoch: number;
    readonly now: number;
    readonly availableAt: number;
    readonly turn?: number;
  },
): Row<'attempts'> {
  return {
    id: job.attempt_id,
    job_id: job.id,
    build_id: job.build_id,
    epoch: given.epoch,
    state: 'queued',
    namespace: build.namespace,
    priority: build.priority,
    ready: given.turn === undefined ? 0 : 1,
    turn: given.turn ?? 0,
    available_at: given.availableAt,
    desired: 'run',
    cancelled_by: null,
    outcome_json: null,
    executor: null,
    worker: null,
    manager: null,
    lease_until: null,
    capabilities_json: null,
    log_sequence: 0,
    queued_at: given.now,
    scheduled_at: null,
    registered_at: null,
    unpacking_at: null,
    pulling_at: null,
    building_at: null,
    pushing_at: null,
    done_at: null,
  };
}
