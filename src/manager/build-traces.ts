import { type Attributes, type Context, type Span, SpanKind, trace } from '@opentelemetry/api';
import { unreachable } from '../base/unreachable.ts';
import type { Outcome } from '../model/attempt.ts';
import type { AttemptView, Build } from '../model/build.ts';
import type { BuildId } from '../model/ids.ts';
import { formatRepositoryName } from '../model/repository-name.ts';
import type { BuildQueue, RunningAttempt } from '../queue/build-queue.ts';
import { buildQueueName } from '../telemetry/live-gauges.ts';
import { contextOf } from '../telemetry/trace-context.ts';
import { inSpan, isTracing, markFailed, startSpan } from '../telemetry/tracing.ts';
import type { ManagerLog } from './manager-log.ts';

/** What each state of an attempt is called as a span; it lasts until the next one. */
const stageNames = [
  ['scheduled', 'register worker'],
  ['registered', 'hand over'],
  ['unpacking', 'unpack source'],
  ['pulling', 'pull base images'],
  ['building', 'build'],
  ['pushing', 'push image'],
] as const;

const queueAttributes = {
  'messaging.system': 'slipway',
  'messaging.destination.name': buildQueueName,
} as const;

/**
 * The spans of builds that managers write, all in the trace of the request, whose context is stored with the build. What
 * managers do themselves is a span while they do it. What a worker does is written when its attempt ends, from the
 * times in the database, by whichever manager ends it: it is complete also when the manager it began with is gone.
 * While nothing records, nothing is read.
 */
export class BuildTraces {
  readonly #queue: Pick<BuildQueue, 'build'>;
  readonly #logger: ManagerLog;

  constructor({ queue, logger }: { readonly queue: Pick<BuildQueue, 'build'>; readonly logger: ManagerLog }) {
    this.#queue = queue;
    this.#logger = logger;
  }

  /** Attempts that one look into the queue gave; it took from `from` to `to`, in milliseconds since 1970. */
  async claimed(attempts: readonly RunningAttempt[], from: number, to: number): Promise<void> {
    if (!isTracing()) return;
    for (const attempt of attempts) {
      await this.#quietly(async () => {
        const build = await this.#queue.build(attempt.buildId);
        if (build === undefined) return;
        const attributes = {
          ...queueAttributes,
          'messaging.operation.name': 'claim',
          'messaging.operation.type': 'receive',
          'messaging.message.id': attempt.buildId,
          'messaging.batch.message_count': attempts.length,
        };
        startSpan(`claim ${buildQueueName}`, {
          parent: contextOf(build.traceParent),
          kind: SpanKind.CLIENT,
          attributes,
          at: from,
        }).end(new Date(to));
      });
    }
  }

  /** Does `work`, which starts a worker, in a span of the build's trace. */
  async starting<T>(
    attempt: Pick<RunningAttempt, 'id' | 'buildId' | 'epoch'>,
    work: (span: Span | undefined) => Promise<T>,
  ): Promise<T> {
    if (!isTracing()) return await work(undefined);
    const build = await this.#queue.build(attempt.buildId).catch(() => undefined);
    return await inSpan(
      'start worker',
      {
        parent: contextOf(build?.traceParent),
        kind: SpanKind.CLIENT,
        attributes: {
          'cicd.pipeline.run.id': attempt.buildId,
          'cicd.pipeline.task.run.id': attempt.id,
          'slipway.epoch': attempt.epoch,
        },
      },
      work,
    );
  }

  /** Does `work`, which writes the tags of a build's image, in a span of the build's trace. */
  async publishing<T>(build: Build, work: (span: Span) => Promise<T>): Promise<T> {
    return await inSpan(
      'publish image',
      {
        parent: contextOf(build.traceParent),
        kind: SpanKind.CLIENT,
        attributes: {
          'cicd.pipeline.run.id': build.id,
          'container.image.name': formatRepositoryName(build.repository),
          'container.image.tags': [...build.tags],
        },
      },
      work,
    );
  }

  /** The attempt is over: everything that happened to it, as spans. */
  async ended(buildId: BuildId, attemptId: string): Promise<void> {
    if (!isTracing()) return;
    await this.#quietly(async () => {
      const build = await this.#queue.build(buildId);
      const attempt = build?.jobs
        .flatMap(({ attempts }) => attempts)
        .find((candidate) => candidate.id === attemptId);
      if (build !== undefined && attempt !== undefined) writeAttempt(build, attempt);
    });
  }

  async #quietly(work: () => Promise<void>): Promise<void> {
    await work().catch((thrown: unknown) => {
      this.#logger.debug({ err: thrown }, 'spans of a build could not be written');
    });
  }
}

function writeAttempt(build: Build, attempt: AttemptView): void {
  const parent = contextOf(build.traceParent);
  const { entered, outcome } = attempt;
  const { queued, scheduled, done } = entered;
  const common = {
    'cicd.pipeline.run.id': build.id,
    'cicd.pipeline.task.run.id': attempt.id,
    'slipway.epoch': attempt.epoch,
  };
  const write = (name: string, from: number, to: number, within: Context, attributes: Attributes = {}) =>
    startSpan(name, {
      parent: within,
      kind: SpanKind.INTERNAL,
      attributes: { ...common, ...attributes },
      at: from,
    }).end(new Date(Math.max(from, to)));

  if (queued !== undefined) write('wait in queue', queued, scheduled ?? done ?? queued, parent);
  if (scheduled === undefined || done === undefined) return;
  const whole = startSpan(`process ${buildQueueName}`, {
    parent,
    kind: SpanKind.CONSUMER,
    attributes: {
      ...common,
      ...queueAttributes,
      'messaging.operation.name': 'process',
      'messaging.operation.type': 'process',
      'messaging.message.id': build.id,
      'cicd.pipeline.name': formatRepositoryName(build.repository),
      ...(attempt.executor === undefined ? {} : { 'slipway.executor': attempt.executor }),
      ...(attempt.worker === undefined ? {} : { 'cicd.worker.id': attempt.worker }),
      ...(outcome === undefined ? {} : { 'cicd.pipeline.task.run.result': resultOf(outcome) }),
    },
    at: scheduled,
  });
  if (outcome !== undefined && 'fault' in outcome) markFailed(whole, outcome.fault.code);
  const within = trace.setSpan(parent, whole);
  const stages = stageNames.flatMap(([state, name]) => {
    const at = entered[state];
    return at === undefined ? [] : [{ name, at }];
  });
  stages.forEach(({ name, at }, position) => {
    write(name, at, stages[position + 1]?.at ?? done, within);
  });
  whole.end(new Date(Math.max(scheduled, done)));
}

/** The words of OpenTelemetry's conventions. */
function resultOf(outcome: Outcome): string {
  switch (outcome.kind) {
    case 'complete':
      return 'success';
    case 'error':
      return 'failure';
    case 'internal-error':
      return 'error';
    case 'cancelled':
      return 'cancellation';
    case 'expired':
      return 'timeout';
    default:
      return unreachable(outcome);
  }
}
