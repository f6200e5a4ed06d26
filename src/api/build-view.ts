import Type, { type Static } from 'typebox';
import type { Role } from '../account/accounts.ts';
import { isAtLeast } from '../account/role.ts';
import type { AttemptView, Build } from '../model/build.ts';
import type { Fault } from '../model/fault.ts';
import { isFinal, phases } from '../model/phase.ts';
import { redactGitUrl, redactUrl } from '../model/redact-url.ts';
import type { BuildQueue, QueuePosition } from '../queue/build-queue.ts';
import type { BuildTrigger, BuildTriggers } from './build-triggers.ts';
import { textEnum } from './text-enum.ts';
import { triggerViewSchema, viewTrigger } from './trigger-view.ts';

const nullable = <Schema extends Type.TSchema>(schema: Schema, description?: string) =>
  Type.Union([schema, Type.Null()], description === undefined ? {} : { description });
const isoTime = (description: string) => Type.String({ format: 'date-time', description });

const attemptView = Type.Object({
  platform: Type.String({ description: 'Empty for the platform of the worker' }),
  epoch: Type.Integer({ description: 'The number of the attempt, from 1' }),
  state: Type.String({
    description: 'queued, scheduled, registered, unpacking, pulling, building, pushing or done',
  }),
  outcome: nullable(Type.String({ description: 'complete, error, internal-error, cancelled or expired' })),
  error_code: nullable(Type.String()),
  error: nullable(Type.String()),
  executor: nullable(Type.String()),
  entered: Type.Record(Type.String(), isoTime('When the attempt came to be in the state')),
});

export const buildViewSchema = Type.Object(
  {
    id: Type.String({ format: 'uuid' }),
    phase: textEnum(phases, {
      description:
        'complete, error, internalerror, expired and cancelled are final. expired: no try is left, and the last one was lost (its worker never registered or stopped answering); internalerror: no try is left after a fault of Slipway or of what it needs',
    }),
    started: Type.String({ description: 'When it was asked for; RFC 2822' }),
    display_name: Type.String({
      description: 'First 7 digits of the checksum or commit, or a short name of the source',
    }),
    status: Type.Record(Type.String(), Type.Unknown(), {
      description: 'Of the latest attempt: its state and number',
    }),
    subdirectory: Type.String({ description: 'The path of the Dockerfile; the older name' }),
    dockerfile_path: Type.String(),
    context: Type.String(),
    tags: Type.Array(Type.String()),
    manual_user: nullable(Type.String()),
    is_writer: Type.Boolean({ description: 'Whether you may write the repository' }),
    trigger: nullable(
      triggerViewSchema,
      'The build trigger that made it; null when a person did, or when it is gone',
    ),
    trigger_metadata: nullable(Type.Record(Type.String(), Type.Unknown())),
    resource_key: nullable(Type.String({ description: 'The file_id, for an upload' })),
    pull_robot: nullable(
      Type.Object({ name: Type.String(), kind: Type.Literal('user'), is_robot: Type.Literal(true) }),
    ),
    repository: Type.Object({ namespace: Type.String(), name: Type.String() }),
    error: nullable(Type.String(), 'What happened, why and what to do next; for people'),
    archive_url: Type.Optional(Type.String({ description: 'For writers, when it is built from an archive' })),
    error_code: nullable(Type.String(), 'Which kind of fault; see the table of faults'),
    platforms: Type.Array(Type.String()),
    target: nullable(Type.String()),
    push: Type.Boolean(),
    priority: Type.Integer(),
    digest: nullable(Type.String(), 'Of the published image or index'),
    image_references: Type.Array(Type.String(), {
      description:
        'Under which another registry serves the image, where the repository publishes to one; else empty',
    }),
    image_size: nullable(Type.Integer({ description: 'Bytes, compressed' })),
    commit: nullable(Type.String()),
    cancelled_by: nullable(Type.String()),
    cancelling: Type.Boolean({ description: 'A cancel was asked for and is under way' }),
    queue_position: nullable(
      Type.Integer(),
      'Builds that wait before this one; null when it does not wait or in a list',
    ),
    queue: nullable(
      Type.Object({
        position: Type.Integer({ description: 'From 1' }),
        ahead: Type.Integer({ description: 'Builds that come before it' }),
        running: Type.Integer({ description: 'Builds that run now' }),
        estimated_start: nullable(
          isoTime(
            'When it is likely to start, going by how long builds took lately; null when that is not known',
          ),
        ),
      }),
      'Where it stands in the queue; null when it does not wait or in a list',
    ),
    superseded_by: nullable(
      Type.String({ format: 'uuid' }),
      'The newer build that made this one needless while it waited',
    ),
    timings: Type.Object({
      queued: isoTime('When it was put into the queue'),
      started: nullable(isoTime('When its first attempt was taken up')),
      finished: nullable(isoTime('When it ended')),
      seconds: nullable(Type.Number({ description: 'From started to finished' })),
    }),
    attempts: Type.Array(attemptView),
  },
  { title: 'Build' },
);

export type BuildView = Static<typeof buildViewSchema>;

export interface Beholder {
  readonly role: Role | undefined;
  readonly position?: QueuePosition | undefined;
  readonly trigger: BuildTrigger | undefined;
}

/** Whoever may read a build reads this, so that it has no password whoever put it there. */
function viewMetadata(metadata: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { git_url: url } = metadata;
  return { ...metadata, ...(typeof url === 'string' ? { git_url: redactGitUrl(url) } : {}) };
}

/**
 * What a client sees of a build. The fields up to `archive_url` are the ones clients of the field's reference system
 * know. `phase` is shown as it is stored: the manager decides between `internalerror` and `expired` when the last try
 * is used up, so nothing has to be computed again for display.
 */
export function viewBuild(build: Build, { role, position, trigger }: Beholder): BuildView {
  const { source, fault } = build;
  const attempts = build.jobs.flatMap((job) =>
    job.attempts.map((attempt) => viewAttempt(attempt, job.platform)),
  );
  const latest = attempts.at(-1);
  return {
    id: build.id,
    phase: build.phase,
    started: formatRfc2822(build.createdAt),
    display_name: build.displayName,
    status: latest === undefined ? {} : { state: latest.state, attempt: latest.epoch },
    // The reference gives the Dockerfile's path under both names.
    subdirectory: build.dockerfilePath,
    dockerfile_path: build.dockerfilePath,
    context: build.context,
    tags: [...build.tags],
    manual_user: build.manualUser ?? null,
    is_writer: isAtLeast(role, 'write'),
    trigger: trigger === undefined ? null : viewTrigger(trigger.trigger, { ...trigger, role }),
    trigger_metadata: build.triggerMetadata === undefined ? null : viewMetadata(build.triggerMetadata),
    resource_key: source.kind === 'upload' ? source.uploadId : null,
    pull_robot:
      build.pullRobot === undefined ? null : { name: build.pullRobot, kind: 'user', is_robot: true },
    repository: { namespace: build.repository.namespace, name: build.repository.name },
    error: fault?.message ?? null,
    ...(source.kind === 'archive' && isAtLeast(role, 'write') ? { archive_url: redactUrl(source.url) } : {}),
    error_code: fault?.code ?? null,
    platforms: [...build.platforms],
    target: build.target ?? null,
    push: build.push,
    priority: build.priority,
    digest: build.digest ?? null,
    image_references: [...(build.published ?? [])],
    image_size: build.imageSize ?? null,
    commit: build.commit ?? (source.kind === 'git' ? (source.sha ?? null) : null),
    cancelled_by: build.cancelledBy ?? null,
    cancelling: build.desired === 'cancel' && !isFinal(build.phase),
    queue_position: position?.ahead ?? null,
    queue:
      position === undefined
        ? null
        : {
            position: position.ahead + 1,
            ahead: position.ahead,
            running: position.running,
            estimated_start: formatTime(position.estimatedStart),
          },
    superseded_by: build.supersededBy ?? null,
    timings: {
      queued: new Date(build.createdAt).toISOString(),
      started: formatTime(build.startedAt),
      finished: formatTime(build.finishedAt),
      seconds:
        build.startedAt === undefined || build.finishedAt === undefined
          ? null
          : (build.finishedAt - build.startedAt) / 1000,
    },
    attempts,
  };
}

/** The view with its place in the queue, when it waits. */
export async function viewWithPosition(
  queue: BuildQueue,
  build: Build,
  role: Role | undefined,
  triggers: BuildTriggers,
): Promise<BuildView> {
  const position = build.phase === 'waiting' ? await queue.position(build.id) : undefined;
  return viewBuild(build, { role, position, trigger: await triggers.of(build) });
}

export async function viewBuilds(
  builds: readonly Build[],
  roleOf: (build: Build) => Role | undefined,
  triggers: BuildTriggers,
): Promise<BuildView[]> {
  return await Promise.all(
    builds.map(async (build) => viewBuild(build, { role: roleOf(build), trigger: await triggers.of(build) })),
  );
}

function viewAttempt(attempt: AttemptView, platform: string): Static<typeof attemptView> {
  const fault: Fault | undefined =
    attempt.outcome !== undefined && 'fault' in attempt.outcome ? attempt.outcome.fault : undefined;
  return {
    platform,
    epoch: attempt.epoch,
    state: attempt.state,
    outcome: attempt.outcome?.kind ?? null,
    error_code: fault?.code ?? null,
    error: fault?.message ?? null,
    executor: attempt.executor ?? null,
    entered: Object.fromEntries(
      Object.entries(attempt.entered).flatMap(([state, time]) =>
        time === undefined ? [] : [[state, new Date(time).toISOString()]],
      ),
    ),
  };
}

function formatTime(time: number | undefined): string | null {
  return time === undefined ? null : new Date(time).toISOString();
}

/** `Tue, 14 Nov 2023 22:13:20 -0000`: a date of RFC 2822 in UTC. */
export function formatRfc2822(time: number): string {
  return new Date(time).toUTCString().replace(/GMT$/, '-0000');
}
