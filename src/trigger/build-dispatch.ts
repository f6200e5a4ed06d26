import { SpanKind } from '@opentelemetry/api';
import type { Build } from '../model/build.ts';
import { formatRepositoryName } from '../model/repository-name.ts';
import { sealableCredentials } from '../model/source-credentials.ts';
import type { BuildQueue } from '../queue/build-queue.ts';
import { buildQueueName } from '../telemetry/live-gauges.ts';
import { contextOf, formatTraceParent } from '../telemetry/trace-context.ts';
import { inSpan } from '../telemetry/tracing.ts';
import { type BuildOrder, newestKeyOf, requestOf } from './build-order.ts';
import type { TriggerForBuilds } from './sql-trigger-store.ts';
import type { TriggerConfig } from './trigger-config.ts';
import type { TriggerMetrics } from './trigger-events.ts';

export interface BuildDispatchOptions {
  readonly queue: Pick<BuildQueue, 'enqueue'>;
  readonly metrics: TriggerMetrics;
  readonly maxQueuedPerNamespace: number | undefined;
}

export interface Dispatch extends BuildOrder {
  /** The same key makes the same build. */
  readonly idempotencyKey?: string;
  readonly traceParent: string | undefined;
}

/** Puts builds of triggers into the queue, with what opens their source and the secrets they may see. */
export class BuildDispatch {
  readonly #options: BuildDispatchOptions;

  constructor(options: BuildDispatchOptions) {
    this.#options = options;
  }

  /** What is asked for in one turn of the event loop goes into the queue in that order. Throws QueueError. */
  async dispatch(found: TriggerForBuilds, config: TriggerConfig, order: Dispatch): Promise<Build> {
    const { queue, metrics, maxQueuedPerNamespace } = this.#options;
    const { trigger, secrets, kept } = found;
    const request = requestOf(trigger, config, order);
    const key = secrets.private_key;
    const given = [
      ...sealableCredentials(key === undefined || !isSsh(request.source) ? {} : { privateKey: key }),
      ...(order.trusted ? kept : []),
    ];
    const ref = order.metadata.ref ?? order.ref;
    return await inSpan(
      `send ${buildQueueName}`,
      {
        parent: contextOf(order.traceParent),
        kind: SpanKind.PRODUCER,
        attributes: {
          'messaging.system': 'slipway',
          'messaging.operation.name': 'send',
          'messaging.operation.type': 'send',
          'messaging.destination.name': buildQueueName,
          'cicd.pipeline.name': formatRepositoryName(request.repository),
        },
      },
      async (span) => {
        const traceParent = formatTraceParent(span);
        let repeated = false;
        const build = await queue.enqueue(traceParent === undefined ? request : { ...request, traceParent }, {
          ...(given.length === 0 ? {} : { secrets: given }),
          ...(order.idempotencyKey === undefined ? {} : { idempotencyKey: order.idempotencyKey }),
          ...(maxQueuedPerNamespace === undefined ? {} : { maxQueuedPerNamespace }),
          ...(config.newest_only === true && ref !== undefined
            ? { newestOnly: newestKeyOf(trigger, ref, order.pullRequest) }
            : {}),
          onRepeated: () => {
            repeated = true;
          },
        });
        if (!repeated) metrics.queued();
        span.setAttributes({ 'messaging.message.id': build.id, 'cicd.pipeline.run.id': build.id });
        return build;
      },
    );
  }
}

/** A key is of no use over https, and a host may be another one there. */
function isSsh(source: ReturnType<typeof requestOf>['source']): boolean {
  return source.kind === 'git' && !/^https?:/i.test(source.url);
}
