import { type Span, SpanKind, trace } from '@opentelemetry/api';
import type { Build, BuildRequest } from '../model/build.ts';
import { formatRepositoryName } from '../model/repository-name.ts';
import type { BuildQueue, EnqueueOptions } from '../queue/build-queue.ts';
import { buildQueueName } from '../telemetry/live-gauges.ts';
import { contextOf, formatTraceParent } from '../telemetry/trace-context.ts';
import { inSpan, isTracing, markFailed, startSpan } from '../telemetry/tracing.ts';
import type { Api } from './api.ts';

/** One span a request, in the trace of whoever sent it. Addresses are patterns: what stands in them may be secret. */
export function traceRequests(api: Api): void {
  api.decorateRequest('span');
  api.addHook('onRequest', async (request) => {
    const { traceparent } = request.headers;
    // Nobody would see the span.
    if (traceparent === undefined && !isTracing()) return;
    const { method } = request;
    const route = request.routeOptions.url;
    const agent = request.headers['user-agent'];
    request.span = startSpan(route === undefined ? method : `${method} ${route}`, {
      parent: contextOf(typeof traceparent === 'string' ? traceparent : undefined),
      kind: SpanKind.SERVER,
      attributes: {
        'http.request.method': method,
        'url.scheme': request.protocol,
        'client.address': request.ip,
        'slipway.request.id': request.id,
        ...(route === undefined ? {} : { 'http.route': route }),
        ...(agent === undefined ? {} : { 'user_agent.original': agent.slice(0, 255) }),
      },
    });
  });
  api.addHook('onResponse', async (request, reply) => {
    const { span } = request;
    if (span === undefined) return;
    span.setAttribute('http.response.status_code', reply.statusCode);
    if (reply.statusCode >= 500) markFailed(span, String(reply.statusCode));
    span.end();
  });
}

/** Puts a build into the queue; whatever is done for it from then on belongs to the trace of the request. */
export async function enqueueInTrace(
  queue: BuildQueue,
  { span }: { readonly span: Span | undefined },
  request: BuildRequest,
  options: EnqueueOptions,
): Promise<Build> {
  const root = contextOf(undefined);
  return await inSpan(
    `send ${buildQueueName}`,
    {
      parent: span === undefined ? root : trace.setSpan(root, span),
      kind: SpanKind.PRODUCER,
      attributes: {
        'messaging.system': 'slipway',
        'messaging.operation.name': 'send',
        'messaging.operation.type': 'send',
        'messaging.destination.name': buildQueueName,
        'cicd.pipeline.name': formatRepositoryName(request.repository),
      },
    },
    async (sending) => {
      const traceParent = formatTraceParent(sending);
      const build = await queue.enqueue(
        traceParent === undefined ? request : { ...request, traceParent },
        options,
      );
      sending.setAttributes({ 'messaging.message.id': build.id, 'cicd.pipeline.run.id': build.id });
      return build;
    },
  );
}
